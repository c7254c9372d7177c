"""Coordinates are put into encoded receipts without decoding them."""

from dataclasses import replace

import pytest

from sluice_contracts import NO_COORDINATES, Decoded, coordinate_tails, decode, to_record
from sluice_contracts.records import ReceiptV1
from sluice_contracts_codegen.repository import REPOSITORY


@pytest.mark.parametrize("kind", ["minimal", "full", "edges"])
@pytest.mark.parametrize(
    ("partition", "offset"), [(0, 0), (3, 63), (3, 64), (63, 8191), (64, 8192), (9000, 2**53)]
)
def test_patched_bytes_are_the_encoding_of_the_patched_record(kind: str, partition: int, offset: int) -> None:
    decoded = decode((REPOSITORY / f"contracts/examples/receipt.v1/{kind}.bin").read_bytes())
    assert isinstance(decoded, Decoded)
    record = to_record(decoded)
    assert isinstance(record, ReceiptV1)
    bare = replace(record, payload=replace(record.payload, eb_topic=None, eb_partition=-1, eb_offset=-1))
    placed = replace(
        record,
        payload=replace(record.payload, eb_topic="traffic.payment", eb_partition=partition, eb_offset=offset),
    )
    assert bare.encode().endswith(NO_COORDINATES)
    [tail] = coordinate_tails([("traffic.payment", partition, offset)])
    assert bare.encode().removesuffix(NO_COORDINATES) + tail == placed.encode()
