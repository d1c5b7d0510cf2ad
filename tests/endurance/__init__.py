"""Long-running checks under load. Each program exits with 1 if a promise is broken; see README.md in this folder."""
