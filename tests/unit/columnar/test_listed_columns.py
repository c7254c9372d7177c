"""Reading with lists of numbers gives what the codec gives, or leaves the value to it."""

from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sluice_contracts import CONTRACTS, Decoded, encode
from sluice_kit.columnar import read_listed
from sluice_kit.columnar.flat_columns import FEWEST_ROWS
from sluice_kit.columnar.row_kernel import MOST_OCTETS

SNAPSHOT = CONTRACTS["feature_snapshot", 1]
EVEN = ("values", "freshness")
longs = st.integers(-(2**63), 2**63 - 1) | st.integers(-100, 100)
texts = st.text("ab1.", min_size=1, max_size=130)


@st.composite
def snapshots(draw: Any, width: int) -> dict[str, Any]:
    return {
        "tenant": draw(texts),
        "run_id": draw(texts),
        "event_id": draw(texts),
        "as_of": draw(longs),
        "feature_set": {"name": "f", "revision": "r", "hash": draw(texts)},
        "values": draw(st.lists(longs, min_size=width, max_size=width)),
        "missing": draw(st.lists(st.integers(-2, 70), max_size=5)),
        "freshness": draw(st.lists(longs, min_size=2, max_size=2)),
        "graph_version": draw(st.none() | longs),
        "graph_basis": draw(st.none() | texts),
        "input_basis": "b",
        "degraded": draw(st.lists(texts, max_size=2)),
        "payment": {"topic": "t", "partition": 0, "offset": draw(longs)},
        "snapshot_hash": draw(texts),
    }


def read_and_compare(values: Sequence[bytes | None]) -> list[int]:
    """What was left to be decoded one by one; everything else is as the codec decodes it."""
    columns, alone = read_listed(SNAPSHOT, values, EVEN)
    rows = [] if columns is None else columns.rows
    assert sorted([*rows, *alone]) == list(range(len(values)))
    for place, row in enumerate(rows):
        found = SNAPSHOT.decode(values[row] or b"")
        assert isinstance(found, Decoded)
        assert columns is not None
        fields = found.fields
        for path in EVEN:
            assert columns.matrix(path)[place].tolist() == fields[path]
        assert [_signed(octet) for octet in columns.lists("missing")[place][1:-1]] == fields["missing"]
        assert columns.filled("degraded")[place] == bool(fields["degraded"])
        assert columns.texts("feature_set.hash")[place] == fields["feature_set"]["hash"]
        assert columns.texts("graph_basis")[place] == fields["graph_basis"]
        assert columns.numbers("graph_version")[place] == fields["graph_version"]
        assert columns.numbers("payment.offset")[place] == fields["payment"]["offset"]
        assert columns.texts("snapshot_hash")[place] == fields["snapshot_hash"]
    return alone


def _signed(octet: str) -> int:
    zigzag = ord(octet)
    return (zigzag >> 1) ^ -(zigzag & 1)


@settings(max_examples=40, deadline=None)
@given(data=st.data(), width=st.integers(0, 22))
def test_snapshots_of_one_feature_set_are_read(data: st.DataObject, width: int) -> None:
    drawn = data.draw(st.lists(snapshots(width), min_size=1, max_size=3))
    values = [encode("feature_snapshot", 1, fields) for fields in drawn] * FEWEST_ROWS
    alone = set(read_and_compare(values))
    far = {number for number, one in enumerate(drawn) if any(not -65 < at < 64 for at in one["missing"])}
    assert {number % len(drawn) for number in alone} == far


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_whatever_stands_in_the_batch_is_read_right_or_left_alone(data: st.DataObject) -> None:
    drawn = [data.draw(snapshots(data.draw(st.integers(0, 70)))) for _ in range(3)]
    values = [encode("feature_snapshot", 1, fields) for fields in drawn] * FEWEST_ROWS
    broken = data.draw(st.sampled_from(values))
    cut = data.draw(st.integers(5, len(broken)))
    junk = data.draw(st.binary(max_size=8))
    read_and_compare([*values, broken[:cut], broken + junk, broken[:cut] + junk])


def test_long_lists_are_left_to_the_codec() -> None:
    def value(missing: int) -> bytes:
        fields = {
            "tenant": "t",
            "run_id": "r",
            "event_id": "e",
            "as_of": 0,
            "feature_set": {"name": "f", "revision": "r", "hash": "h"},
            "values": [],
            "missing": [0] * missing,
            "freshness": [],
            "graph_version": None,
            "graph_basis": None,
            "input_basis": "b",
            "degraded": [],
            "payment": {"topic": "t", "partition": 0, "offset": 0},
            "snapshot_hash": "h",
        }
        return encode("feature_snapshot", 1, fields)

    assert read_and_compare([value(MOST_OCTETS)] * FEWEST_ROWS + [value(MOST_OCTETS + 1)]) == [FEWEST_ROWS]
