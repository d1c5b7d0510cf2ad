"""A request's bytes → the question it asks, in the form of any API that is served."""
