"""Providers on loopback that hold a request to the rules of one real model."""
