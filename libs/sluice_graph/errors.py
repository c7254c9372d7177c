"""Errors of the graph that are no expected outcome."""


class GraphError(Exception):
    """A state that cannot be gone on with: an outdated overlay, a snapshot that cannot be read."""
