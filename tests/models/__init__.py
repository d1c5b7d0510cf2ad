"""Tests with fake models on loopback, each of which enforces the rules of one real model."""
