"""The history of a stage or chain, opened to be stepped again from a fresh state and held against the log."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer

from sluice_kit.artifacts import ArtifactStore, open_artifacts
from sluice_kit.config import Wiring
from sluice_kit.kafka import reader_config
from sluice_kit.replay.difference import Kind, OutputDifference, first_difference, identity_of, speaks_of
from sluice_kit.replay.logged_outputs import facts_of, trailing_of
from sluice_kit.replay.ranges import ReplayError
from sluice_kit.replay.reading import REQUEST_SECONDS, replay_consumer_config
from sluice_kit.stage.basis import BasisLog, BasisRecord
from sluice_kit.stage.chain import MemberRun
from sluice_kit.stage.checkpoint import Checkpointer
from sluice_kit.stage.model import Output, Record
from sluice_kit.stage.process import StageArguments, member_of
from sluice_kit.stage.range_reader import RangeReader
from sluice_kit.stage.restore import (
    LoggedPlaces,
    MemberHistory,
    Replayed,
    batches_after,
    load_checkpoint,
    starts_of,
    step_pending,
)
from sluice_kit.stage.spec import CHAIN_SIGN, ChainSpec, StageSettings
from sluice_kit.telemetry import Health


@dataclass(frozen=True, slots=True)
class BatchDifference:
    """The first batch that came out otherwise; `services` are the members whose digests differ.

    `output` None: what was written could not be read back far enough to say more.
    """

    record: BasisRecord
    services: Sequence[str]
    code_rev: str
    output: OutputDifference | None

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "batch_no": self.record.batch_no,
            "now": self.record.now,
            "inputs": [item._asdict() for item in self.record.inputs],
            "services": list(self.services),
            "code_rev": {"logged": self.record.code_rev, "replayed": self.code_rev},
            "output": None if self.output is None else self.output.to_json(),
        }


class History:
    """Where a verification reads, and the folder in which its stages keep their state."""

    def __init__(self, wiring: Wiring, shard: int, principal: str, scratch: Path) -> None:
        self._wiring = wiring.model_copy(update={"state_dir": scratch})
        self._shard = shard
        self._principal = principal
        self._store: ArtifactStore = open_artifacts(wiring)
        self._partitions: dict[str, int] = {}

    def open(self, service: str) -> tuple[ChainSpec, list[MemberHistory]]:
        """The chain that `service` was last run in, its state fresh, with its basis logs."""
        last = self.basis(service).last()
        if last is None:
            raise ReplayError("NO_HISTORY", f"basis.{service}/{self._shard} holds no batch yet")
        chain = last[1].chain
        names = [service] if chain is None else chain.split(CHAIN_SIGN)
        given = StageArguments(self._wiring, self._shard, 0, StageSettings(), serves=False)
        spec = ChainSpec([member_of(name)(given, self._store, Health(name)).stage for name in names])
        return spec, [
            MemberHistory(
                stage,
                self._shard,
                self.basis(stage.name),
                Checkpointer(
                    self._store,
                    self._wiring.state_dir / stage.name / str(self._shard),  # where the state keeps its files
                    service=stage.name,
                    shard=self._shard,
                    code_rev=spec.code_rev,
                ),
            )
            for stage in spec.members
        ]

    def step(
        self,
        spec: ChainSpec,
        members: Sequence[MemberHistory],
        before: Callable[[BasisRecord], None] = lambda _record: None,
    ) -> Iterator[Replayed]:
        """The batches, stepped again one by one; `before` is told the head's record of each."""
        starts = starts_of(members[0].pending)
        consumer = self.consumer("inputs")
        ranges = RangeReader(consumer, starts, with_headers=spec.with_headers) if starts else None

        def inputs(record: BasisRecord) -> list[Record]:
            before(record)
            return [] if ranges is None else ranges.read(record.inputs)

        try:
            yield from step_pending(spec, members, inputs, LoggedPlaces(partition_counts(consumer)))
        finally:
            consumer.close()

    def difference(self, spec: ChainSpec, replayed: Replayed) -> BatchDifference | None:
        """None when every member's digest is the logged one; else what differs first."""
        differing = [
            (run, record)
            for run, record in zip(replayed.runs, replayed.records, strict=True)
            if differs(run, record)
        ]
        if not differing:
            return None
        with self.reading_back() as consumer:
            found = [(run, self._output(consumer, run, record)) for run, record in differing]
        services = [run.stage.name for run, _ in found]
        return BatchDifference(replayed.records[0], services, spec.code_rev, _cause(replayed.runs, found))

    def altered_fact(self, consumer: Consumer, spec: ChainSpec, replayed: Replayed) -> BatchDifference | None:
        """The first fact of a batch that stands on the bus otherwise than it was stated; None when none does.

        `consumer` is one of `reading_back`. Facts that are gone are no answer.
        """
        for run, record in zip(replayed.runs, replayed.records, strict=True):
            found = first_difference(run.facts, facts_of(consumer, record)) if run.facts else None
            if found is not None and found.kind is Kind.CHANGED:
                return BatchDifference(replayed.records[0], [run.stage.name], spec.code_rev, found)
        return None

    @contextmanager
    def reading_back(self) -> Iterator[Consumer]:
        """A consumer for what batches have written."""
        consumer = Consumer(replay_consumer_config(self._wiring, self._principal))
        try:
            yield consumer
        finally:
            consumer.close()

    def _output(self, consumer: Consumer, run: MemberRun, record: BasisRecord) -> OutputDifference | None:
        """Facts first: what trails follows from them."""
        found = first_difference(run.facts, facts_of(consumer, record))
        if found is not None:
            return found
        trailing = run.resolved()
        wanted = [identity_of(out) for out in trailing]
        topics = {out.topic for out in trailing}
        return first_difference(trailing, trailing_of(consumer, record, topics, wanted))

    def basis(self, service: str) -> BasisLog:
        """The basis log of one member."""
        return BasisLog(self.consumer("basis", tells_ends=True), f"basis.{service}", self._shard)

    def consumer(self, purpose: str, *, tells_ends: bool = False) -> Consumer:
        """A consumer of committed records."""
        group = f"{self._principal}-verify-{purpose}"
        config = reader_config(self._wiring, self._principal, group=group)
        return Consumer(config | {"enable.partition.eof": tells_ends})


def partition_counts(consumer: Consumer) -> dict[str, int]:
    """Partitions of every topic."""
    topics = consumer.list_topics(timeout=REQUEST_SECONDS).topics
    return {name: len(topic.partitions) for name, topic in topics.items()}


def differs(run: MemberRun, record: BasisRecord) -> bool:
    """Whether a member's batch put out anything else than is logged."""
    return run.digest() != record.outputs_digest


def begin(spec: ChainSpec, members: Sequence[MemberHistory], *, from_checkpoint: bool) -> int | None:
    """Note the batches to step, of every member the same; the number of the first. Raises ReplayError."""
    for member in members:
        log = member.basis.since(0)
        own = list(takewhile(lambda item: item[1].chain == spec.name, reversed(log)))[::-1]
        if from_checkpoint:
            _load_older(member)
        elif len(own) < len(log):
            _load_boundary(member, own[0][1])
        member.pending = list(batches_after(own, member.batch_no))
        if member.pending and member.pending[0][1].batch_no != member.batch_no + 1:
            raise _other_topology(member, own[0][1])
    least = min(len(member.pending) for member in members)
    for member in members:  # a stage that runs on writes on while the logs are read
        member.pending = member.pending[:least]
    if len({tuple(record.now for _, record in member.pending) for member in members}) > 1:
        raise ReplayError(
            "CHECKPOINTS_APART",
            f"the checkpoints of {spec.name} do not stand at one batch; verify from the start",
        )
    return members[0].pending[0][1].batch_no if least else None


def _load_older(member: MemberHistory) -> None:
    """The older of the two checkpoints that are kept, so that there is something behind it."""
    for locator in reversed(member.basis.checkpoints()[:2]):
        if load_checkpoint(member, locator):
            return
    raise ReplayError("CHECKPOINT_GONE", f"{member.stage.name} has no checkpoint that can be read")


def _load_boundary(member: MemberHistory, first: BasisRecord) -> None:
    """The checkpoint at which another topology was drained and this one began."""
    if first.checkpoint is None or not load_checkpoint(member, first.checkpoint):
        raise _other_topology(member, first)


def _other_topology(member: MemberHistory, first: BasisRecord) -> ReplayError:
    return ReplayError(
        "TOPOLOGY_CHANGED",
        f"{member.stage.name}: batches up to {first.batch_no} were stepped by another topology, and the "
        "checkpoint at its end is gone; verify from the oldest that is kept since then: --from-checkpoint",
    )


def batch_speaks_of(replayed: Replayed, run_id: str) -> bool:
    """Whether anything that a batch took in or put out belongs to the run."""
    values = [record.value for record in replayed.batch.records]
    for member in replayed.runs:
        values += [out.value for out in member.facts]
        values += [out.value for out in member.trailing]
    return speaks_of(values, run_id)


def _cause(
    runs: Sequence[MemberRun], found: Sequence[tuple[MemberRun, OutputDifference | None]]
) -> OutputDifference | None:
    """The output that explains the others: the head's, unless a member gave it to the head."""
    lanes = runs[0].stage.inputs
    handed = {
        identity_of(Output("", None, out.value))[2]
        for run in runs[1:]
        for out in run.trailing
        if out.topic in lanes
    }
    named = [output for _, output in found if output is not None]
    own = [output for output in named if output.event_id not in handed]
    return next(iter(own or named), None)
