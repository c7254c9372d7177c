"""Whatever bytes come, the answer is a value with a name, never an exception, and never much memory."""

import io
import time
import tracemalloc
from pathlib import Path
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice_contracts import CONTRACTS, MAX_VALUE_BYTES, Contract, DecodeCode, Decoded, DecodeFailure, decode
from sluice_contracts_codegen.repository import REPOSITORY

EXAMPLES = sorted((REPOSITORY / "contracts" / "examples").glob("*/*.bin"))
BASIS = CONTRACTS["basis_record", 1].prefix
PAYMENT = CONTRACTS["payment", 1].prefix


def plain(node: Any) -> Any:
    """A schema without logical types."""
    if isinstance(node, list):
        return [plain(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {key: plain(value) for key, value in node.items() if key != "logicalType"}


PARSED = {
    contract.schema_id: fastavro.parse_schema(plain(contract.schema)) for contract in CONTRACTS.values()
}


def code_of(value: bytes | None) -> str:
    answer = decode(value)
    assert isinstance(answer, DecodeFailure), answer
    assert answer.detail
    return answer.code


def varint(number: int) -> bytes:
    """Zigzag varint of a number of any size."""
    zigzag = number * 2 if number >= 0 else -number * 2 - 1
    out = bytearray()
    while zigzag > 127:
        out.append(zigzag & 127 | 128)
        zigzag >>= 7
    return bytes([*out, zigzag])


def test_named_failures_of_the_frame() -> None:
    assert code_of(None) == code_of(b"") == DecodeCode.EMPTY
    assert code_of(b"\x01\x00\x00\x00\x01abc") == DecodeCode.WRONG_MAGIC
    assert code_of(b"{}") == DecodeCode.WRONG_MAGIC
    assert code_of(b"\x00\x00") == DecodeCode.TRUNCATED
    assert code_of(b"\x00\x7f\x00\x00\x01abc") == DecodeCode.UNKNOWN_SCHEMA_ID
    assert "2130706433" in str(decode(b"\x00\x7f\x00\x00\x01abc"))
    assert code_of(PAYMENT) == DecodeCode.TRUNCATED


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_truncation_and_every_appendix(path: Path) -> None:
    value = path.read_bytes()
    step = max(1, len(value) // 700)
    for cut in range(5, len(value), step):
        assert code_of(value[:cut]) == DecodeCode.TRUNCATED, cut
    for rest in (b"\x00", b"\xff", b"garbage", value):
        assert code_of(value + rest) == DecodeCode.TRAILING_BYTES


@pytest.mark.parametrize(
    "path",
    [path for path in EXAMPLES if path.stem != "edges"],
    ids=lambda path: f"{path.parent.name}-{path.stem}",
)
def test_every_bit_flip_is_what_an_independent_reader_makes_of_it(path: Path) -> None:
    value = path.read_bytes()
    original = decode(value)
    assert isinstance(original, Decoded)
    for index in range(5, len(value)):
        for bit in range(8):
            flipped = bytearray(value)
            flipped[index] ^= 1 << bit
            answer = decode(bytes(flipped))
            theirs = independently_read(original.contract, bytes(flipped))
            if isinstance(answer, Decoded):
                assert answer.fields == theirs, (index, bit)
                answer.contract.check(answer.fields)
            else:
                assert answer.code in {DecodeCode.TRUNCATED, DecodeCode.TRAILING_BYTES, DecodeCode.MALFORMED}
                # fastavro counts a negative branch from the end, as Python does an index
                assert theirs is None or "no branch" in str(answer), (index, bit, answer)


def independently_read(contract: Contract, value: bytes) -> Any:
    """What fastavro reads, None where it refuses, leaves bytes over, or would believe an announced length."""
    stream = io.BytesIO(value[5:])
    try:
        fields = fastavro.schemaless_reader(stream, PARSED[contract.schema_id], None)
    except (EOFError, ValueError, IndexError, OverflowError, MemoryError):
        return None
    return fields if stream.tell() == len(value) - 5 else None


@settings(max_examples=1000, deadline=None)
@given(st.binary(max_size=400))
def test_random_bytes_never_raise(value: bytes) -> None:
    assert isinstance(decode(value), DecodeFailure | Decoded)


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=lambda contract: contract.event_type)
@settings(max_examples=150, deadline=None)
@given(
    body=st.binary(max_size=600)
    | st.lists(st.integers(-(2**70), 2**70)).map(lambda ns: b"".join(map(varint, ns)))
)
def test_random_bodies_under_a_known_id_never_raise(contract: Contract, body: bytes) -> None:
    answer = decode(contract.prefix + body)
    if isinstance(answer, Decoded):
        answer.contract.check(answer.fields)
        if not contract.enveloped or not contract.check(answer.fields):
            assert decode(contract.encode(answer.fields)) == answer


def test_text_that_is_not_utf8_is_malformed() -> None:
    value = (REPOSITORY / "contracts/examples/payment.v1/full.bin").read_bytes()
    answer = decode(value.replace(b"baseline", b"base\xff\xfe\x80e"))
    assert isinstance(answer, DecodeFailure)
    assert (answer.code, "scenario_id: not UTF-8" in answer.detail) == (DecodeCode.MALFORMED, True)
    overlong = value.replace(b"baseline", b"bas\xc0\xafine")
    assert code_of(overlong) == DecodeCode.MALFORMED
    surrogate = value.replace(b"baseline", b"b\xed\xa0\x80line")
    assert code_of(surrogate) == DecodeCode.MALFORMED


HUGE = [2**62, 2**63 - 1, 2**40, 2**31, 10**6]


@pytest.mark.parametrize("length", HUGE)
def test_announced_lengths_take_no_memory(length: int) -> None:
    tracemalloc.start()
    started = time.perf_counter()
    try:
        assert code_of(PAYMENT + varint(length) + b"short") == DecodeCode.TRUNCATED
        to_inputs = BASIS + varint(1) + b"s" + varint(0) + varint(1)
        assert code_of(to_inputs + varint(length)) == DecodeCode.TRUNCATED
        assert code_of(to_inputs + varint(length) + b"\x00" * 300) == DecodeCode.TRUNCATED
        assert code_of(to_inputs + varint(-length) + varint(8) + b"\x00" * 300) == DecodeCode.TRUNCATED
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
    assert time.perf_counter() - started < 2


@pytest.mark.parametrize("length", [-1, -2, -(2**31), -(2**63)])
def test_negative_lengths_are_malformed(length: int) -> None:
    assert code_of(PAYMENT + varint(length) + b"x" * 300) == DecodeCode.MALFORMED


def test_numbers_that_do_not_fit_are_malformed() -> None:
    head = BASIS + varint(1) + b"s"
    assert code_of(head + varint(2**31) + b"\x00" * 99) == DecodeCode.MALFORMED  # shard is an int
    assert code_of(head + varint(0) + varint(2**63) + b"\x00" * 99) == DecodeCode.MALFORMED
    assert code_of(head + varint(0) + b"\xff" * 40) == DecodeCode.MALFORMED
    assert code_of(head + varint(0) + varint(1) + varint(-(2**63)) + varint(-1)) == DecodeCode.MALFORMED


def test_a_union_has_two_branches() -> None:
    value = (REPOSITORY / "contracts/examples/receipt.v1/minimal.bin").read_bytes()
    assert value.endswith(b"\x00\x01\x01")
    answer = decode(value[:-3] + b"\x04\x01\x01")
    assert isinstance(answer, DecodeFailure)
    assert answer.code == DecodeCode.MALFORMED
    assert "eb_topic" in answer.detail


def test_oversize_is_refused_before_anything_is_read() -> None:
    assert code_of(PAYMENT + b"\x00" * MAX_VALUE_BYTES) == DecodeCode.OVERSIZE
    big = CONTRACTS["governance_action", 1].max_bytes
    assert big > MAX_VALUE_BYTES
    assert code_of(CONTRACTS["governance_action", 1].prefix + b"\x00" * big) == DecodeCode.OVERSIZE


def test_array_blocks_of_other_writers_are_read() -> None:
    """A writer may cut an array into blocks, and may announce their size with a negative count."""
    head = BASIS + varint(1) + b"s" + varint(0) + varint(1)
    item = varint(1) + b"t" + varint(0) + varint(5) + varint(9)
    tail = (
        varint(1_767_225_600_000_000) + varint(1) + b"r" + varint(1) + b"x" + varint(64) + b"0" * 64
        + b"\x00\x00\x00\x00" + varint(3) + b"\x00"
    )  # fmt: skip
    one_block = decode(head + varint(2) + item + item + b"\x00" + tail)
    blocks = decode(head + varint(-1) + varint(len(item)) + item + varint(1) + item + b"\x00" + tail)
    assert isinstance(one_block, Decoded)
    assert isinstance(blocks, Decoded)
    assert one_block.fields == blocks.fields
    assert one_block.fields["inputs"] == [{"topic": "t", "partition": 0, "start": 5, "end": 9}] * 2
