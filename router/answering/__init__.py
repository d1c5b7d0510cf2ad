"""From a chat request to its answer on the wire: limits, streams, and recordings of answers that can be resumed."""
