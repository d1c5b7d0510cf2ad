"""Tests with the public client libraries: what they make of the router's streams."""
