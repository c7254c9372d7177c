"""The highest pace that the loop keeps: nothing behind the decisions falls behind either."""

from collections.abc import Callable, Mapping
from typing import Any, Final

QUICK_SECONDS: Final = 1.0
"""Above it, by their 99th percentile, decisions wait in a backlog that grows."""
AUDITED_SECONDS: Final = 5.0
"""How long after the last decision the audit log may need at a pace that it keeps."""
STEP: Final = 500

Run = Callable[[int], Mapping[str, Any]]


def is_kept(found: Mapping[str, Any]) -> bool:
    """Whether a run at one pace left nothing behind: whole chains, quick decisions, an audit log on time."""
    return bool(
        found["complete"]
        and found["latency"]["p99_ms"] <= QUICK_SECONDS * 1e3
        and found["chains"]["audit_waited_for_seconds"] <= AUDITED_SECONDS
    )


def highest_kept(first: int, run: Run) -> tuple[int, dict[int, Mapping[str, Any]]]:
    """The highest pace that is kept, by steps from `first` up or down, and what each run found.

    0 when no pace is kept. `run` drives the loop at a pace, payments a second.
    """
    found: dict[int, Mapping[str, Any]] = {}

    def keeps(pace: int) -> bool:
        found[pace] = run(pace)
        return is_kept(found[pace])

    pace = first
    if keeps(pace):
        while keeps(pace + STEP):
            pace += STEP
        return pace, found
    while (pace := pace - STEP) > 0:
        if keeps(pace):
            return pace, found
    return 0, found
