"""Errors of the graph that are no expected outcome."""

from sluice_kit.stage.errors import StageError


class GraphError(StageError):
    """A state that cannot be gone on with: an outdated overlay, a snapshot that cannot be read."""
