"""The step of the features stage: pure. Labels and payments in their order, one snapshot a payment.

See docs/features.md: what is measured when a payment arrives, what it waits for, what a snapshot says.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import starmap
from typing import Final, TypeVar

import numpy as np

from services.online_features.joining import Answered, Asked, answered, contexts_of, graph_columns
from services.online_features.ordering import HandedOver, in_order
from services.online_features.overlay import Committed, Released, StageOverlay
from services.online_features.policy import OnlineFeaturesPolicy
from services.online_features.reading import Arrived, read_records
from services.online_features.signals import heartbeat
from services.online_features.snapshot_writer import SnapshotWriter
from services.online_features.watermarks import RunProgress, advanced
from sluice_contracts import TOPICS
from sluice_features import FeatureSet, FeatureState, Labels, Payments, Scope, SnapshotBatch
from sluice_features.columns import Int64, rows_by_scope
from sluice_kit.stage import Batch, Output, StepResult
from sluice_kit.stage.closed_runs import closed_runs, is_over
from sluice_kit.stage.environment import lag_values

SNAPSHOTS: Final = "state.online_features.snapshot"
FRAUD: Final = "FRAUD"
Cell = TypeVar("Cell")
_MILLISECOND: Final = 1_000


class FeaturesStep:
    """One feature set under one policy, ready to step. `features` is used for what needs no state of it."""

    def __init__(
        self, policy: OnlineFeaturesPolicy, feature_set: FeatureSet, features: FeatureState, shard: int
    ) -> None:
        self._policy = policy
        self._set = feature_set
        self._features = features
        self._shard = shard
        self._graph_fields = [feature.field for feature in feature_set.graph]
        self._writer = SnapshotWriter(features.layout.ref, with_graph=bool(feature_set.graph))
        self._wait = policy.graph_wait_ms * _MILLISECOND if feature_set.graph else 0
        self._idle_after = policy.idle_after_ms * _MILLISECOND
        self._partitions = TOPICS["traffic.payment"].partitions

    def step(self, overlay: StageOverlay, batch: Batch) -> StepResult:
        """Take a batch's records in and let the payments go that need not wait."""
        result = StepResult()
        overlay.now = batch.now
        overlay.consume(batch.records)
        read = read_records(batch.records, batch.poison)
        if self._graph_fields:
            overlay.fresh.update(contexts_of(read.contexts, self._graph_fields))
        if len(read.payments) or len(read.labels):
            self._observe(overlay, read.payments, read.labels)
        self._let_time_pass(overlay)
        overlay.closed |= dict.fromkeys(starmap(Scope, closed_runs(batch)), batch.now)
        for scope in overlay.waiting_scopes():
            find = partial(overlay.find, scope)
            expired = batch.now - self._wait
            gone, overlay.queues[scope] = answered(
                overlay.queue(scope), find, expired, self._policy.max_waiting
            )
            for group in gone:
                self._release(overlay, group, result)
        self._forget_silent(overlay)
        overlay.tally = overlay.tally.plus(events=len(read.payments), errors=read.errors)
        self._signal(overlay, result, lag_values(batch.environment))
        return result

    def next_release(self, committed: Committed) -> int | None:
        """The `now` at which a payment that waits is let go without its context; None when none waits."""
        arrived = [queue[0].arrived for queue in committed.queues.values() if queue]
        return min(arrived) + self._wait if arrived else None

    def _observe(self, overlay: StageOverlay, payments: Arrived, labels: Arrived) -> None:
        """Measure payments as of their own time, and queue them."""
        order = in_order(labels, payments)
        told = self._labels(labels, order) if len(labels) else None
        if not len(payments):
            overlay.features.observe(_no_payments(self._set), told)
            return
        rows = order.payments
        scopes, ts_utc = _picked(payments.scopes, rows), payments.ts_utc[rows]
        partitions = np.array(payments.partitions, np.int64)[rows]
        amounts = np.array(payments.events.numbers(self._set.amount), np.int64)[rows]
        paths = self._set.entities.items()
        keys = {entity: _picked(payments.events.texts(path), rows) for entity, path in paths}
        watermark = self._watermarks(overlay, scopes, ts_utc, partitions)
        paid = Payments(scopes, ts_utc, amounts, keys, watermark, order.payment_places)
        measured = overlay.features.observe(paid, told)
        self._queue(overlay, payments, order.payments, paid, measured)

    def _queue(
        self, overlay: StageOverlay, arrived: Arrived, order: Int64, paid: Payments, measured: SnapshotBatch
    ) -> None:
        event_ids = _picked(arrived.event_ids, order)
        partitions, offsets = _picked(arrived.partitions, order), _picked(arrived.offsets, order)
        for scope, rows in rows_by_scope(paid.scopes):
            cut = (
                rows if isinstance(rows, slice) else slice(rows[0], rows[-1] + 1)
            )  # they are sorted by scope
            asked = Asked(
                scope,
                overlay.now,
                overlay.input_basis,
                event_ids[cut],
                partitions[cut],
                offsets[cut],
                measured.rows(cut),
            )
            overlay.queues[scope] = [*overlay.queue(scope), asked]

    def _watermarks(
        self, overlay: StageOverlay, scopes: Sequence[Scope], ts_utc: Int64, partitions: Int64
    ) -> Int64:
        """How far its run was when each payment was handed over, itself counted."""
        watermark = np.empty(len(ts_utc), np.int64)
        late = beyond = 0
        lateness = self._features.layout.lateness
        for scope, rows in rows_by_scope(scopes):
            known = overlay.run(scope) or RunProgress.begun(self._partitions, overlay.now)
            found = advanced(
                known, partitions[rows], ts_utc[rows], now=overlay.now, idle_after=self._idle_after
            )
            overlay.runs[scope] = found.progress
            watermark[rows] = found.watermark
            if found.late.any():
                late += int(found.late.sum())
                beyond += int((ts_utc[rows] < found.watermark - lateness).sum())
        overlay.tally = overlay.tally.plus(late=late, beyond_lateness=beyond)
        return watermark

    def _labels(self, labels: Arrived, order: HandedOver) -> Labels:
        events, rows = labels.events, order.labels
        keys: dict[str, Sequence[str | None]] = {}
        for entity, path in self._set.entities.items():
            try:
                column = events.texts(path)
            except KeyError:  # no window of labels asks for it
                column = [None] * len(labels)
            keys[entity] = _picked(column, rows)
        subjects, told = events.texts("payload.payment_id"), events.texts("payload.label")
        effective, observed = (
            np.array(events.numbers(f"payload.{name}"), np.int64)[rows]
            for name in ("effective_time", "observed_time")
        )
        return Labels(
            _picked(labels.scopes, rows),
            [str(subject) for subject in _picked(subjects, rows)],
            keys,
            effective,
            observed,
            [one == FRAUD for one in _picked(told, rows)],
            order.label_places,
        )

    def _let_time_pass(self, overlay: StageOverlay) -> None:
        """Runs of which this batch brought nothing: silent partitions leave their minimum."""
        for scope, progress in overlay.committed.runs.items():
            if scope in overlay.runs or progress.settled:
                continue
            later = progress.at(overlay.now, self._idle_after)
            if later.low != progress.low:
                overlay.runs[scope] = later
                overlay.features.advance(scope, later.low)

    def _forget_silent(self, overlay: StageOverlay) -> None:
        """Forget runs without payments for long enough, closed ones sooner; none of theirs waits by then."""
        closed = overlay.committed.closed | overlay.closed
        for scope in sorted({*closed, *overlay.committed.runs} - overlay.forgotten.keys()):
            progress = overlay.run(scope)
            if is_over(
                closed.get(scope),
                None if progress is None else max(progress.spoke_at),
                overlay.now,
                closed_hours=self._policy.forget_closed_hours,
                silent_days=self._policy.forget_run_days,
            ):
                overlay.features.close(scope)
                overlay.forgotten[scope] = None

    def _release(self, overlay: StageOverlay, group: Answered, result: StepResult) -> None:
        """Put out the snapshots of payments that wait no longer."""
        asked, contexts = group
        batch = asked.measured
        if self._graph_fields:
            batch = self._features.with_graph(batch, graph_columns(contexts, self._graph_fields))
            overlay.forget(asked.scope, asked.event_ids)
            overlay.tally = overlay.tally.plus(degraded=contexts.count(None))
        values = self._writer.write(group, batch)
        result.facts += [
            Output(SNAPSHOTS, event_id.encode(), value)
            for event_id, value in zip(asked.event_ids, values, strict=True)
        ]
        overlay.released.append(Released(asked.scope, asked.event_ids, values))

    def _signal(self, overlay: StageOverlay, result: StepResult, lag: Mapping[str, int]) -> None:
        if not overlay.tally.due(overlay.now):
            return
        queues = [overlay.queue(scope) for scope in overlay.waiting_scopes()]
        oldest = min((queue[0].arrived for queue in queues), default=overlay.now)
        waiting = sum(len(asked) for queue in queues for asked in queue)
        result.trailing.append(
            heartbeat(
                overlay.tally,
                now=overlay.now,
                shard=self._shard,
                waiting=waiting,
                oldest_wait=overlay.now - oldest,
                lag=lag,
            )
        )
        overlay.tally = overlay.tally.restarted(overlay.now)


def _no_payments(feature_set: FeatureSet) -> Payments:
    nothing = np.empty(0, np.int64)
    return Payments([], nothing, nothing, dict.fromkeys(feature_set.entities, ()))


def _picked(column: Sequence[Cell], order: Int64) -> list[Cell]:
    """A column in another order."""
    return list(map(column.__getitem__, order.tolist()))
