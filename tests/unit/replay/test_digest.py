"""The digest depends on topic, partition, keys, values and their order, and on nothing else."""

import hashlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice_kit.replay import PartitionDigest, combined

Records = list[tuple[bytes | None, bytes | None]]
RECORDS: st.SearchStrategy[Records] = st.lists(
    st.tuples(st.none() | st.binary(max_size=4), st.none() | st.binary(max_size=6)), max_size=40
)


def digest_of(records: Records, cuts: list[int] | None = None, topic: str = "t", partition: int = 0) -> str:
    digest = PartitionDigest(topic, partition)
    edges = [0, *sorted(cut for cut in cuts or [] if 0 < cut < len(records)), len(records)]
    for start, end in pairwise(edges):
        part = records[start:end]
        digest.update([key for key, _ in part], [value for _, value in part])
    return digest.hexdigest()


@given(RECORDS, st.lists(st.integers(0, 40), max_size=5))
def test_how_records_come_in_batches_changes_nothing(records: Records, cuts: list[int]) -> None:
    assert digest_of(records, cuts) == digest_of(records)


@given(RECORDS, RECORDS)
def test_other_records_give_another_digest(one: Records, other: Records) -> None:
    assert (digest_of(one) == digest_of(other)) == (one == other)


@pytest.mark.parametrize("count", [1023, 1024, 1025, 3000])
def test_groups_of_1024_records_are_framed_alike_however_they_come(count: int) -> None:
    records: Records = [(b"%d" % number, b"value %d" % number) for number in range(count)]
    assert digest_of(records, [1, 1000, 1024, 2047]) == digest_of(records)


def test_the_formula_as_documented() -> None:
    frame = b"".join(
        (
            (1).to_bytes(4, "little"),
            (-1).to_bytes(4, "little", signed=True),
            (3).to_bytes(4, "little"),
            (0).to_bytes(4, "little"),
            b"k",
            b"abc",
        )
    )
    expected = hashlib.sha256(b"sluice.replay.v1 t 0\n" + frame).hexdigest()
    assert digest_of([(b"k", b"abc"), (None, b"")]) == expected


def test_topic_and_partition_are_part_of_it() -> None:
    records: Records = [(b"k", b"v")]
    assert len({digest_of(records), digest_of(records, topic="u"), digest_of(records, partition=1)}) == 3


def test_the_combined_digest_has_one_order() -> None:
    parts = {("b", 0): (1, "x"), ("a", 1): (2, "y"), ("a", 0): (3, "z")}
    lines = b"a 0 3 z\na 1 2 y\nb 0 1 x\n"
    assert combined(parts) == hashlib.sha256(lines).hexdigest()
    assert combined(dict(sorted(parts.items()))) == combined(parts)


def test_it_counts_what_it_took() -> None:
    digest = PartitionDigest("t", 0)
    digest.update([b"k", None], [b"abc", b""])
    digest.hexdigest()
    assert (digest.records, digest.bytes) == (2, 4)
