"""A basis record survives its encoding; run-length coordinates are enough to find every fact again."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from sluice_kit.artifacts import Digest, Locator
from sluice_kit.stage import Coordinate, InputRange
from sluice_kit.stage.basis import BasisRecord, coordinate_runs, offsets_by_partition
from sluice_kit.stage.digest import outputs_digest
from sluice_kit.stage.model import Output, TrailingOutput

TOPICS = st.sampled_from(["traffic.payment", "control.run"])


def test_a_basis_record_survives_its_encoding() -> None:
    record = BasisRecord(
        service="ingestion_gate",
        shard=2,
        batch_no=17,
        inputs=[InputRange("ingress.edge", 1, 5, 9)],
        now=1_700_000_000_000_001,
        code_rev="abc",
        transactional_id="ingestion_gate-2",
        outputs_digest="d" * 64,
        outputs=[("traffic.payment", 0, 7, 3), ("traffic.decision", 0, 2, 3), ("traffic.decision", 1, 9, 1)],
        environment={"evidence": "inline"},
        poison=[("ingress.edge", 1, 6, "ValueError: x")],
        checkpoint=Locator(uri="artifact://checkpoints/x/0/a.json", digest=Digest(hash="0" * 64), bytes=3),
        events=4,
        chain="a+b",
        runs_by_pass=[1, 2],
    )
    assert BasisRecord.decode(record.encode()) == record
    assert record.passes() == [record.outputs[:1], record.outputs[1:]]


@given(gaps=st.lists(st.tuples(TOPICS, st.integers(0, 3), st.integers(1, 4)), max_size=60))
def test_runs_give_every_coordinate_back_in_order(gaps: list[tuple[str, int, int]]) -> None:
    """Offsets of a partition rise, sometimes with gaps (another transaction's markers)."""
    nexts: dict[tuple[str, int], int] = {}
    coordinates = []
    for topic, partition, step in gaps:
        offset = nexts.get((topic, partition), 10) + step - 1
        nexts[topic, partition] = offset + 1
        coordinates.append(Coordinate(topic, partition, offset))

    recovered = offsets_by_partition(coordinate_runs(coordinates))

    assert [Coordinate(t, p, next(recovered[t, p])) for t, p, _ in coordinates] == coordinates


def tails(coordinates: Sequence[Coordinate]) -> list[bytes]:
    return [repr(coordinate).encode() for coordinate in coordinates]


def test_the_digest_leaves_out_coordinates_of_the_same_transaction_only() -> None:
    facts = [Output("t", b"k", b"v")]
    own = TrailingOutput("r", b"k", b"x", fact=0)
    earlier = TrailingOutput("r", b"k", b"x", known=Coordinate("t", 0, 1))
    other = TrailingOutput("r", b"k", b"x", known=Coordinate("t", 0, 2))

    assert outputs_digest(facts, [own], tails) == outputs_digest(
        facts, [own], lambda at: [b"anything" for _ in at]
    )
    assert outputs_digest(facts, [earlier], tails) != outputs_digest(facts, [other], tails)


@given(
    left=st.lists(st.tuples(st.none() | st.binary(max_size=3), st.binary(max_size=3)), max_size=4),
    right=st.lists(st.tuples(st.none() | st.binary(max_size=3), st.binary(max_size=3)), max_size=4),
)
def test_different_outputs_never_share_a_frame(
    left: list[tuple[bytes | None, bytes]], right: list[tuple[bytes | None, bytes]]
) -> None:
    one = outputs_digest([Output("t", *item) for item in left], [], tails)
    two = outputs_digest([Output("t", *item) for item in right], [], tails)
    assert (one == two) == (left == right)
