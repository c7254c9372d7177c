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
from sluice_graph.policy import SECOND
from sluice_graph.state import scope_key
from sluice_kit.stage import Batch, Output, StepResult
from sluice_kit.stage.closed_runs import closed_runs, is_over
from sluice_kit.stage.environment import lag_values
from sluice_kit.stage.watermark import RunningWatermark

__all__ = ["CONTEXT", "LABELS", "LANE", "PAYMENTS", "SERVICE", "step"]

CONTEXT: Final = "state.entity_graph.context"
CLOSED: Final = "closed"
"""Notes of runs that were closed and are not forgotten yet: the run, and `now` when that was read."""


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
    """Forget runs of which nothing came for long enough, closed ones sooner.

    Of the others of which this batch brought nothing, idle partitions leave the watermarks.
    """
    last = {scope: note["seen_at"] for scope, note in overlay.runs()}
    closed = {
        (note["scope"][0], note["scope"][1]): note["at"] for _, note in overlay.notes.items(f"{CLOSED}|")
    }
    rules = overlay.policy
    for scope in sorted(last.keys() | closed.keys()):
        if is_over(
            closed.get(scope),
            last.get(scope),
            now,
            closed_hours=rules.forget_closed_hours,
            silent_days=rules.forget_run_days,
        ):
            _forget(overlay, scope)
        elif scope in last and scope not in arrived:
            seen.lag(_watermark(overlay, now, scope).behind)


def _forget(overlay: GraphOverlay, scope: Scope) -> None:
    overlay.forget(scope)
    for key in (_closed_key(scope), f"watermark|{scope_key(scope)}", _late_key(scope)):
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
