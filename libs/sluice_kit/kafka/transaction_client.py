"""A transactional producer that sends a batch's records for all partitions of a broker in one request.

It asks again only where that is safe: a coordinator that is not ready, a partition whose leader is another
one. Any other failure makes it useless: whoever owns it opens another, which fences this one and ends its
transaction.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from aiokafka.protocol.api import RequestStruct
from aiokafka.protocol.coordination import FindCoordinatorRequest_v1
from aiokafka.protocol.produce import ProduceRequest_v7
from aiokafka.protocol.transaction import (
    AddPartitionsToTxnRequest_v0,
    EndTxnRequest_v0,
    InitProducerIdRequest_v0,
)

from sluice_kit.kafka.clients import ClientConfig
from sluice_kit.kafka.cluster import (
    ANSWER_SECONDS,
    COORDINATOR_NOT_AVAILABLE,
    MOVED,
    NOT_COORDINATOR,
    NOT_LEADER,
    NOT_READY,
    Address,
    Cluster,
    RequestFailed,
)
from sluice_kit.kafka.record_batches import RecordBatch, Sequences, Written, produce_request, produced
from sluice_kit.kafka.wire import Connection
from sluice_kit.places import Place

_ENOUGH_TO_SEND: Final = 1_000_000
"""Bytes with which a request is sent before the transaction is complete: the broker works meanwhile."""
_TRANSACTIONS: Final = 1
"""The kind of a coordinator."""

_RETRY_FIRST, _RETRY_MOST = 0.002, 0.1
_LEADER_PAUSE: Final = 0.02
_NOT_ATTEMPTED: Final = 55

Sealed = Mapping[Place, tuple[RecordBatch, bytearray]]
"""A batch for each partition, and its bytes."""


def nothing() -> None:
    """What is done meanwhile where there is nothing else to do."""


class TransactionClient:
    """One transaction after another. Methods raise RequestFailed, ConnectionLost or AccessRefused."""

    def __init__(self, config: ClientConfig) -> None:
        self._id: str = config["transactional.id"]
        self._timeout_ms: int = config["transaction.timeout.ms"]
        self._cluster = Cluster(config)
        self._coordinator: Address | None = None
        self._sequences = Sequences(-1, -1)
        self._added: set[Place] = set()
        self._announced: tuple[Connection, AddPartitionsToTxnRequest_v0, set[Place]] | None = None
        self._in_flight: list[tuple[Connection, Sealed]] = []
        self.written = Written()

    def init(self) -> None:
        """Fence every older producer of this transactional id and end what it left open."""
        request = InitProducerIdRequest_v0(self._id, self._timeout_ms)
        answer = self._ask_coordinator(request, lambda answer: answer.error_code)
        self._sequences = Sequences(answer.producer_id, answer.producer_epoch)

    def begin(self) -> None:
        """Begin a transaction: what was appended to the last one and not sent is forgotten."""
        self.written = Written()
        self._added.clear()
        self._cluster.drop_closed()

    def announce(self, places: Iterable[Place]) -> None:
        """Tell the coordinator where will be appended to, `places` and what was appended already.

        Its answer is waited for when the first records are sent, and so costs no time if that is later.
        """
        new = {*places, *self.written.places()} - self._added
        if new and self._announced is None and self._coordinator is not None:
            request = self._adding(new)
            connection = self._cluster.connection("coordinator", self._coordinator)
            connection.post(request)
            self._announced = (connection, request, new)

    def append(
        self, places: Iterable[Place], keys: Iterable[bytes | None], values: Iterable[bytes | None]
    ) -> None:
        """Append one record to each place, in order; much is sent at once, the rest by `settle`."""
        self.written.append(places, keys, values)
        if self.written.unsent_bytes() >= _ENOUGH_TO_SEND:
            self._send()

    def settle(self, meanwhile: Callable[[], None] = nothing) -> None:
        """Send all that was appended, and wait until `written` knows where it stands.

        `meanwhile` is called once everything was sent: the brokers need some milliseconds.
        """
        self._send()
        meanwhile()
        deadline = time.monotonic() + ANSWER_SECONDS
        while self._in_flight:
            moved = self._answered()
            for place in moved:
                self._cluster.moved(place)
            if moved and time.monotonic() > deadline:
                raise RequestFailed(f"{sorted(moved)} after {ANSWER_SECONDS} s", NOT_LEADER)
            if moved:
                time.sleep(_LEADER_PAUSE)
                self._produce(moved)

    def _answered(self) -> Sealed:
        """Read the answers to all that is in flight; what its partitions' leaders did not take."""
        moved: dict[Place, tuple[RecordBatch, bytearray]] = {}
        failed = None
        for connection, sealed in self._in_flight:
            for place, (code, offset) in produced(connection.receive()).items():
                if code in MOVED and place not in moved:
                    moved[place] = sealed[place]
                elif code:
                    failed = failed or RequestFailed(f"{place[0]}/{place[1]}", code)
                else:
                    sealed[place][0].offset = offset
        self._in_flight.clear()
        if failed is not None:
            raise failed
        return moved

    def commit(self) -> None:
        """Settle and commit."""
        self.settle()
        self._end(committed=True)

    def abort(self) -> None:
        """Take back what was sent."""
        self.written.take_unsent()
        self.settle()
        self._end(committed=False)

    def close(self) -> None:
        """Hang up; an open transaction is ended by the next producer with this transactional id."""
        self._cluster.close()
        self._coordinator = None

    def _send(self) -> None:
        unsent = self.written.take_unsent()
        self._hear()
        self._add(unsent.keys() - self._added)
        while unsent:
            self._produce(
                {
                    place: (found[0], self._sequences.sealed(place, found[0]))
                    for place, found in unsent.items()
                }
            )
            unsent = {place: found[1:] for place, found in unsent.items() if len(found) > 1}

    def _produce(self, sealed: Sealed) -> None:
        """Send one batch to each of many partitions: a request for each broker that leads some of them."""
        by_leader: dict[Address, dict[Place, tuple[RecordBatch, bytearray]]] = {}
        for place, batch in sealed.items():
            by_leader.setdefault(self._cluster.leader(place), {})[place] = batch
        for leader, batches in by_leader.items():
            connection = self._cluster.connection("records", leader)
            connection.send(
                ProduceRequest_v7.API_KEY,
                ProduceRequest_v7.API_VERSION,
                *produce_request(
                    self._id,
                    round(ANSWER_SECONDS * 1_000),
                    {place: octets for place, (_, octets) in batches.items()},
                ),
            )
            self._in_flight.append((connection, batches))

    def _hear(self) -> None:
        """Read the answer to what was announced. What the coordinator was not ready for is added later."""
        if self._announced is None:
            return
        (connection, request, places), self._announced = self._announced, None
        code = _worst(request.RESPONSE_TYPE.decode(connection.receive()))
        if code:
            self._bear(code)
        else:
            self._added |= places

    def _add(self, places: set[Place]) -> None:
        if places:
            self._ask_coordinator(self._adding(places), _worst)
            self._added |= places

    def _adding(self, places: set[Place]) -> AddPartitionsToTxnRequest_v0:
        topics: dict[str, list[int]] = {}
        for topic, partition in sorted(places):
            topics.setdefault(topic, []).append(partition)
        return AddPartitionsToTxnRequest_v0(
            self._id, self._sequences.producer_id, self._sequences.epoch, list(topics.items())
        )

    def _end(self, *, committed: bool) -> None:
        if not self._added:
            return
        request = EndTxnRequest_v0(self._id, self._sequences.producer_id, self._sequences.epoch, committed)
        self._ask_coordinator(request, lambda answer: answer.error_code)
        self._added.clear()

    def _ask_coordinator(self, request: RequestStruct, code_of: Callable[[Any], int]) -> Any:
        """The coordinator's answer that is no error; asks again while it is not ready."""
        deadline = time.monotonic() + ANSWER_SECONDS
        pause = _RETRY_FIRST
        while True:
            if self._coordinator is None:
                asked: Any = self._cluster.any_connection().ask(
                    FindCoordinatorRequest_v1(self._id, _TRANSACTIONS)
                )
                code = asked.error_code
                self._coordinator = None if code else (asked.host, asked.port)
            else:
                asked = self._cluster.connection("coordinator", self._coordinator).ask(request)
                code = code_of(asked)
                if not code:
                    return asked
            if code:
                self._bear(code)
                if time.monotonic() > deadline:
                    raise RequestFailed(f"{self._id}: no coordinator after {ANSWER_SECONDS} s", code)
                time.sleep(pause)
                pause = min(2 * pause, _RETRY_MOST)

    def _bear(self, code: int) -> None:
        """Go on after an error with which a coordinator, or another one, is to be asked again."""
        if code in (COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR):
            self._coordinator = None
        elif code not in NOT_READY:
            raise RequestFailed(self._id, code)


def _worst(answer: Any) -> int:
    """The first error of a partition that says why; others were only not attempted because of it."""
    codes = {code for _, partitions in answer.errors for _, code in partitions if code}
    return next(iter(sorted(codes - {_NOT_ATTEMPTED})), _NOT_ATTEMPTED if codes else 0)
