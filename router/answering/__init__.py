"""The chat and embeddings endpoints: limits, streams, and recordings of answers that can be resumed."""
