"""A backlog of several topics on a real broker: read as it came about, every record once."""

import time
from collections.abc import Callable, Iterator

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient  # type: ignore[attr-defined]

from sluice_kit.config import Wiring
from sluice_kit.kafka import bulk_reader_config, client_config, idempotent_producer_config
from sluice_kit.workflow import BulkReader, Source
from tests.integration.own_topic import own_topic

pytestmark = pytest.mark.integration
RECORDS = 40_000
SPAN_MS = 200_000
AHEAD_MS = 10_000
READ_AT_ONCE = 1_000
SIZES = {"small": 50, "large": 1_500}
LONG_AGO = 1_700_000_000_000


@pytest.fixture(scope="module")
def backlog(wiring: Wiring, unique: Callable[[str], str]) -> Iterator[dict[str, int]]:
    """Topics of two partitions with as many records over the same time, and how large they are."""
    admin = AdminClient(client_config(wiring, "admin"))
    names = {unique(f"bulk.{name}"): size for name, size in SIZES.items()}
    small, large = names
    producer = Producer(idempotent_producer_config(wiring, "admin"))
    with own_topic(admin, small, 2), own_topic(admin, large, 2):
        for number in range(RECORDS):
            at = LONG_AGO + number * SPAN_MS // RECORDS
            for topic, size in names.items():
                producer.produce(topic, b"%0*d" % (size, number), partition=number % 2, timestamp=at)
            producer.poll(0)
        assert producer.flush(60) == 0
        yield names


def test_no_topic_runs_away_from_another_and_every_record_comes_once_in_its_order(
    wiring: Wiring, backlog: dict[str, int]
) -> None:
    reader = BulkReader(bulk_reader_config(wiring, "admin", group="admin"), [*backlog])
    reader.start({})
    try:
        found: dict[Source, list[int]] = {source: [] for source in reader.sources}
        reached = dict.fromkeys(range(len(reader.sources)), LONG_AGO)
        apart = 0
        deadline = time.monotonic() + 120
        while reader.read_until() < LONG_AGO + SPAN_MS:  # so until all ends were seen
            assert time.monotonic() < deadline
            for stretch in reader.read(READ_AT_ONCE, 0.25):
                found[reader.sources[stretch.source]] += [int(value or b"") for value in stretch.values]
                reached[stretch.source] = stretch.written[-1]
            apart = max(apart, max(reached.values()) - min(reached.values()))
    finally:
        reader.close()
    assert found == {source: [*range(source[1], RECORDS, 2)] for source in reader.sources}
    one_reading = READ_AT_ONCE * SPAN_MS * 2 // RECORDS  # all of it records of one partition
    assert apart <= AHEAD_MS + one_reading
