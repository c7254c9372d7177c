"""Reading a batch by columns says what reading its records one by one says."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.decision_fabric.arrivals import Arrived, Paid, Snapshot
from services.decision_fabric.model import PAYMENTS, POSTURES, SNAPSHOTS
from services.decision_fabric.reading import fields_of, read_records
from sluice_contracts import Decoded, encode
from sluice_kit.columnar.flat_columns import FEWEST_ROWS
from sluice_kit.stage import Record
from tests.unit.decision_fabric.parts import posture_event, snapshot_fields
from tests.unit.ingestion_gate.events import payment

PAYLOAD = ("currency", "customer_id", "terminal_id", "card_id", "amount_minor", "country", "nowhere")
ids = st.text("abcXYZ019_.:-", min_size=1, max_size=128)
texts = st.text("abX1\u00e9\u4e16", min_size=1, max_size=70)
longs = st.integers(0, 2**50)


@st.composite
def payment_values(draw: Any, plain: st.SearchStrategy[str]) -> bytes:
    fields = payment(
        draw(plain),
        ts_utc=draw(st.integers(0, 253402300799999999)),
        tenant=draw(st.sampled_from(["default", "acme"])),
        run_id=draw(st.sampled_from(["run-1", "run-2"])),
        seed=draw(st.sampled_from([None, 7])),
        traceparent=draw(st.sampled_from([None, f"00-{'a' * 32}-{'b' * 16}-01"])),
    )
    fields["payload"] |= {
        "payment_id": draw(plain),
        "customer_id": draw(plain),
        "terminal_id": draw(texts),
        "card_id": draw(st.none() | texts),
        "amount_minor": draw(longs),
    }
    return encode("payment", 1, fields)


@st.composite
def snapshot_values(draw: Any) -> bytes:
    fields = snapshot_fields(
        draw(ids),
        draw(st.lists(st.integers(-(2**62), 2**62), min_size=5, max_size=5)),
        missing=draw(st.sampled_from([[], [4], [0, 3]])),
        graph_version=draw(st.none() | st.integers(-1, 2**50)),
        graph_basis=draw(st.sampled_from([None, "b" * 64])),
        degraded=draw(st.sampled_from([[], ["GRAPH_MISSING"]])),
        tenant=draw(st.sampled_from(["default", "acme"])),
    )
    return encode("feature_snapshot", 1, fields)


def records_of(topic: str, values: list[bytes]) -> list[Record]:
    return [Record(topic, number % 4, number // 4, b"key", value) for number, value in enumerate(values)]


def one_by_one(records: list[Record]) -> list[Arrived]:
    return [found for record in records for found in read_records([record])]


def as_said(found: Arrived) -> Any:
    """All that a payment says, whatever it was read from."""
    assert isinstance(found, Paid)
    return *found[:14], found.told(PAYLOAD), found.told(())


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([ids, texts]).flatmap(lambda plain: st.lists(payment_values(plain), min_size=1)))
def test_payments(values: list[bytes]) -> None:
    records = records_of(PAYMENTS, values * FEWEST_ROWS)
    assert list(map(as_said, read_records(records))) == list(map(as_said, one_by_one(records)))


@settings(max_examples=40, deadline=None)
@given(st.lists(snapshot_values(), min_size=1))
def test_snapshots(values: list[bytes]) -> None:
    records = records_of(SNAPSHOTS, values * FEWEST_ROWS)
    read = read_records(records)
    assert read == one_by_one(records)
    assert read == [Snapshot.of(fields_of(record)) for record in records]


def test_every_record_keeps_its_place_and_what_cannot_be_read_is_said() -> None:
    paid = [encode("payment", 1, payment(f"e{number}")) for number in range(FEWEST_ROWS)]
    records = [
        Record(POSTURES, 0, 0, None, posture_event("NORMAL")),
        *records_of(PAYMENTS, [*paid, paid[0][:-3]]),
        Record(SNAPSHOTS, 0, 0, None, encode("feature_snapshot", 1, snapshot_fields("e0"))[:-1]),
        Record(SNAPSHOTS, 0, 1, None, None),
        Record(PAYMENTS, 0, 9, None, b"\x00\x00"),
    ]
    read = read_records(records)
    last = FEWEST_ROWS + 1
    assert isinstance(read[0], Decoded)
    assert [found.event_id for found in read[1:last] if isinstance(found, Paid)] == [
        f"e{number}" for number in range(FEWEST_ROWS)
    ]
    assert read[last:] == [None] * 4
