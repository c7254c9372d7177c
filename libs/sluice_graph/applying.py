"""Taking a batch's draft into the committed graph, and making a graph again from what was sealed."""

import heapq

import numpy as np

from sluice_graph.additions import Additions, Touched
from sluice_graph.drafting import GraphDraft
from sluice_graph.edge_table import edge_keys
from sluice_graph.kinds import EDGE_KINDS
from sluice_graph.observing import ScopeDraft
from sluice_graph.policy import GraphPolicy
from sluice_graph.scope_graph import Int64, LabelRecord, ScopeGraph

_BY_ENDS = {(kind.left, kind.right): which for which, kind in enumerate(EDGE_KINDS)}
_RESTORED_AT_ONCE = 50_000


def take_in(graph: ScopeGraph, draft: ScopeDraft) -> Additions:
    """Apply a draft made on top of `graph`; returns what it added, for the next checkpoint."""
    changes, desk = draft.graph, draft.desk
    left, right = _apply_graph(graph, changes)
    additions = Additions(
        names=changes.names,
        kinds=bytes(changes.kinds),
        left=left,
        right=right,
        joins=bytes(changes.edges.values()),
        marks=desk.marks,
        disputes=desk.disputes,
        labels=desk.records,
    )
    touched = [Touched(entities, np.ones_like(entities), times, times) for entities, times in draft.touches]
    additions.touched.append(Touched.summed(touched))
    _apply_rest(graph, additions, desk.horizon)
    return additions


def restore(graph: ScopeGraph, additions: Additions, policy: GraphPolicy, horizon: int) -> None:
    """Add to a graph what was sealed of it. Distances follow with `restore_distances`, once."""
    graph.add_entities(additions.kinds, additions.names)
    edges = list(zip(additions.left.tolist(), additions.right.tolist(), additions.joins, strict=True))
    for start in range(0, len(edges), _RESTORED_AT_ONCE):
        draft = GraphDraft(graph, policy)
        for left, right, joins in edges[start : start + _RESTORED_AT_ONCE]:
            draft.put(_BY_ENDS[graph.kinds[left], graph.kinds[right]], left, right, joins=bool(joins))
        _apply_graph(graph, draft)
    _apply_rest(graph, additions, horizon)


def restore_distances(graph: ScopeGraph, policy: GraphPolicy) -> None:
    """Work out the distances of a restored graph from its marks."""
    draft = GraphDraft(graph, policy)
    for entity in graph.marks:
        draft.approach(entity, 0)
    _apply_graph(graph, draft)


def _apply_graph(graph: ScopeGraph, draft: GraphDraft) -> tuple[Int64, Int64]:
    graph.add_entities(draft.kinds, draft.names)
    for column, changes in (
        (graph.links, draft.links),
        (graph.ring, draft.ring),
        (graph.oldest, draft.oldest),
        (graph.distances, draft.distances),
        (graph.degrees, draft.degrees),
    ):
        for place, value in changes.items():
            column[place] = value
    graph.add_edges(draft.edges)
    ends = np.array(list(draft.edges), np.int64).reshape(-1, 2)
    graph.table.add(edge_keys(ends[:, 0], ends[:, 1]))
    _put(graph.disputes, draft.disputes)
    _put(graph.component_disputes, draft.component_disputes)
    return ends[:, 0], ends[:, 1]


def _apply_rest(graph: ScopeGraph, additions: Additions, horizon: int) -> None:
    for touched in additions.touched:
        graph.counters.touch(touched.entities, touched.events, touched.first, touched.last, len(graph))
    _put(graph.marks, additions.marks)
    _put(graph.label_disputes, additions.disputes)
    graph.labels |= additions.labels
    for payment, record in additions.labels.items():
        heapq.heappush(graph.label_ends, (record.observed_time, payment))
    _forget_labels(graph, horizon)


def _forget_labels(graph: ScopeGraph, horizon: int) -> None:
    while graph.label_ends and graph.label_ends[0][0] < horizon:
        observed_time, payment = heapq.heappop(graph.label_ends)
        record: LabelRecord | None = graph.labels.get(payment)
        if record is not None and record.observed_time == observed_time:
            del graph.labels[payment]


def _put(counts: dict[int, int], changes: dict[int, int]) -> None:
    """Counts that came to nothing are not kept."""
    for entity, count in changes.items():
        if count:
            counts[entity] = count
        else:
            counts.pop(entity, None)
