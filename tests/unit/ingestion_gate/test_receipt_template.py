"""A receipt from a template is byte for byte the receipt that the codec writes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingestion_gate.model import Origin
from services.ingestion_gate.receipt_template import NOW_MARK
from services.ingestion_gate.receipts import ReceiptWriter, receipt_id
from sluice_contracts import Decoded, decode, payload_hash
from sluice_kit.stage import Record
from tests.unit.ingestion_gate.events import payment

IDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}", fullmatch=True)
TRACES = st.none() | st.from_regex(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", fullmatch=True)


@given(
    event_id=IDS,
    customer=IDS,
    trace=TRACES,
    partition=st.integers(0, 2**20),
    offset=st.integers(0, 2**62),
    decision=st.sampled_from(["ADMIT", "DUPLICATE"]),
    origin=st.sampled_from(Origin),
    seed=st.sampled_from([None, 7, NOW_MARK]),
    now=st.sampled_from([1, 1_700_000_000_000_000, 1_700_000_000_050_000]),
)
def test_a_template_writes_what_the_codec_writes(
    event_id: str,
    customer: str,
    trace: str | None,
    partition: int,
    offset: int,
    decision: str,
    origin: Origin,
    seed: int | None,
    now: int,
) -> None:
    fields = payment(event_id, customer=customer, traceparent=trace) | {"seed": seed}
    writer = ReceiptWriter(now=now, policy_revision="p1")
    about: dict[str, Any] = {
        "decision": decision,
        "principal": "world_stream_producer",
        "payload_hash": payload_hash(fields),
        "partition_key": customer,
        "partition_profile": "customer",
    }
    record = Record("ingress.world_stream_producer", partition, offset, None, b"")

    first = writer.settled(record, fields, origin=origin, **about)
    again = writer.settled(record, fields, origin=origin, **about)

    plain = writer._encode(  # the slow path, from the same fields
        decoded_payload(first.value)["receipt_id"],
        fields,
        record,
        origin=origin,
        **{**about, "payload_hash": payload_hash(fields).hex()},
    )
    assert first.value == again.value == plain
    assert decoded_payload(first.value)["receipt_id"] == receipt_id(record, origin, event_id)


def test_a_receipt_without_coordinates_decodes_once_the_tail_is_on() -> None:
    fields = payment("e1")
    writer = ReceiptWriter(now=1, policy_revision="p1")
    out = writer.settled(
        Record("ingress.edge", 3, 77, None, b""),
        fields,
        decision="ADMIT",
        principal="partner_acme",
        origin=Origin.LANE,
        payload_hash=b"\x01" * 32,
        partition_key="C1",
        partition_profile="customer",
    )

    payload = decoded_payload(out.value)

    assert payload["subject_event_id"] == "e1"
    assert (payload["lane_topic"], payload["lane_partition"], payload["lane_offset"]) == (
        "ingress.edge",
        3,
        77,
    )
    assert payload["payload_hash"] == "01" * 32


@pytest.mark.parametrize("length", [1, 63, 64, 127, 128])
def test_ids_of_every_length_class_survive(length: int) -> None:
    fields = payment("x" * length)
    out = ReceiptWriter(now=1, policy_revision="p1").settled(
        Record("ingress.edge", 0, 0, None, b""),
        fields,
        decision="ADMIT",
        principal="edge",
        origin=Origin.LANE,
        payload_hash=b"\x02" * 32,
        partition_key="C1",
        partition_profile="customer",
    )
    assert decoded_payload(out.value)["subject_event_id"] == "x" * length


def decoded_payload(value: bytes) -> dict[str, Any]:
    found = decode(value + b"\x00\x01\x01")
    assert isinstance(found, Decoded), found
    payload: dict[str, Any] = found.fields["payload"]
    return payload
