"""The public clients, driven: what they make of our streams is what users see."""
