"""Pipe records into a chain of stages, read what it writes, move the clock: no broker, the same step.

The driver is to a stage what Kafka Streams' TopologyTestDriver is to a topology. It keeps a log a topic
with real offsets, so what a runner would commit can be read back, and stepped again from its basis.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sluice_contracts import TOPICS, Decoded, decode
from sluice_kit.kafka.partitioner import Partitioner
from sluice_kit.places import Coordinate
from sluice_kit.stage.basis import BasisRecord, runs_of_passes
from sluice_kit.stage.batching import arranged
from sluice_kit.stage.chain import MemberRun, ranges_of, run_chain
from sluice_kit.stage.environment import looked_up
from sluice_kit.stage.model import ArtifactPut, Batch, Output, Record
from sluice_kit.stage.poison import PoisonLimits, PoisonWatch, logged_poison, trial_of
from sluice_kit.stage.spec import ChainSpec


@dataclass(frozen=True, slots=True)
class WrittenRecord:
    """A record in the driver's log."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes

    def decoded(self) -> Decoded:
        """Its event. Raises AssertionError for bytes that are none."""
        found = decode(self.value)
        assert isinstance(found, Decoded), found
        return found


@dataclass(slots=True)
class TopologyDriver:
    """One chain under test. `now` is microseconds UTC and moves only when the test says so."""

    spec: ChainSpec
    now: int = 1_700_000_000_000_000
    environment: Mapping[str, str] = field(default_factory=lambda: looked_up(lag_records=0))
    logs: dict[tuple[str, int], list[WrittenRecord]] = field(default_factory=dict)
    artifacts: list[ArtifactPut] = field(default_factory=list)
    basis: list[BasisRecord] = field(default_factory=list)
    batch_no: int = -1
    _partitioner: Partitioner = field(default_factory=Partitioner)
    _waiting: list[Record] = field(default_factory=list)

    def pipe(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None = None,
        *,
        partition: int | None = None,
        headers: Sequence[tuple[str, bytes | None]] = (),
    ) -> Record:
        """Append a record to an input topic; it is stepped with the next `step`."""
        if partition is None:
            partition = 0 if key is None else self._partitioner.partition(key, TOPICS[topic].partitions)
        log = self.logs.setdefault((topic, partition), [])
        record = Record(topic, partition, len(log), key, value, headers)
        log.append(WrittenRecord(topic, partition, len(log), key, value or b""))
        self._waiting.append(record)
        return record

    def step(self) -> list[MemberRun]:
        """Step everything piped since the last call as one batch, and commit it."""
        records, self._waiting = self._waiting, []
        return self.step_records(records)

    def step_records(
        self, records: Sequence[Record], poison: Mapping[int, str] | None = None
    ) -> list[MemberRun]:
        """Step given records as one batch, and commit it."""
        batch = Batch(self.now, arranged(self.spec.head, records), self.environment, poison or {})
        runs = run_chain(self.spec.members, batch, ranges_of(records), self._place)
        self.batch_no += 1
        for run in runs:
            self.artifacts.extend(run.artifacts)
            for out in run.resolved():
                self._append(out)
            run.stage.state.apply(run.overlay, run.coordinates, self.batch_no)
            self.basis.append(self._record(run, batch))
        return runs

    def step_sound(self) -> dict[int, str]:
        """As `step`, and as a runner does it: records on which a member raises are refused; returns those.

        Raises PoisonLimitError, and what a member raises on no record in particular.
        """
        records, self._waiting = self._waiting, []
        partitions = {name: topic.partitions for name, topic in TOPICS.items()}
        batch = Batch(self.now, arranged(self.spec.head, records), self.environment)
        poison = PoisonWatch(PoisonLimits()).isolate(trial_of(self.spec.members, partitions), batch)
        self.step_records(records, poison)
        return poison

    def advance(self, seconds: float) -> list[MemberRun]:
        """Move the clock and tick (an empty batch, as an idle runner does)."""
        self.now += int(seconds * 1_000_000)
        return self.step()

    def read(self, topic: str) -> list[WrittenRecord]:
        """Everything in a topic, partition by partition."""
        return [record for (name, _), log in sorted(self.logs.items()) if name == topic for record in log]

    def events(self, topic: str) -> list[dict[str, object]]:
        """The decoded fields of everything in a topic."""
        return [record.decoded().fields for record in self.read(topic)]

    def _place(self, _index: int, facts: Sequence[Output]) -> list[Coordinate]:
        return [self._append(fact) for fact in facts]

    def _append(self, out: Output) -> Coordinate:
        partitions = TOPICS[out.topic].partitions
        partition = self._partitioner.partition(out.key or b"", partitions)
        log = self.logs.setdefault((out.topic, partition), [])
        where = Coordinate(out.topic, partition, len(log))
        log.append(WrittenRecord(*where, out.key, out.value))
        return where

    def _record(self, run: MemberRun, batch: Batch) -> BasisRecord:
        outputs, runs_by_pass = runs_of_passes(run.coordinates, run.facts_by_pass)
        return BasisRecord(
            service=run.stage.name,
            shard=0,
            batch_no=self.batch_no,
            inputs=run.inputs,
            now=batch.now,
            code_rev=self.spec.code_rev,
            transactional_id=f"{self.spec.head.name}-0",
            outputs_digest=run.digest(),
            outputs=outputs,
            runs_by_pass=runs_by_pass,
            environment=batch.environment,
            poison=logged_poison(batch) if run.stage is self.spec.head else (),
            events=run.events,
            chain=self.spec.name,
        )
