"""Where records stand: the one name for a partition of a topic."""

Place = tuple[str, int]
"""Topic and partition."""
