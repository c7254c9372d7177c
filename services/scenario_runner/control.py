"""What SR learns from control.run: READY admitted, the evidence that the gate found, a run closed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from services.scenario_runner import store
from services.scenario_runner.store import Admission
from sluice_contracts import Decoded
from sluice_kit.workflow import Inbound

if TYPE_CHECKING:
    from sluice_kit.workflow.database import Transaction


class UnreadableControlRecordError(Exception):
    """A record on control.run that this code cannot read: nothing is skipped, deploy code that knows it."""


async def note_admissions(tx: Transaction, records: Sequence[Inbound]) -> None:
    """Keep where each record about a run stands. Raises UnreadableControlRecordError."""
    for record in records:
        if not isinstance(record.content, Decoded):
            where = f"{record.topic}/{record.partition} at offset {record.offset}"
            raise UnreadableControlRecordError(f"{where}: {record.content.code} {record.content.detail}")
        fields: dict[str, Any] = record.content.fields
        admission = Admission(
            record.topic,
            record.partition,
            record.offset,
            fields["event_id"],
            fields["event_type"],
            fields["payload"],
        )
        await store.admit(tx, fields["tenant"], fields["run_id"], admission)
