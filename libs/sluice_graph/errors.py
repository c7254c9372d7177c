"""Errors of the graph that are no expected outcome."""

from sluice_kit.stage.errors import StageError


class GraphError(StageError):
    """An overlay that is not on top of the committed state."""
