"""A question's way to its answer on the wire: limits, the stream, recordings that can be found again."""
