"""Reads committed records of many partitions when it is asked to, with one question to each broker.

librdkafka reads ahead: it asks again and again, for all partitions by name each time, and what arrives just
after an answer waits for the next. This asks when somebody wants records, and names only what has changed
since the last question (a fetch session, KIP-227). Coding of requests and records is aiokafka's.
"""

import select
import time
from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

from aiokafka.protocol.fetch import FetchRequest_v7
from aiokafka.record.default_records import DefaultRecord

from sluice_kit.kafka.clients import ClientConfig
from sluice_kit.kafka.cluster import ANSWER_SECONDS, MOVED, Address, Cluster, RequestFailed
from sluice_kit.kafka.committed_records import committed_records
from sluice_kit.kafka.wire import ConnectionLost
from sluice_kit.places import Place

_CONSUMER: Final = -1
_COMMITTED: Final = 1
_NEW: Final = 0
"""A session's id and epoch before the broker has given it one."""
_OPEN_MS: Final = 500
"""How long a broker keeps a question open when there is nothing new."""
_MOST_BYTES: Final = 1_000_000
"""Of an answer, so that the first records of a backlog are not kept waiting; one batch may have more."""
_PAUSE_SECONDS: Final = 0.1
"""After a failure."""
_PURPOSE: Final = "fetch"
_ANSWER: Final = FetchRequest_v7.RESPONSE_TYPE
_OFFSET_OUT_OF_RANGE: Final = 1
_SESSION_GONE: Final = frozenset({70, 71})
"""FETCH_SESSION_ID_NOT_FOUND, INVALID_FETCH_SESSION_EPOCH."""
_OTHER_LEADER: Final = MOVED | {-1, 56, 74, 75, 78}
"""And an error without a name, lost storage, leaders' epochs that do not fit, offsets that a new leader does
not know yet."""


class OffsetGone(Exception):
    """The broker does not have the offset from which a partition is to be read."""


class Fetched(NamedTuple):
    """Records of one partition."""

    place: Place
    records: list[DefaultRecord]


class _Session:
    """What one broker knows of the questions that are put to it."""

    def __init__(self) -> None:
        self.asked: float | None = None
        """When the question was put to which there is no answer yet."""
        self.forget()

    def forget(self) -> None:
        """The next question begins a session."""
        self._id = self._epoch = _NEW
        self._told: dict[Place, int] = {}

    def question(self, positions: Mapping[Place, int], open_ms: int) -> FetchRequest_v7:
        """What asks for everything behind `positions`, and waits so long for the first of it."""
        changed, left = {}, {}
        for place, position in positions.items():
            if self._told.get(place) != position:
                changed[place] = (place[1], position, -1, _MOST_BYTES)
        for place in self._told.keys() - positions.keys():
            left[place] = place[1]
        self._told = dict(positions)
        limits = (open_ms, 1, _MOST_BYTES)
        named = (_by_topic(changed), _by_topic(left))
        return FetchRequest_v7(_CONSUMER, *limits, _COMMITTED, self._id, self._epoch, *named)

    def answered(self, session_id: int) -> None:
        """The broker took the question; it need not have kept it."""
        self._id = session_id
        if session_id == _NEW:
            self.forget()
        else:
            self._epoch = self._epoch % (2**31 - 1) + 1


class FetchClient:
    """Reads from explicit offsets. Methods raise OffsetGone, BrokenBatch, AccessRefused or RequestFailed.

    A broker that is away, or does not lead a partition any more, is no failure: it is asked again.
    """

    def __init__(self, config: ClientConfig, positions: Mapping[Place, int]) -> None:
        self._cluster = Cluster(config)
        self._positions = dict(positions)
        self._sessions: dict[Address, _Session] = {}
        self._lost: str | None = None
        """Why no broker can be asked."""
        self._leaderless: dict[Place, str] = {}
        """Why partitions are not asked for."""
        self._resumes = self._looks_again = 0.0
        self.ends: dict[Place, int] = {}
        """Where each partition ended when it was last heard of."""

    @property
    def problem(self) -> str | None:
        """Why something cannot be read at the moment."""
        return self._lost or next(iter(self._leaderless.values()), None)

    def read(self, wait_seconds: float, only: Collection[str] | None = None) -> list[Fetched]:
        """What is there; waits for the first of it at most `wait_seconds`.

        `only` of these topics, and without a broker's waiting for them, so that the others can be asked for
        soon. What was asked for before comes as well.
        """
        found: list[Fetched] = []
        if (pause := self._resumes - time.monotonic()) > 0:
            time.sleep(min(pause, wait_seconds))
            return found
        try:
            self._ask(only)
            for address in self._answering(wait_seconds):
                self._take(address, found)
        except ConnectionLost as error:
            self._cluster.close()
            self._sessions.clear()
            self._lost, self._resumes = str(error), time.monotonic() + _PAUSE_SECONDS
        return found

    def close(self) -> None:
        """Hang up."""
        self._cluster.close()

    def _ask(self, only: Collection[str] | None) -> None:
        """Put a question to each broker that has none."""
        led: dict[Address, dict[Place, int]] = {}
        for place, position in self._positions.items():
            if only is not None and place[0] not in only:
                continue
            address = self._leader(place)
            if address is not None:
                led.setdefault(address, {})[place] = position
        for address, positions in led.items():
            session = self._sessions.setdefault(address, _Session())
            if session.asked is None:
                question = session.question(positions, _OPEN_MS if only is None else 0)
                connection = self._cluster.connection(_PURPOSE, address)
                connection.post(question)
                session.asked = time.monotonic()

    def _leader(self, place: Place) -> Address | None:
        """The broker that leads a partition; None: nobody does, and it is not yet time to ask again."""
        if not self._cluster.knows(place) and time.monotonic() < self._looks_again:
            return None
        try:
            address = self._cluster.leader(place)
        except RequestFailed as error:
            if not error.retriable:
                raise
            self._leads_not(place, str(error))
            return None
        if self._leaderless:
            self._leaderless.pop(place, None)
        return address

    def _leads_not(self, place: Place, why: str) -> None:
        """Look for the leader of a partition in a moment; the others are read meanwhile."""
        self._cluster.moved(place)
        self._leaderless[place] = why
        self._looks_again = time.monotonic() + _PAUSE_SECONDS

    def _answering(self, wait_seconds: float) -> list[Address]:
        """The brokers whose answer has come. Raises ConnectionLost when one does not answer at all."""
        asked = {at: session.asked for at, session in self._sessions.items() if session.asked is not None}
        open_at = {self._cluster.connection(_PURPOSE, at).fileno(): at for at in asked}
        poll = select.poll()
        for descriptor in open_at:
            poll.register(descriptor, select.POLLIN)
        answering = [open_at[descriptor] for descriptor, _ in poll.poll(wait_seconds * 1_000)]
        since = time.monotonic() - ANSWER_SECONDS
        for address in asked.keys() - answering:
            if asked[address] < since:
                raise ConnectionLost(f"{address[0]}:{address[1]}: no answer within {ANSWER_SECONDS} s")
        return answering

    def _take(self, address: Address, found: list[Fetched]) -> None:
        """Add what a broker answers to `found`, and go on behind it."""
        session = self._sessions[address]
        answer: Any = _ANSWER.decode(self._cluster.connection(_PURPOSE, address).receive())
        session.asked = None
        if answer.error_code in _SESSION_GONE:
            session.forget()
            return
        if answer.error_code:
            raise ConnectionLost(str(RequestFailed(f"{address[0]}:{address[1]}", answer.error_code)))
        session.answered(answer.session_id)
        self._lost = None
        for topic, partitions in answer.topics:
            for partition, code, end, _, _, aborted, content in partitions:
                place = (topic, partition)
                if code:
                    self._refused(place, code)
                    continue
                self.ends[place] = end
                records, following = committed_records(content or b"", aborted or (), self._positions[place])
                self._positions[place] = following
                if records:
                    found.append(Fetched(place, records))

    def _refused(self, place: Place, code: int) -> None:
        """A partition cannot be read: in a moment from another broker, or not at all, which raises."""
        if code == _OFFSET_OUT_OF_RANGE:
            raise OffsetGone(f"{place[0]}/{place[1]} has no offset {self._positions[place]}")
        refused = RequestFailed(f"{place[0]}/{place[1]}", code)
        if code not in _OTHER_LEADER and not refused.retriable:
            raise refused
        self._leads_not(place, str(refused))


def _by_topic(partitions: Mapping[Place, Any]) -> list[tuple[str, list[Any]]]:
    found: dict[str, list[Any]] = {}
    for (topic, _), told in partitions.items():
        found.setdefault(topic, []).append(told)
    return list(found.items())
