"""Runs that were closed or fell silent, and when what a stage keeps of them may go. Pure."""

from typing import Final

from sluice_contracts import Decoded, decode
from sluice_kit.stage.model import Batch

RUNS: Final = "control.run"
"""Where `run_closed` stands. A stage that reads it forgets a closed run after a while of silence."""
_HOUR: Final = 3_600_000_000


def closed_runs(batch: Batch) -> list[tuple[str, str]]:
    """Tenant and run of every `run_closed` in a batch, in its order; poisoned and other records left out."""
    found = []
    for index, record in enumerate(batch.records):
        if record.topic == RUNS and index not in batch.poison:
            event = decode(record.value)
            if isinstance(event, Decoded) and event.contract.event_type == "run_closed":
                found.append((str(event.fields["tenant"]), str(event.fields["run_id"])))
    return found


def is_over(
    closed_at: int | None, last: int | None, now: int, *, closed_hours: int, silent_days: int
) -> bool:
    """Whether a run is to be forgotten: it was silent for `closed_hours` once closed, else for `silent_days`.

    `closed_at` is when the closing was read and `last` when the last event was, None for never, both in
    microseconds of `now`. What the gate had admitted before it closed a run may still come, so the time
    counts from whichever came later.
    """
    hours = 24 * silent_days if closed_at is None else closed_hours
    heard = [moment for moment in (closed_at, last) if moment is not None]
    return bool(heard) and now - max(heard) > hours * _HOUR
