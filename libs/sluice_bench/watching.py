"""The readers of the ingress benches: what is committed and when it became visible, from topics alone."""

import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from confluent_kafka import Consumer, IsolationLevel, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from sluice_bench.copy_loop import PRINCIPAL, Starts
from sluice_bench.pacing import Pace
from sluice_contracts import Decoded, decode
from sluice_kit.config import Wiring
from sluice_kit.kafka import client_config, reader_config
from sluice_substrate.priority import precedence

SAMPLE_SECONDS: Final = 0.02
_QUIET_SECONDS: Final = 1.0


def committed_ends(admin: AdminClient, topic: str) -> Starts:
    """The last stable offset of each partition: what a read_committed reader sees up to."""
    partitions = admin.list_topics(topic, timeout=30).topics[topic].partitions
    asked = {TopicPartition(topic, number): OffsetSpec.latest() for number in partitions}  # type: ignore[no-untyped-call]
    found = admin.list_offsets(asked, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=10)
    return sorted((where.topic, where.partition, future.result().offset) for where, future in found.items())


def total(ends: Starts) -> int:
    """Sum of the offsets."""
    return sum(offset for _, _, offset in ends)


def watch_growth(
    wiring: dict[str, Any], topic: str, base: int, records: int, deadline_seconds: float
) -> list[tuple[float, int]]:
    """Sample the committed end of `topic` every 20 ms until `records` more are there and it is quiet.

    Returns (seconds, sum of offsets) whenever it grew. Raises RuntimeError at the deadline.
    """
    admin = AdminClient(client_config(Wiring(**wiring), PRINCIPAL))
    samples: list[tuple[float, int]] = []
    deadline = time.monotonic() + deadline_seconds
    while True:
        now, seen = time.monotonic(), total(committed_ends(admin, topic))
        if seen != (samples[-1][1] if samples else base):
            samples.append((now, seen))
        if samples and seen - base >= records and now - samples[-1][0] > _QUIET_SECONDS:
            return samples
        if now > deadline:
            raise RuntimeError(f"{topic} grew by {seen - base} of {records} in {deadline_seconds:.0f} s")
        time.sleep(SAMPLE_SECONDS)


def count_receipts(wiring: dict[str, Any], starts: Starts, records: int) -> dict[str, Any]:
    """Read receipts back from `starts`: how many of each decision, and their average size in bytes."""
    decisions: dict[str, int] = {}
    size = 0
    for _, value in _read(Wiring(**wiring), starts, records, 60.0):
        found = decode(value)
        assert isinstance(found, Decoded), found
        decision = found.fields["payload"]["decision"]
        decisions[decision] = decisions.get(decision, 0) + 1
        size += len(value)
    return {"decisions": decisions, "average_bytes": round(size / max(1, sum(decisions.values())))}


def read_values(wiring: Wiring, starts: Starts, records: int, seconds: float) -> Iterator[bytes]:
    """The first `records` committed values from `starts` on, in batches as they come.

    Raises RuntimeError when they are not there after `seconds`.
    """
    return (value for _, value in _read(wiring, starts, records, seconds))


def measure_visibility(  # noqa: PLR0917 - a process's arguments
    wiring: dict[str, Any],
    starts: Starts,
    number_of: Mapping[str, int],
    pace: Pace,
    start_at: float,
    deadline_seconds: float,
) -> list[float]:
    """Seconds from the intended send time of each event to its visibility, in the order of sending.

    Reads receipts and decisions (by the id of their subject) or copied payments; `number_of` gives the place
    of an event id in the pace. Raises RuntimeError when any is missing.
    """
    arrived = list(_read(Wiring(**wiring), starts, pace.count, deadline_seconds))
    latency = [-1.0] * pace.count
    for at, value in arrived:
        number = number_of.get(_subject(value))
        if number is not None and latency[number] < 0:
            latency[number] = at - (start_at + pace.intended(number))
    missing = latency.count(-1.0)
    if missing:
        raise RuntimeError(f"{missing} of {pace.count} events never became visible")
    return latency


def _subject(value: bytes) -> str:
    found = decode(value)
    assert isinstance(found, Decoded), found
    fields: Mapping[str, Any] = found.fields
    subject: str = fields["payload"].get("subject_event_id") or fields["event_id"]
    return subject


@precedence()
def _read(wiring: Wiring, starts: Starts, records: int, seconds: float) -> list[tuple[float, bytes]]:
    """`records` values from `starts` on, each with the monotonic second in which it was delivered."""
    consumer = Consumer(
        reader_config(wiring, PRINCIPAL, group="bench-reader") | {"queued.max.messages.kbytes": 262_144}
    )
    consumer.assign([TopicPartition(*start) for start in starts])
    found: list[tuple[float, bytes]] = []
    deadline = time.monotonic() + seconds
    while len(found) < records and time.monotonic() < deadline:
        first = consumer.poll(0.1)
        if first is None:
            continue
        batch = [first, *consumer.consume(2_000, 0)]
        at = time.monotonic()
        for message in batch:
            if message.error() is not None:
                raise RuntimeError(f"the bench's reader: {message.error()}")
            found.append((at, message.value() or b""))
    consumer.close()
    if len(found) < records:
        raise RuntimeError(f"{len(found)} of {records} records were there after {seconds:.0f} s")
    return found
