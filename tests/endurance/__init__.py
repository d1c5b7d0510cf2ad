"""What must not happen, however long and however busy: each program exits with 1 where a promise is broken. README.md beside this."""
