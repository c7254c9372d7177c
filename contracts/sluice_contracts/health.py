"""Health of a service as it is reported; the decision posture is another list."""

from enum import StrEnum


class HealthStatus(StrEnum):
    """``ok`` and ``degraded`` is what a service says of itself, ``silent`` what others say."""

    OK = "ok"
    DEGRADED = "degraded"
    SILENT = "silent"
