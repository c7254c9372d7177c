"""Writing snapshots on the wire, those of one run and step at a time.

What they share is written once, by the codec: a snapshot is encoded with marks in the places that differ and
its bytes are cut there. Numbers are written by columns. A test holds the result against the codec.
"""

from collections.abc import Sequence
from itertools import accumulate, islice, pairwise
from typing import Any, Final, NamedTuple

import numpy as np

from services.online_features.joining import Answered, Context
from sluice_contracts import contract_for
from sluice_contracts.wire import NUMBER, moment, numbers
from sluice_features import FeatureSetRef, Scope, SnapshotBatch
from sluice_features.columns import Int64
from sluice_kit.columnar.varints import moments, zigzag_varints

GRAPH_MISSING: Final = "GRAPH_MISSING"
CONTRACT: Final = contract_for("feature_snapshot")
PAYMENT_TOPIC: Final = "traffic.payment"
_ID_MARK: Final = "\x11" * 64
_HASH_MARK: Final = "\x12" * 64
_MOMENT_MARK: Final = 0x2A55_AA55_AA55
_SOME_MOMENT: Final = 1 << 50
"""Stands in a column where there is none; not written."""
_LIST_MARK: Final = [0x2A55_AA55_AA55_AA]
_DEGRADED: Final = ("\x00", f"\x02{NUMBER[len(GRAPH_MISSING)]}{GRAPH_MISSING}\x00")


class _Shared(NamedTuple):
    """What snapshots of one run and input basis share, between the places where they differ."""

    head: str
    feature_set: str
    basis: str
    topic: str


class SnapshotWriter:
    """Writes the snapshots of one feature set."""

    def __init__(self, feature_set: FeatureSetRef, *, with_graph: bool) -> None:
        self._feature_set = feature_set
        self._with_graph = with_graph

    def write(self, answered: Answered, batch: SnapshotBatch) -> list[bytes]:
        """Framed snapshots of payments in their order; `batch` holds their values with the graph's part.

        Event ids, tenant and run must be ASCII and need no escape in JSON, as the contracts say.
        """
        asked, contexts = answered
        hashes = batch.hashes(self.contexts(answered))
        head, feature_set, basis, topic = self._shared(asked.scope, asked.input_basis)
        missing = {positions: _integers(positions) for positions in set(batch.missing_positions())}
        values, freshness = _number_lists(batch.values, batch.freshness)
        rows = zip(
            asked.event_ids,
            moments(batch.as_of),
            values,
            batch.missing_positions(),
            freshness,
            _graphs(contexts),
            [_DEGRADED[self._with_graph and context is None] for context in contexts],
            asked.partitions,
            numbers(asked.offsets),
            hashes,
            strict=True,
        )
        return [
            (
                f"{head}{NUMBER[len(event_id)]}{event_id}{as_of}{feature_set}{values}{missing[positions]}"
                f"{freshness}{graph}{basis}{degraded}{topic}{NUMBER[partition]}{offset}{_HASH_LENGTH}{digest}"
            ).encode("latin-1")
            for (
                event_id,
                as_of,
                values,
                positions,
                freshness,
                graph,
                degraded,
                partition,
                offset,
                digest,
            ) in rows
        ]

    def contexts(self, answered: Answered) -> list[bytes]:
        """What snapshot hashes stand on beside the values, as canonical JSON."""
        asked, contexts = answered
        tail = (
            f'"input_basis":"{asked.input_basis}","run_id":"{asked.scope.run_id}",'
            f'"tenant":"{asked.scope.tenant}"}}'
        )
        none = f'"graph_basis":null,"graph_version":null,{tail}'
        return [
            (
                f'{{"event_id":"{event_id}",{none}'
                if context is None
                else f'{{"event_id":"{event_id}","graph_basis":"{context.basis}",'
                f'"graph_version":{context.version},{tail}'
            ).encode()
            for event_id, context in zip(asked.event_ids, contexts, strict=True)
        ]

    def _shared(self, scope: Scope, input_basis: str) -> _Shared:
        """Encode one snapshot with marks, and cut it at them."""
        rest = CONTRACT.encode(self._marked(scope, input_basis)).decode("latin-1")
        found = []
        for mark in (
            f"{_HASH_LENGTH}{_ID_MARK}{moment(_MOMENT_MARK)}",
            f"{_integers(_LIST_MARK)}\x00{_integers(_LIST_MARK)}\x00\x00",
            "\x00",
        ):
            part, mark_found, rest = rest.partition(mark)
            assert mark_found, "the snapshot contract changed: a mark is not where it was"
            found.append(part)
        topic = rest.removesuffix(f"\x00\x00{_HASH_LENGTH}{_HASH_MARK}")
        assert topic != rest, "the snapshot contract changed: it ends otherwise"
        head, feature_set, basis = found
        return _Shared(head, feature_set, basis, topic)

    def _marked(self, scope: Scope, input_basis: str) -> dict[str, Any]:
        name, revision, digest = self._feature_set
        return {
            "tenant": scope.tenant,
            "run_id": scope.run_id,
            "event_id": _ID_MARK,
            "as_of": _MOMENT_MARK,
            "feature_set": {"name": name, "revision": revision, "hash": digest},
            "values": _LIST_MARK,
            "missing": [],
            "freshness": _LIST_MARK,
            "graph_version": None,
            "graph_basis": None,
            "input_basis": input_basis,
            "degraded": [],
            "payment": {"topic": PAYMENT_TOPIC, "partition": 0, "offset": 0},
            "snapshot_hash": _HASH_MARK,
        }


_HASH_LENGTH: Final = NUMBER[64]


def _integers(values: Sequence[int]) -> str:
    """An array of integers: one block, then the end."""
    if not values:
        return "\x00"
    return "".join((NUMBER[len(values)], *map(NUMBER.__getitem__, values), "\x00"))


def _number_lists(*tables: Int64) -> list[list[str]]:
    """Of each table the column-wise numbers of each payment as an array on the wire."""
    columns = np.concatenate(tables)
    width, count = columns.shape
    if not columns.size:
        return [["\x00"] * count for _ in tables]
    encoded = zigzag_varints(np.ascontiguousarray(columns.T).ravel())
    _, offsets, data = encoded.buffers()
    text = data.to_pybytes().decode("latin-1")
    bounds = np.frombuffer(offsets, np.int32, width * count + 1)
    lists = []
    for first, last in pairwise(accumulate(map(len, tables), initial=0)):
        block = NUMBER[last - first] if last > first else ""
        places = zip(bounds[first::width].tolist(), bounds[last::width].tolist(), strict=False)
        lists.append([f"{block}{text[start:end]}\x00" for start, end in islice(places, count)])
    return lists


def _graphs(contexts: Sequence[Context | None]) -> list[str]:
    """Version and basis (a digest) of the graph that was used by each payment."""
    versions = moments(np.array([_SOME_MOMENT if one is None else one.version for one in contexts], np.int64))
    return [
        "\x00\x00" if one is None else f"\x02{version}\x02{_HASH_LENGTH}{one.basis}"
        for one, version in zip(contexts, versions, strict=True)
    ]
