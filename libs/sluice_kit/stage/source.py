"""Reading a stage's input partitions at explicit offsets; a lost offset is an incident, never a reset."""

import threading
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Final, Protocol

import structlog

from sluice_kit.kafka.cluster import RequestFailed
from sluice_kit.kafka.committed_records import BrokenBatch
from sluice_kit.kafka.fetch_client import Fetched, OffsetGone
from sluice_kit.kafka.wire import AccessRefused
from sluice_kit.places import Place
from sluice_kit.stage.batching import with_prepared
from sluice_kit.stage.errors import ReplayInputGoneError, StageError
from sluice_kit.stage.input_basis import positions_behind
from sluice_kit.stage.model import InputRange, Prepare, Record
from sluice_kit.stage.range_reader import Positions
from sluice_kit.stage.read_records import ReadRecords

log = structlog.get_logger(__name__)

ENDS_SECONDS: Final = 1.0
FEW: Final = 500
"""Fewer records than this that come at a time are prepared later, together: for many at once, each one costs
a third of what it costs in a handful. As many as this are a backlog, which is read ahead."""
FEWEST_TOGETHER: Final = 50
"""Fewer that wait are prepared when they are taken: more will have come by then."""
_WAIT_SECONDS: Final = 0.1
_TOGETHER_SECONDS: Final = 0.02
"""Of a steady flow at least so much is read at a time; a record waits for half of it on average."""


class Fetching(Protocol):
    """What an `InputReader` reads with: a `FetchClient`."""

    @property
    def ends(self) -> Mapping[Place, int]:
        """Where each partition ended when it was last heard of."""
        ...

    @property
    def problem(self) -> str | None:
        """Why nothing can be read at the moment."""
        ...

    def read(self, wait_seconds: float, only: Collection[str] | None = None) -> list[Fetched]:
        """What is there, `only` of these topics; waits for the first of it at most `wait_seconds`."""
        ...

    def close(self) -> None:
        """Hang up."""
        ...


class InputReader:
    """The input partitions of one shard; hands out records with the offset range that they stand for."""

    def __init__(
        self,
        fetching: Fetching,
        positions: Mapping[Place, int],
        ends: Mapping[Place, int],
        *,
        with_headers: frozenset[str],
    ) -> None:
        self._fetching = fetching
        self._with_headers = with_headers
        self.positions = dict(positions)
        self._ends = dict(ends)
        self.topics = frozenset(topic for topic, _ in positions)
        self._behind: Positions = {}
        self._problem: str | None = None
        self._note_lag()

    def read(self, wait_seconds: float, only: Collection[str] | None = None) -> list[Record]:
        """What is there, `only` of these topics; waits for the first of it at most `wait_seconds`.

        Raises ReplayInputGoneError, and StageError where the broker refuses.
        """
        try:
            fetched = self._fetching.read(wait_seconds, only)
        except OffsetGone as error:
            raise ReplayInputGoneError(f"REPLAY_INPUT_GONE: {error}") from error
        except (AccessRefused, BrokenBatch, RequestFailed) as error:
            raise StageError(f"reading: {error}") from error
        self._tell(self._fetching.problem)
        make = tuple.__new__  # without the function that a named tuple puts in front: there are millions
        found: list[Record] = []
        for (topic, partition), records in fetched:
            wanted = topic in self._with_headers
            found += [
                make(
                    Record,
                    (topic, partition, one.offset, one.key, one.value, one.headers if wanted else (), None),
                )
                for one in records
            ]
        return found

    def close(self) -> None:
        """Hang up; nothing reads any more."""
        self._fetching.close()

    def ranges(self, records: Sequence[Record]) -> list[InputRange]:
        """Offset ranges from the current positions to behind `records`."""
        ends = positions_behind(records)
        return [InputRange(*where, self.positions[where], ends[where]) for where in sorted(ends)]

    def advance(self, ranges: Sequence[InputRange]) -> None:
        """The batch is committed: the positions go behind it."""
        for item in ranges:
            self.positions[item.topic, item.partition] = item.end

    def note_ends(self) -> None:
        """Look how far the positions are behind; only for the thread that reads."""
        self._ends |= self._fetching.ends
        self._note_lag()

    def lag(self) -> Positions:
        """Offsets between each partition's position and its end, as of the last look; from any thread."""
        return self._behind

    def _note_lag(self) -> None:
        self._behind = {where: max(0, end - self.positions[where]) for where, end in self._ends.items()}

    def _tell(self, problem: str | None) -> None:
        if problem is not None and problem != self._problem:
            log.warning("input.waiting", error=problem)
        self._problem = problem


class ReadAhead:
    """Reads records in a thread of its own while the batch before is stepped and committed.

    What waits is bounded by `limit` records, and as many that have time: a slow stage stops the reading, not
    the memory, and where one kind is full, the other is read. A backlog is read without a pause, and prepared
    in that thread. Of a steady flow the records of some time are read together, for each question costs
    broker and stage as much as many records; the stage's thread prepares them, while it waits for the broker
    or when they are taken. A stage that has nothing to do is given what comes `linger_seconds` after what it
    was given last: without any, at once.
    """

    def __init__(
        self,
        reader: InputReader,
        prepare: Prepare | None,
        limit: int,
        unhurried: frozenset[str] = frozenset(),
        linger_seconds: float = 0.0,
    ) -> None:
        self._reader = reader
        self._prepare = prepare
        self._limit = limit
        self._waiting = ReadRecords(unhurried)
        self._changed = threading.Condition()
        self._wanted = False
        """Whether the stage has nothing to do until something is read."""
        self._linger_seconds = linger_seconds
        self._due = self._soonest = 0.0
        """When to read next in any case, and where the stage has nothing to do."""
        self._asked_for_part = False
        """Whether a part of the topics was read lately, and nothing was taken since."""
        self._failure: Exception | None = None
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="read-ahead", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many records were read and not taken."""
        return len(self._waiting)

    def take(self, most: int, wait_seconds: float) -> list[Record]:
        """Up to `most` records; waits at most `wait_seconds` for the first. Raises what reading raised."""
        with self._changed:
            if not self._has_something():
                self._wanted = True
                self._changed.notify_all()
                self._changed.wait_for(self._has_something, wait_seconds)
                self._wanted = False
            if not self._waiting and self._failure is not None:
                raise self._failure
            taken = self._waiting.take(most)
            self._asked_for_part = False
            self._changed.notify_all()
        return taken if self._prepare is None else _with_all_prepared(self._prepare, taken)

    def prepare_waiting(self) -> None:
        """Prepare what waits and is likely to be taken next; for the thread that takes."""
        if self._prepare is None:
            return
        with self._changed:
            if len(self._waiting) < FEWEST_TOGETHER:
                return
            taken = self._waiting.take(FEW)
        self.give_back(_with_all_prepared(self._prepare, taken))

    def give_back(self, records: Sequence[Record]) -> None:
        """Records that were taken last, and are to be the next ones again."""
        with self._changed:
            self._waiting.give_back(records)

    def stop(self) -> None:
        """End the thread; what was read ahead is dropped and read again at the next start."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._thread.join(5)

    def _run(self) -> None:
        try:
            noted = time.monotonic()
            while topics := self._awaited():
                records = self._reader.read(_WAIT_SECONDS, None if topics == self._reader.topics else topics)
                if records:
                    self._keep(records)
                if time.monotonic() - noted > ENDS_SECONDS:
                    self._reader.note_ends()
                    noted = time.monotonic()
        except Exception as error:  # noqa: BLE001 - handed to the stage's thread by take()
            with self._changed:
                self._failure = error
                self._changed.notify_all()

    def _awaited(self) -> frozenset[str]:
        """Wait until it is time to read, and what; nothing: it never will be."""
        every = self._reader.topics
        with self._changed:
            while not self._stopped:
                topics = self._waiting.with_room(every, self._limit)
                left = (self._soonest if self._wanted else self._due) - time.monotonic()
                if not topics or self._asked_for_part:
                    self._changed.wait()
                elif left > 0:
                    self._changed.wait(left)
                else:
                    self._asked_for_part = topics != every
                    return topics
            return frozenset()

    def _keep(self, records: list[Record]) -> None:
        many = len(records) >= FEW
        if self._prepare is not None and many:
            records = with_prepared(self._prepare, records)
        with self._changed:
            self._waiting.add(records)
            now = time.monotonic()
            self._soonest = now + (0.0 if many else self._linger_seconds)
            self._due = now + (0.0 if many else max(_TOGETHER_SECONDS, self._linger_seconds))
            self._changed.notify_all()

    def _has_something(self) -> bool:
        return len(self._waiting) > 0 or self._failure is not None


def _with_all_prepared(prepare: Prepare, records: Sequence[Record]) -> list[Record]:
    """The records with those prepared, together, that are not yet."""
    raw = [record for record in records if record[-1] is None]
    if not raw:
        return list(records)
    done = iter(with_prepared(prepare, raw))
    return [next(done) if record[-1] is None else record for record in records]
