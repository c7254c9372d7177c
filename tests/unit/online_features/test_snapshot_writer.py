"""Snapshots written by columns are the codec's bytes, whatever stands in them."""

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from services.online_features.joining import Answered, Asked, Context
from services.online_features.snapshot_writer import SnapshotWriter
from sluice_contracts import Decoded, contract_for, decode
from sluice_features import FeatureSetRef, Scope, SnapshotBatch, snapshot_hash

IDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}", fullmatch=True)
DIGESTS = st.from_regex(r"[0-9a-f]{64}", fullmatch=True)
LONGS = st.one_of(st.integers(-1, 300), st.integers(-(2**63), 2**63 - 1))
CONTEXTS = st.one_of(st.none(), st.builds(Context, st.integers(-1, 2**53), DIGESTS, st.just(())))
CONTRACT = contract_for("feature_snapshot")


@st.composite
def groups(draw: st.DrawFn) -> tuple[FeatureSetRef, Answered]:
    count, features, fresh = draw(st.integers(1, 5)), draw(st.integers(1, 70)), draw(st.integers(1, 4))
    ref = FeatureSetRef(draw(IDS), draw(IDS), draw(DIGESTS))

    def numbers(of: st.SearchStrategy[int], width: int) -> Any:
        flat = draw(st.lists(of, min_size=width * count, max_size=width * count))
        return np.array(flat, np.int64).reshape(width, count)

    measured = SnapshotBatch(
        ref,
        numbers(st.integers(0, 253_402_300_799_999_999), 1)[0],
        numbers(LONGS, features),
        numbers(st.sampled_from((0, 0, 1)), features).astype(np.bool_),
        numbers(st.one_of(st.just(-1), st.integers(0, 2**62)), fresh),
    )
    asked = Asked(
        Scope(draw(IDS), draw(IDS)),
        0,
        draw(DIGESTS),
        draw(st.lists(IDS, min_size=count, max_size=count)),
        draw(st.lists(st.integers(0, 99), min_size=count, max_size=count)),
        draw(st.lists(st.integers(0, 2**50), min_size=count, max_size=count)),
        measured,
    )
    return ref, Answered(asked, draw(st.lists(CONTEXTS, min_size=count, max_size=count)))


@settings(max_examples=60, deadline=None)
@given(groups(), st.booleans())
def test_the_bytes_are_those_of_the_codec_and_the_hash_that_of_the_library(
    group: tuple[FeatureSetRef, Answered], with_graph: bool
) -> None:
    ref, answered = group
    asked, contexts = answered
    written = SnapshotWriter(ref, with_graph=with_graph).write(answered, asked.measured)
    for row, (value, snapshot) in enumerate(zip(written, asked.measured.snapshots(), strict=True)):
        known = contexts[row]
        stands_on = {
            "event_id": asked.event_ids[row],
            "tenant": asked.scope.tenant,
            "run_id": asked.scope.run_id,
            "graph_version": None if known is None else known.version,
            "graph_basis": None if known is None else known.basis,
            "input_basis": asked.input_basis,
        }
        fields = {
            **stands_on,
            "as_of": snapshot.as_of,
            "feature_set": ref._asdict(),
            "values": snapshot.values,
            "missing": list(snapshot.missing),
            "freshness": snapshot.freshness,
            "degraded": ["GRAPH_MISSING"] if with_graph and known is None else [],
            "payment": {
                "topic": "traffic.payment",
                "partition": asked.partitions[row],
                "offset": asked.offsets[row],
            },
            "snapshot_hash": snapshot_hash(snapshot, stands_on),
        }
        assert value == CONTRACT.encode(fields)
        found = decode(value)
        assert isinstance(found, Decoded)
        assert found.fields == fields
