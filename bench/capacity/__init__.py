"""How costs grow with streams, history, routes, replicas, workers, tools, cached answers and targets: measured, drawn and checked."""
