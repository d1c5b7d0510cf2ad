"""Benchmarks of Pointsman and other gateways in one run. See `python -m bench --help` and README.md in this folder."""
