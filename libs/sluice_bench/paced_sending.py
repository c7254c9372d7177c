"""The paced load: events are framed and sealed before the first is due, and go out in packs.

The generator stands for machines of its own, but runs on the cores that it loads. librdkafka, fed event by
event, takes 25 to 55 microseconds of them for each; this takes 5 to 8. Waiting for the next pack is part of
every latency, since these are counted from the moment at which an event was to be sent.
"""

import select
import time
from collections.abc import Iterator, Sequence
from itertools import groupby
from math import ceil
from typing import Any, Final, NamedTuple

from aiokafka.protocol.produce import ProduceRequest_v7
from aiokafka.protocol.transaction import InitProducerIdRequest_v0

from sluice_bench.pacing import Pace
from sluice_contracts import TOPICS
from sluice_kit.config import Wiring
from sluice_kit.kafka import client_config
from sluice_kit.kafka.cluster import ANSWER_SECONDS, NOT_READY, Cluster, RequestFailed
from sluice_kit.kafka.partitioner import places_of
from sluice_kit.kafka.record_batches import Sequences, Written, produce_request, produced
from sluice_kit.places import Place
from sluice_substrate.priority import precedence

PACK_SECONDS: Final = 0.005
_NOT_READY_SECONDS: Final = 0.1
_DIGITS: Final = 6
"""Of a quotient of seconds, beyond which it is a rounding error."""


class Pack(NamedTuple):
    """Values that leave together, `at` seconds after the start."""

    at: float
    values: Sequence[bytes]


def packs_of(events: Sequence[tuple[int, bytes]], pace: Pace, pack_seconds: float) -> Iterator[Pack]:
    """Values in their order, each with the number in the pace that says when it is due, and not before."""

    def turn(event: tuple[int, bytes]) -> int:
        return ceil(round(pace.intended(event[0]) / pack_seconds, _DIGITS))

    for number, found in groupby(events, turn):
        yield Pack(number * pack_seconds, [value for _, value in found])


@precedence()
def send_paced(  # noqa: PLR0917 - a process's arguments
    wiring: dict[str, Any],
    principal: str,
    place: tuple[str, bytes],
    events: Sequence[tuple[int, bytes]],
    pace: Pace,
    start_at: float,
    pack_seconds: float = PACK_SECONDS,
) -> float:
    """Write events to a topic under one key, `place`, each when it is due; `start_at` in monotonic seconds.

    The generator does not queue for a core behind what it measures. Returns by how many seconds a pack was
    late at most. Raises RequestFailed, ConnectionLost.
    """
    topic, key = place
    lane = _Lane(wiring, principal, topic, key)
    sealed = [(pack.at, lane.sealed(pack.values)) for pack in packs_of(events, pace, pack_seconds)]
    latest = 0.0
    for at, octets in sealed:
        time.sleep(max(0.0, start_at + at - time.monotonic()))
        latest = max(latest, time.monotonic() - start_at - at)
        lane.send(octets)
    lane.settle()
    return latest


class _Lane:
    """One partition, and the one connection by which an idempotent producer writes to it."""

    def __init__(self, wiring: dict[str, Any], principal: str, topic: str, key: bytes) -> None:
        self._cluster = Cluster(client_config(Wiring(**wiring), principal))
        (self._place,) = places_of([topic], [key], {topic: TOPICS[topic].partitions})
        self._key = key
        self._sequences = self._begun()
        self._connection = self._cluster.connection("records", self._cluster.leader(self._place))
        self._unanswered = 0

    def _begun(self) -> Sequences:
        while True:
            answer: Any = self._cluster.any_connection().ask(InitProducerIdRequest_v0(None, 0))
            if not answer.error_code:
                return Sequences(answer.producer_id, answer.producer_epoch)
            if answer.error_code not in NOT_READY:
                raise RequestFailed("a producer's id", answer.error_code)
            time.sleep(_NOT_READY_SECONDS)

    def sealed(self, values: Sequence[bytes]) -> bytearray:
        """Records of these values as bytes, which are to be sent in the order of sealing."""
        written = Written(transactional=False)
        written.append([self._place] * len(values), [self._key] * len(values), values)
        (batch,) = written.take_unsent()[self._place]
        return self._sequences.sealed(self._place, batch)

    def send(self, octets: bytearray) -> None:
        """Send sealed records, and take in what was answered meanwhile."""
        batches: dict[Place, bytearray] = {self._place: octets}
        self._connection.send(
            ProduceRequest_v7.API_KEY,
            ProduceRequest_v7.API_VERSION,
            *produce_request(None, round(ANSWER_SECONDS * 1_000), batches),
        )
        self._unanswered += 1
        while self._unanswered and select.select([self._connection], [], [], 0)[0]:
            self._hear()

    def settle(self) -> None:
        """Wait until all is written."""
        while self._unanswered:
            self._hear()
        self._cluster.close()

    def _hear(self) -> None:
        for where, (code, _) in produced(self._connection.receive()).items():
            if code:
                raise RequestFailed(f"{where[0]}/{where[1]}", code)
        self._unanswered -= 1
