"""Runs that were closed: the gate admits nothing of them any more, so what is kept of them may go. Pure."""

from typing import Final

from sluice_contracts import Decoded, decode
from sluice_kit.stage.model import Batch

RUNS: Final = "control.run"
"""Where `run_closed` stands. A stage that reads it forgets a closed run after a while of silence."""


def closed_runs(batch: Batch) -> list[tuple[str, str]]:
    """Tenant and run of every `run_closed` in a batch, in its order; poisoned and other records left out."""
    found = []
    for index, record in enumerate(batch.records):
        if record.topic == RUNS and index not in batch.poison:
            event = decode(record.value)
            if isinstance(event, Decoded) and event.contract.event_type == "run_closed":
                found.append((str(event.fields["tenant"]), str(event.fields["run_id"])))
    return found
