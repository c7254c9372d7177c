"""The graph's step: pure. Takes payments and labels into each run's graph; one context for every payment.

The context is what the graph knew at the payment's place in the order, with the payment's own entities and
edges in it: a device that two customers share is shared from the second one's first payment on.
"""

from collections.abc import Mapping
from typing import Any, Final

from services.entity_graph.arrivals import LABELS, PAYMENTS, RunArrivals, Scope, arrivals
from services.entity_graph.basis import advance_positions, basis_before
from services.entity_graph.context_writer import ContextWriter
from services.entity_graph.signals import LANE, SERVICE, Seen, signal
from sluice_contracts import TOPICS
from sluice_graph import GraphOverlay
from sluice_graph.state import RUN, scope_key
from sluice_kit.stage import Batch, Output, StepResult
from sluice_kit.stage.closed_runs import closed_runs
from sluice_kit.stage.environment import lag_values
from sluice_kit.stage.watermark import RunningWatermark

__all__ = ["CONTEXT", "LABELS", "LANE", "PAYMENTS", "SERVICE", "step"]

CONTEXT: Final = "state.entity_graph.context"
DAY: Final = 86_400_000_000
HOUR: Final = 3_600_000_000
CLOSED: Final = "closed"
"""Notes of runs that were closed and are not forgotten yet: the run, and `now` when that was read."""
SECOND: Final = 1_000_000


def step(overlay: GraphOverlay, batch: Batch, shard: int) -> StepResult:
    """Take a batch in."""
    result = StepResult()
    arrived, refused = arrivals(batch)
    basis = basis_before(overlay.notes)
    advance_positions(overlay.notes, batch.records)
    seen = Seen(errors=refused.total(), input_lag=lag_values(batch.environment))
    for scope, run in arrived.items():
        result.facts += _take_run(overlay, batch.now, scope, run, basis=basis, seen=seen)
    for scope in closed_runs(batch):
        overlay.notes.put(_closed_key(scope), {"scope": list(scope), "at": batch.now})
    _forget_closed(overlay, batch.now)
    _pass_time(overlay, batch.now, arrived, seen)
    result.quarantined.update(+refused)
    result.trailing += signal(overlay, batch.now, shard, seen)
    return result


def _take_run(
    overlay: GraphOverlay,
    now: int,
    scope: Scope,
    run: RunArrivals,
    *,
    basis: str,
    seen: Seen,
) -> list[Output]:
    contexts = overlay.draft(scope, now).observe(run.payments, run.labels)
    watermark = _watermark(overlay, now, scope)
    tenant, run_id = scope
    late = conflicted = 0
    write = ContextWriter(tenant, run_id, basis).write
    facts: list[Output] = []
    for event_id, ts_utc, partition, context in zip(
        run.event_ids, run.payments.ts_utc, run.partitions, contexts, strict=True
    ):
        late += ts_utc < watermark.low
        conflicted += not context.clean
        value = write(event_id, ts_utc, context, watermark.note(partition, ts_utc))
        facts.append(Output(CONTEXT, event_id.encode(), value))
    watermark.close()
    seen.add(events=len(contexts), labels=len(run.labels), late=late, conflicted=conflicted)
    seen.lag(watermark.behind)
    if late:
        key = _late_key(scope)
        overlay.notes.put(key, (overlay.notes.get(key) or 0) + late)
    return facts


def _pass_time(overlay: GraphOverlay, now: int, arrived: Mapping[Scope, RunArrivals], seen: Seen) -> None:
    """Let idle partitions leave the watermarks of all other runs, and forget runs that are long over."""
    for scope, note in overlay.runs():
        if scope in arrived:
            continue
        if now - note["seen_at"] > overlay.policy.forget_run_days * DAY:
            _forget(overlay, scope)
            continue
        seen.lag(_watermark(overlay, now, scope).behind)


def _forget_closed(overlay: GraphOverlay, now: int) -> None:
    """Forget closed runs that have been silent for long enough.

    What the gate had admitted before it closed a run may still come, so the time counts from the last of it.
    """
    for key, closed in list(overlay.notes.items(f"{CLOSED}|")):
        scope = (closed["scope"][0], closed["scope"][1])
        run = overlay.notes.get(f"{RUN}|{scope_key(scope)}")
        last = closed["at"] if run is None else max(closed["at"], run["seen_at"])
        if now - last > overlay.policy.forget_closed_hours * HOUR:
            overlay.notes.remove(key)
            if run is not None:
                _forget(overlay, scope)


def _forget(overlay: GraphOverlay, scope: Scope) -> None:
    overlay.forget(scope)
    for key in (f"watermark|{scope_key(scope)}", _late_key(scope)):
        overlay.notes.remove(key)


def _watermark(overlay: GraphOverlay, now: int, scope: Scope) -> RunningWatermark:
    return RunningWatermark(
        overlay.notes,
        scope_key(scope),
        partitions=TOPICS[PAYMENTS].partitions,
        now=now,
        idle_after=overlay.policy.idle_seconds * SECOND,
    )


def _closed_key(scope: Scope) -> str:
    return f"{CLOSED}|{scope_key(scope)}"


def _late_key(scope: Scope) -> str:
    return f"late|{scope_key(scope)}"


def version_of(notes: Mapping[str, Any], scope: Scope) -> int:
    """The committed graph_version of a run, -1 before any."""
    found = notes.get(f"watermark|{scope_key(scope)}")
    return -1 if found is None else int(found["low"])


def late_payments(notes: Mapping[str, Any], scope: Scope) -> int:
    """How many payments of a run came behind its watermark, as committed."""
    return int(notes.get(_late_key(scope)) or 0)
