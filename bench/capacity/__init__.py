"""The growth of cost with load, history, routes, replicas, workers, tools and cached answers: measured, drawn, and checked."""
