"""What is sent is what was appended, in order, as another implementation of the protocol reads it."""

from collections import defaultdict
from io import BytesIO
from typing import Any

from aiokafka.protocol.produce import ProduceRequest_v7, ProduceResponse_v7
from aiokafka.record.default_records import DefaultRecordBatch
from hypothesis import given
from hypothesis import strategies as st

from sluice_kit.kafka.record_batches import Sequences, Written, produce_request, produced
from sluice_kit.places import Place

PLACES = st.tuples(st.sampled_from(["a", "topic.b"]), st.integers(0, 2))
RECORDS = st.lists(st.tuples(PLACES, st.none() | st.binary(max_size=9), st.binary(max_size=99)), max_size=40)


def sent(written: Written, sequences: Sequences) -> dict[Place, list[DefaultRecordBatch]]:
    """What waits to be sent, sealed, put into requests of one batch a partition, and read back."""
    found = defaultdict(list)
    unsent = {place: list(batches) for place, batches in written.take_unsent().items()}
    while unsent:
        octets = {place: sequences.sealed(place, batches.pop(0)) for place, batches in unsent.items()}
        body = b"".join(produce_request("writer-0", 30_000, octets))
        request: Any = ProduceRequest_v7.decode(BytesIO(body))
        assert (request.transactional_id, request.required_acks, request.timeout) == ("writer-0", -1, 30_000)
        for topic, partitions in request.topics:
            for partition, records in partitions:
                found[topic, partition].append(DefaultRecordBatch(bytes(records)))
        unsent = {place: batches for place, batches in unsent.items() if batches}
    return found


def append(written: Written, records: list[tuple[Place, bytes | None, bytes]]) -> None:
    places, keys, values = zip(*records, strict=True) if records else ((), (), ())
    written.append(places, keys, values)


@given(first=RECORDS, second=RECORDS)
def test_a_partition_gets_its_records_in_order_and_numbered(
    first: list[tuple[Place, bytes | None, bytes]], second: list[tuple[Place, bytes | None, bytes]]
) -> None:
    """Two transactions: numbers go on where the first one ended."""
    sequences = Sequences(7, 3)
    numbers: dict[Place, int] = defaultdict(int)
    for records in (first, second):
        written = Written()
        append(written, records)
        found = sent(written, sequences)
        assert found.keys() == {place for place, _, _ in records} == set(written.places())
        for place, batches in found.items():
            own = [(key, value) for at, key, value in records if at == place]
            assert all(batch.validate_crc() for batch in batches)
            assert [(record.key, record.value) for batch in batches for record in batch] == own
            assert written.count(place) == len(own)
            for batch in batches:
                assert batch.is_transactional
                assert (batch.producer_id, batch.producer_epoch) == (7, 3)
                assert batch.base_sequence == numbers[place]
                numbers[place] += batch.last_offset_delta + 1


def test_what_is_too_much_for_a_batch_goes_into_several_and_none_is_lost() -> None:
    written = Written()
    values = [bytes([n]) * 300_000 for n in range(10)]
    append(written, [(("a", 0), b"k", value) for value in values])
    append(written, [(("a", 0), b"k", b"x" * 3_000_000)])

    batches = sent(written, Sequences(1, 0))["a", 0]

    assert [record.value for batch in batches for record in batch] == [*values, b"x" * 3_000_000]
    assert [batch.last_offset_delta + 1 for batch in batches] == [3, 3, 3, 1, 1]
    assert [batch.base_sequence for batch in batches] == [0, 3, 6, 9, 10]


@given(records=RECORDS.filter(bool), told=st.integers(0, 40))
def test_offsets_are_told_batch_by_batch(records: list[tuple[Place, bytes | None, bytes]], told: int) -> None:
    written = Written()
    half = len(records) // 2
    batches = []
    for part in (records[:half], records[half:]):
        append(written, part)
        batches += [(place, batch) for place, found in written.take_unsent().items() for batch in found]
    ends: dict[Place, int] = defaultdict(lambda: 50)
    for place, batch in batches[:told]:
        batch.offset = ends[place]
        ends[place] += batch.count + 1  # a record of somebody else stands between

    for place in written.places():
        own = [batch for at, batch in batches if at == place]
        stand = [batch.offset + n for batch in own if batch.offset is not None for n in range(batch.count)]
        untold = any(batch.offset is None for batch in own)
        offsets = written.offsets(place)
        assert offsets is None if untold else list(offsets or ()) == stand


@given(
    answers=st.dictionaries(
        PLACES, st.tuples(st.sampled_from([0, 47, 10]), st.integers(-1, 2**62)), max_size=9
    )
)
def test_an_answer_is_read_as_it_was_written(answers: dict[Place, tuple[int, int]]) -> None:
    topics = defaultdict(list)
    for (topic, partition), (code, offset) in answers.items():
        topics[topic].append((partition, code, offset, -1, 0))
    body = ProduceResponse_v7(topics=list(topics.items()), throttle_time_ms=0).encode()

    assert produced(body) == answers
