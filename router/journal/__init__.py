"""Records of requests and of the process: log, metrics, traces, the bill, the last requests."""
