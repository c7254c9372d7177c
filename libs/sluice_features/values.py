"""From what is known of a batch's payments to their snapshots."""

import numpy as np

from sluice_features.columns import NEVER, GraphContexts, Int64, Mask, Payments
from sluice_features.definition import Source
from sluice_features.layout import Layout
from sluice_features.snapshot import SnapshotBatch
from sluice_features.window_values import Measured, WindowValues

HOUR = 3_600 * 1_000_000
EPOCH_WEEKDAY = 3
"""1970-01-01 was a Thursday; Monday is 0."""
SATURDAY = 5
_PROGRESS = (Source.PAYMENT, Source.LABEL)


class SnapshotMaker:
    """Makes the snapshots of one feature set."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._windows = WindowValues(layout)
        groups = [_PROGRESS.index(group.source) for group in layout.feature_set.groups]
        self._progress_of = np.array([*groups, *([len(_PROGRESS)] if layout.feature_set.graph else [])])

    def snapshots(self, payments: Payments, measured: Measured, graph: GraphContexts | None) -> SnapshotBatch:
        """Values, what is missing and freshness of every payment."""
        shape = (len(self._layout.positions), len(payments))
        values, missing = np.zeros(shape, np.int64), np.zeros(shape, np.bool_)
        self._fill_event(payments, values)
        self._windows.fill(payments, measured, values, missing)
        self._fill_graph(graph, values, missing)
        freshness = self._freshness(payments, measured, graph)
        return SnapshotBatch(self._layout.ref, payments.ts_utc, values, missing, freshness)

    def with_graph(self, batch: SnapshotBatch, graph: GraphContexts) -> SnapshotBatch:
        """Snapshots that were made without the graph, with what it knew."""
        if not self._layout.feature_set.graph:
            return batch
        values, missing, freshness = batch.values.copy(), batch.missing.copy(), batch.freshness.copy()
        first = len(values) - len(self._layout.feature_set.graph)
        missing[first:] = False
        self._fill_graph(graph, values, missing)
        if graph.as_of is not None:
            behind = np.maximum(batch.as_of - graph.as_of, 0)
            behind[graph.as_of == NEVER] = NEVER
            freshness[-1] = behind
        return SnapshotBatch(batch.feature_set, batch.as_of, values, missing, freshness)

    def _fill_event(self, payments: Payments, values: Int64) -> None:
        hours = payments.ts_utc // HOUR
        days = hours // 24
        hour_of_day, day_of_week = hours - days * 24, (days + EPOCH_WEEKDAY) % 7
        for position, feature in enumerate(self._layout.feature_set.event):
            match feature.kind:
                case "amount":
                    values[position] = payments.amount
                case "hour_of_day":
                    values[position] = hour_of_day
                case "day_of_week":
                    values[position] = day_of_week
                case "weekend":
                    values[position] = day_of_week >= SATURDAY
                case "night":
                    assert feature.before_hour is not None, "a set's rules ask for it"
                    values[position] = hour_of_day < feature.before_hour

    def _fill_graph(self, graph: GraphContexts | None, values: Int64, missing: Mask) -> None:
        features = self._layout.feature_set.graph
        first = len(values) - len(features)
        for position, feature in enumerate(features, first):
            if graph is None or feature.field not in graph.values:
                missing[position] = True
                continue
            present = graph.present[feature.field]
            values[position] = np.where(present, graph.values[feature.field], 0)
            missing[position] = ~present

    def _freshness(self, payments: Payments, measured: Measured, graph: GraphContexts | None) -> Int64:
        progress = np.full((len(_PROGRESS) + 1, len(payments)), NEVER, np.int64)
        if payments.watermark is not None:
            progress[0] = payments.watermark
        progress[1] = measured.labels_as_of
        if graph is not None and graph.as_of is not None:
            progress[2] = graph.as_of
        behind = np.maximum(payments.ts_utc - progress, 0)
        behind[progress == NEVER] = NEVER
        freshness: Int64 = behind[self._progress_of]
        return freshness
