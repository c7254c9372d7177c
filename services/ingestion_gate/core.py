"""The gate's step: pure. Every record that goes in comes out as exactly one receipt.

The one exception is a READY that waits for the gate's evidence: its receipt comes with the evidence, or
with the time-out.
"""

from services.ingestion_gate import control
from services.ingestion_gate.admission import Desk
from services.ingestion_gate.express import Express, rows_from
from services.ingestion_gate.model import Candidate, Origin, Refusal
from services.ingestion_gate.overlay import GateOverlay
from services.ingestion_gate.reasons import Reason
from services.ingestion_gate.rows import Row
from services.ingestion_gate.screening import Screen
from sluice_contracts import LANES
from sluice_kit.stage import Batch, Record, StepResult

CONTROL_LANES = ("ingress.operator", "ingress.scenario_runner", "ingress.ingestion_gate")
"""Taken first in a batch, in this order: policy, then READY, then the evidence that settles it."""


def step(overlay: GateOverlay, batch: Batch) -> StepResult:
    """Admit, deduplicate or quarantine every record of `batch`, in its order."""
    desk = Desk(overlay, batch.now, batch.environment)
    screen = Screen(overlay.active_policy)
    examined = _examine(desk, screen, batch, 0)
    express = Express(desk, screen)
    index = 0
    while index < len(examined):
        found = examined[index]
        if isinstance(found, Row):
            rows = rows_from(batch.records, examined, index)
            express.admit(batch.records[index : index + len(rows)], rows)
            index += len(rows)
            continue
        index += 1
        if isinstance(found, Refusal):
            desk.quarantine(found)
        else:
            changed = _take(desk, screen, found)
            if changed is not None:  # what follows is judged by the new policy
                screen = changed
                examined[index:] = _examine(desk, screen, batch, index)
            express = Express(desk, screen)  # runs may have opened and closed
    if overlay.view.held or overlay.held:
        control.expire_held(desk, screen)
    return desk.close()


def _examine(desk: Desk, screen: Screen, batch: Batch, start: int) -> list[Row | Candidate | Refusal]:
    """Screen the records from `start` on and look all their keys up at once.

    Rows are screened by the express desk, together.
    """
    poison = batch.poison
    examined: list[Row | Candidate | Refusal] = [
        record.prepared
        if isinstance(record.prepared, Row) and index not in poison
        else _examined(screen, record, poison.get(index))
        for index, record in enumerate(batch.records[start:], start)
    ]
    desk.know([found.key for found in examined if not isinstance(found, Refusal)])
    return examined


def _examined(screen: Screen, record: Record, poison: str | None) -> Candidate | Refusal:
    return screen.examine(record, _origin(record)) if poison is None else _poisoned(record, poison)


def _take(desk: Desk, screen: Screen, candidate: Candidate) -> Screen | None:
    """Hand a candidate to what its event type asks for; a new Screen when the policy changed."""
    match candidate.contract.event_type:
        case "run_ready":
            control.run_ready(desk, candidate)
        case "run_evidence":
            control.run_evidence(desk, screen, candidate)
        case "run_closed":
            control.run_closed(desk, candidate)
        case "gate_policy":
            return control.gate_policy(desk, candidate)
        case "governance_action":
            control.governance(desk, screen, candidate)
        case _:
            desk.ordinary(candidate)
    return None


def _origin(record: Record) -> str:
    return Origin.CHAINED if record.offset < 0 else Origin.LANE


def _poisoned(record: Record, error: str) -> Refusal:
    lane = LANES[record.topic]
    return Refusal(record, lane.lane_principal or lane.owner, _origin(record), Reason.POISON, error[:500])
