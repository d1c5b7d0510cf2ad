"""What Pointsman costs, measured beside its peers in one run. `python -m bench --help`, and README.md beside this."""
