"""What a verification names when a batch comes out otherwise than it was logged."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice_contracts import encode
from sluice_kit.replay.difference import Kind, field_differences, first_difference, identity_of, speaks_of
from sluice_kit.replay.logged_outputs import of_transaction
from sluice_kit.stage import Output, Record
from tests.unit.ingestion_gate.events import payment

TOPIC = "traffic.payment"


def value_of(number: int, **changes: Any) -> bytes:
    return encode("payment", 1, payment(f"e{number}", **changes))


def out(number: int, key: bytes = b"k", topic: str = TOPIC, **changes: Any) -> Output:
    return Output(topic, key, value_of(number, **changes))


def logged(outputs: Sequence[Output]) -> list[Record]:
    """Outputs as the log holds them: by topic and key, each in its order."""
    places: dict[tuple[str, bytes | None], list[Output]] = {}
    for item in outputs:
        places.setdefault((item.topic, item.key), []).append(item)
    return [
        Record(topic, partition, offset, key, item.value)
        for partition, ((topic, key), items) in enumerate(sorted(places.items()))
        for offset, item in enumerate(items)
    ]


outputs = st.lists(
    st.builds(out, st.integers(0, 5), st.sampled_from([b"a", b"b"]), st.sampled_from([TOPIC, "state.x"])),
    max_size=12,
)


@given(outputs)
def test_equal_outputs_have_no_difference(made: list[Output]) -> None:
    assert first_difference(made, logged(made)) is None


@given(outputs.filter(bool), st.data())
def test_one_changed_output_is_the_first_difference(made: list[Output], data: st.DataObject) -> None:
    number = data.draw(st.integers(0, len(made) - 1))
    chosen = made[number]
    event_id = identity_of(chosen)[2]
    changed = Output(chosen.topic, chosen.key, encode("payment", 1, payment(event_id, amount=9_999)))
    found = first_difference([*made[:number], changed, *made[number + 1 :]], logged(made))
    assert found is not None
    assert (found.kind, found.topic, found.event_id) == (Kind.CHANGED, chosen.topic, event_id)
    assert [(f.path, f.logged, f.replayed) for f in found.fields] == [("payload.amount_minor", 1_234, 9_999)]


@pytest.mark.parametrize(
    ("replayed", "in_log", "kind", "event_id"),
    [
        ([out(1), out(2)], [out(1)], Kind.ADDED, "e2"),
        ([out(1)], [out(1), out(2)], Kind.MISSING, "e2"),
        ([out(1), out(2)], [out(2), out(1)], Kind.ORDER, "e1"),
        ([out(1, b"k"), out(2)], [out(1, b"other"), out(2)], Kind.CHANGED, "e1"),
        ([out(1), out(1)], [out(1)], Kind.ADDED, "e1"),
    ],
    ids=["added", "missing", "order", "another key", "repeated"],
)
def test_what_is_too_much_too_little_or_elsewhere_is_named(
    replayed: list[Output], in_log: list[Output], kind: Kind, event_id: str
) -> None:
    found = first_difference(replayed, logged(in_log))
    assert found is not None
    assert (found.kind, found.event_id) == (kind, event_id)


def test_an_event_whose_id_came_out_otherwise_is_held_against_the_one_it_replaces() -> None:
    found = first_difference([out(1), out(7)], logged([out(1), out(2)]))
    assert found is not None
    paths = {field.path: (field.logged, field.replayed) for field in found.fields}
    assert (found.kind, found.event_id, paths["event_id"]) == (Kind.CHANGED, "e2", ("e2", "e7"))


def test_fields_are_named_by_path_and_undecodable_values_whole() -> None:
    assert [item.path for item in field_differences(value_of(1), value_of(1, seed=3))] == ["seed"]
    assert [item.path for item in field_differences(value_of(1), b"junk")] == ["value"]


def test_records_of_a_run_are_told_by_their_run_not_by_their_letters() -> None:
    values = [None, b"junk run-1", value_of(1, run_id="run-12"), value_of(2, scenario_id="run-1", run_id="x")]
    assert not speaks_of(values, "run-1")
    assert speaks_of([*values, value_of(3, run_id="run-1")], "run-1")


def test_what_trails_is_told_apart_by_transactions() -> None:
    records = [
        Record(TOPIC, partition, offset, b"k", value_of(number))
        for partition, offset, number in [(0, 0, 1), (0, 2, 2), (0, 3, 3), (0, 5, 4), (1, 6, 5), (1, 7, 2)]
    ]
    found = of_transaction(records, [identity_of(records[1])])
    assert [(record.partition, record.offset) for record in found] == [(0, 2), (0, 3), (1, 6), (1, 7)]
