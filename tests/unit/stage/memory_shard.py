"""A runner without a broker: the real loop and reader over topics in memory, with a writer that can fail."""

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest

from sluice_contracts import TOPICS
from sluice_kit.artifacts import open_store
from sluice_kit.config import Wiring
from sluice_kit.kafka.fetch_client import Fetched
from sluice_kit.kafka.partitioner import Partitioner
from sluice_kit.kafka.transaction_client import nothing
from sluice_kit.places import Place
from sluice_kit.stage import ChainSpec, Coordinate, Output, StageSettings
from sluice_kit.stage import runner as running
from sluice_kit.stage.basis import BasisLog, BasisRecord
from sluice_kit.stage.checkpoint import Checkpointer
from sluice_kit.stage.observer import StageObserver
from sluice_kit.stage.opening import OpenShard
from sluice_kit.stage.restore import MemberHistory, RestoreReport
from sluice_kit.stage.runner import StageRunner
from sluice_kit.stage.source import InputReader
from sluice_kit.stage.transaction import TransactionalWriter
from sluice_kit.telemetry import Health, MetricFamilies
from sluice_kit.testing.waiting import until

PARTITIONS = {name: topic.partitions for name, topic in TOPICS.items()}


class Standing(NamedTuple):
    """A record in the log."""

    offset: int
    key: bytes | None
    value: bytes
    headers: Sequence[tuple[str, bytes | None]] = ()


class Topics:
    """Committed records by partition; `put` may be called while a runner reads."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self._logs: dict[Place, list[Standing]] = {}
        self._partitioner = Partitioner()

    def put(self, records: Sequence[Output], partition: int | None = None) -> None:
        with self.changed:
            for topic, key, value in records:
                number = partition
                if number is None:
                    number = self._partitioner.partition(key or b"", PARTITIONS[topic])
                log = self._logs.setdefault((topic, number), [])
                log.append(Standing(len(log), key, value))
            self.changed.notify_all()

    def log(self, place: Place) -> list[Standing]:
        with self.changed:
            return list(self._logs.get(place, ()))

    def values(self, topic: str) -> list[bytes]:
        """What stands in a topic, partition by partition."""
        with self.changed:
            return [
                one.value for (name, _), log in sorted(self._logs.items()) if name == topic for one in log
            ]

    def basis(self, service: str) -> list[BasisRecord]:
        """The batches of a stage, announcements left out."""
        records = map(BasisRecord.decode, self.values(f"basis.{service}"))
        return [record for record in records if "instance" not in record.environment]


class MemoryFetching:
    """What an `InputReader` reads with."""

    problem = None

    def __init__(self, topics: Topics, positions: Mapping[Place, int]) -> None:
        self._topics = topics
        self._at = dict(positions)

    @property
    def ends(self) -> Mapping[Place, int]:
        return {place: len(self._topics.log(place)) for place in self._at}

    def read(self, wait_seconds: float, only: Collection[str] | None = None) -> list[Fetched]:
        with self._topics.changed:
            found = self._new(only)
            if not found:
                self._topics.changed.wait(wait_seconds)
                found = self._new(only)
        return found

    def close(self) -> None:
        return

    def _new(self, only: Collection[str] | None) -> list[Fetched]:
        found = []
        for place, at in self._at.items():
            if only is not None and place[0] not in only:
                continue
            new = self._topics.log(place)[at:]
            if new:
                found.append(Fetched(place, new))
            self._at[place] = at + len(new)
        return found


@dataclass
class MemoryWriter:
    """A transaction into memory. `before_commit` may raise what a broker would make of the transaction."""

    topics: Topics
    before_commit: Callable[[Sequence[Output]], None]
    open: list[tuple[Output, int]] = field(default_factory=list)
    partitioner: Partitioner = field(default_factory=Partitioner)

    def begin(self) -> None:
        assert not self.open

    def place(self, facts: Sequence[Output]) -> list[Coordinate]:
        counts: dict[Place, int] = {}
        coordinates = []
        for fact in facts:
            partition = self.partitioner.partition(fact.key or b"", PARTITIONS[fact.topic])
            place = (fact.topic, partition)
            waiting = sum((one.topic, number) == place for one, number in self.open)
            offset = len(self.topics.log(place)) + waiting
            counts[place] = offset
            self.open.append((fact, partition))
            coordinates.append(Coordinate(*place, offset))
        return coordinates

    def write(self, outputs: Sequence[Output], followed: frozenset[str] = frozenset()) -> None:
        self.open += [
            (out, self.partitioner.partition(out.key or b"", PARTITIONS[out.topic])) for out in outputs
        ]

    def write_parts(
        self, parts: Sequence[tuple[Sequence[Output], frozenset[str]]], expected: Iterable[Place] = ()
    ) -> list[None]:
        for outputs, _ in parts:
            self.write(outputs)
        return [None for _ in parts]

    def write_to(self, topic: str, partition: int, value: bytes, delivered: Callable[[int], None]) -> None:
        self.open.append((Output(topic, None, value), partition))
        delivered(len(self.topics.log((topic, partition))))

    def commit(self, meanwhile: Callable[[], None] = nothing) -> None:
        self.before_commit([out for out, _ in self.open])
        meanwhile()
        written, self.open = self.open, []
        for out, partition in written:
            self.topics.put([out], partition)

    def abort(self) -> None:
        self.open = []

    def close(self) -> None:
        self.open = []


@dataclass
class MemoryBasis:
    """A basis log as a running shard reads it again."""

    topics: Topics
    place: Place

    def last(self) -> tuple[int, BasisRecord] | None:
        found = self.since(0)
        return found[-1] if found else None

    def since(self, offset: int) -> list[tuple[int, BasisRecord]]:
        return [(one.offset, BasisRecord.decode(one.value)) for one in self.topics.log(self.place)[offset:]]


class Shard:
    """A runner in a thread, over `topics`."""

    def __init__(self, runner: StageRunner, topics: Topics) -> None:
        self.runner, self.topics = runner, topics
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            self.runner.run()
        except BaseException as error:  # noqa: BLE001 - shown by whoever waits
            self.failure = error

    def wait_for(self, found: Callable[[], Any], what: str) -> Any:
        def or_failure() -> Any:
            if self.failure is not None:
                raise self.failure
            return found()

        return until(or_failure, what)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.runner.stop()
        self._thread.join(20)
        assert not self._thread.is_alive()


@contextmanager
def started(
    spec: ChainSpec,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    settings: StageSettings | None = None,
    topics: Topics | None = None,
    before_commit: Callable[[Sequence[Output]], None] = lambda _: None,
) -> Iterator[Shard]:
    """A chain that runs until the block ends. A failure of the runner is that of the block."""
    topics = topics or Topics()
    store = open_store(folder / "artifacts")
    writer = MemoryWriter(topics, before_commit)

    def open_shard(*_: object) -> OpenShard:
        members = [
            MemberHistory(
                stage,
                0,
                cast("BasisLog", MemoryBasis(topics, (f"basis.{stage.name}", 0))),
                Checkpointer(store, folder / stage.name, service=stage.name, shard=0, code_rev="r"),
            )
            for stage in spec.members
        ]
        starts = {(topic, number): 0 for topic in spec.head.inputs for number in range(PARTITIONS[topic])}
        fetching = MemoryFetching(topics, starts)
        reader = InputReader(fetching, starts, fetching.ends, with_headers=frozenset())
        members[0].positions = reader.positions
        open_writer = cast("TransactionalWriter", writer)
        return OpenShard(members, reader, PARTITIONS, open_writer, RestoreReport(0, 0, (), 0.0))

    monkeypatch.setattr(running, "open_shard", open_shard)
    monkeypatch.setattr(running, "open_writer", lambda *_: MemoryWriter(topics, before_commit))
    families = MetricFamilies()
    names = [stage.name for stage in spec.members]
    observer = StageObserver([families.service(name) for name in names], Health(names[0]))
    wiring = Wiring.model_construct(environment="test", region="test")
    shard = Shard(StageRunner(spec, wiring, store, observer, settings=settings), topics)
    shard.start()
    try:
        yield shard
    finally:
        shard.stop()
    if shard.failure is not None:
        raise shard.failure
