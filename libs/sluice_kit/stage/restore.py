"""Restart is replay: load the last checkpoint, step the batches since, compare every outputs digest."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import structlog

from sluice_kit.artifacts import ArtifactError, Locator
from sluice_kit.kafka.partitioner import places_of
from sluice_kit.places import Coordinate, Place
from sluice_kit.quiet_collector import quiet_collector
from sluice_kit.stage.basis import BasisLog, BasisRecord, offsets_by_partition
from sluice_kit.stage.batching import arranged
from sluice_kit.stage.chain import MemberRun, positions_after, run_chain
from sluice_kit.stage.checkpoint import Checkpointer
from sluice_kit.stage.errors import ChainNotDrainedError, ReplayDivergenceError
from sluice_kit.stage.model import Batch, Output, Record, Stage
from sluice_kit.stage.range_reader import Positions
from sluice_kit.stage.spec import ChainSpec
from sluice_kit.stage.uncompared import Uncompared

log = structlog.get_logger(__name__)

YOUNG_EVERY = 500_000
"""Records between two collections: a replay leaves fewer cycles behind than a stage that meets failures."""


@dataclass(slots=True)
class MemberHistory:
    """One member's place in its own history."""

    stage: Stage
    shard: int
    basis: BasisLog
    checkpointer: Checkpointer
    batch_no: int = -1
    now: int = 0
    basis_next: int = 0
    positions: Positions = field(default_factory=dict)
    last: BasisRecord | None = None
    pending: list[tuple[int, BasisRecord]] = field(default_factory=list)
    events_since_checkpoint: int = 0

    def wrote(self, offset: int) -> None:
        """A basis record of this member stands at `offset`; the next one comes behind it."""
        self.basis_next = offset + 1


@dataclass(frozen=True, slots=True)
class RestoreReport:
    """What a start did: batches and events stepped again, and how long it took in seconds."""

    batches: int
    events: int
    taken: Sequence[Uncompared]
    """What was stepped by other code with other outputs, and accepted."""
    seconds: float

    @property
    def uncompared(self) -> int:
        """How many batches were accepted so."""
        return sum(item.batches for item in self.taken)


def load_history(member: MemberHistory) -> None:
    """Read the member's basis log, load its last checkpoint and note the batches that follow it."""
    found = member.basis.last()
    if found is None:
        return
    _, member.last = found
    for locator in member.basis.checkpoints():
        if load_checkpoint(member, locator):
            break
    member.pending = list(batches_after(member.basis.since(member.basis_next), member.batch_no))


def load_checkpoint(member: MemberHistory, locator: Locator) -> bool:
    """Load one checkpoint; False when it cannot be read, and the one before it is to be tried."""
    try:
        manifest = member.checkpointer.read(locator)
        member.checkpointer.restore(member.stage.state, manifest)
    except ArtifactError as error:
        log.warning("checkpoint.unusable", service=member.stage.name, error=str(error))
        return False
    member.checkpointer.adopt(locator, manifest)
    member.batch_no, member.now, member.basis_next = manifest.batch_no, manifest.now, manifest.basis_next
    member.positions = {(t, p): offset for t, p, offset in manifest.positions}
    return True


def batches_after(
    records: Sequence[tuple[int, BasisRecord]], batch_no: int
) -> Iterator[tuple[int, BasisRecord]]:
    """Leave out announcements, which repeat the number of the batch before them."""
    for offset, record in records:
        if record.batch_no > batch_no:
            batch_no = record.batch_no
            yield offset, record


def starts_of(pending: Sequence[tuple[int, BasisRecord]]) -> Positions:
    """Where reading a head's logged inputs again begins, by partition."""
    starts: Positions = {}
    for _, record in pending:
        for item in record.inputs:
            starts.setdefault((item.topic, item.partition), item.start)
    return starts


class LoggedPlaces:
    """Gives replayed facts the coordinates that the log says they were given."""

    def __init__(self, partitions: dict[str, int]) -> None:
        self._partitions = partitions
        self._offsets: list[dict[Place, Iterator[int]]] = []

    def batch(self, records: Sequence[BasisRecord]) -> None:
        """Go to the next batch: one basis record a member."""
        self._offsets = [offsets_by_partition(record.outputs) for record in records]

    def __call__(self, index: int, facts: Sequence[Output]) -> list[Coordinate]:
        """The `place` of a replay. A fact unknown to the log gets offset -1."""
        offsets = self._offsets[index]
        unknown: Iterator[int] = iter(())
        places = places_of([fact.topic for fact in facts], [fact.key for fact in facts], self._partitions)
        return [Coordinate(*place, next(offsets.get(place, unknown), -1)) for place in places]


def logged_batch(spec: ChainSpec, record: BasisRecord, inputs: Sequence[Record]) -> Batch:
    """The batch as it was stepped: same order, same `now`, same environment, same poison."""
    records = arranged(spec.head, inputs)
    poison: dict[int, str] = {}
    if record.poison:
        errors = {(topic, partition, offset): error for topic, partition, offset, error in record.poison}
        for index, item in enumerate(records):
            error = errors.get((item.topic, item.partition, item.offset))
            if error is not None:
                poison[index] = error
    return Batch(record.now, records, record.environment, poison)


def compare(run: MemberRun, record: BasisRecord, code_rev: str, *, accept_code_change: bool) -> bool:
    """Hold a stepped batch against its record; True when compared and equal, False when taken uncompared.

    Raises ReplayDivergenceError naming batch, inputs and what to do.
    """
    if run.digest() == record.outputs_digest:
        return True
    changed = record.code_rev != code_rev
    if changed and accept_code_change:
        return False
    ranges = ", ".join(f"{i.topic}/{i.partition}[{i.start},{i.end})" for i in record.inputs)
    hint = (
        f"it was made by code {record.code_rev}, this is {code_rev}: drain with the old code first, or start "
        "with --accept-code-change (audited)"
        if changed
        else "same code, other outputs: state or code is not deterministic, or history was altered"
    )
    raise ReplayDivergenceError(
        f"REPLAY_DIVERGENCE: {run.stage.name} batch {record.batch_no} over {ranges or 'no input'}: {hint}"
    )


def check_members_agree(members: Sequence[MemberHistory]) -> None:
    """A chain replays as one; members that come from another topology must have been drained."""
    lengths = {len(member.pending) for member in members}
    if len(lengths) > 1:
        detail = ", ".join(f"{m.stage.name}: {len(m.pending)}" for m in members)
        raise ChainNotDrainedError(
            f"the members of this chain have different batches since their checkpoints ({detail}); "
            "drain the old topology (SIGTERM, exit code 0) before this one starts"
        )


@dataclass(frozen=True, slots=True)
class Replayed:
    """One logged batch, stepped again: what was logged of it and what each member did, member by member."""

    records: Sequence[BasisRecord]
    batch: Batch
    runs: Sequence[MemberRun]


def step_pending(
    spec: ChainSpec,
    members: Sequence[MemberHistory],
    read_inputs: Callable[[BasisRecord], list[Record]],
    places: LoggedPlaces,
) -> Iterator[Replayed]:
    """Step every pending batch with outputs discarded; state and positions follow once the caller has looked.

    Raises ChainNotDrainedError when the members do not have the same batches pending.
    """
    check_members_agree(members)
    pending = [member.pending for member in members]
    for logged in zip(*pending, strict=True):
        records = [item for _, item in logged]
        places.batch(records)
        batch = logged_batch(spec, records[0], read_inputs(records[0]))
        runs = run_chain(spec.members, batch, records[0].inputs, places)
        yield Replayed(records, batch, runs)
        for run, member, (offset, item) in zip(runs, members, logged, strict=True):
            member.stage.state.apply(run.overlay, run.coordinates, item.batch_no)
            member.batch_no, member.now, member.basis_next = item.batch_no, item.now, offset + 1
            member.positions = positions_after(member.positions, item.inputs)
            member.events_since_checkpoint += item.events
    for member in members:
        member.pending = []


def replay_pending(
    spec: ChainSpec,
    members: Sequence[MemberHistory],
    read_inputs: Callable[[BasisRecord], list[Record]],
    places: LoggedPlaces,
    *,
    accept_code_change: bool,
) -> RestoreReport:
    """Bring state and positions up to the log's end, each batch held against its record."""
    started = time.monotonic()
    batches = events = 0
    taken: dict[tuple[str, str], Uncompared] = {}
    with quiet_collector(YOUNG_EVERY) as tidy:
        for replayed in step_pending(spec, members, read_inputs, places):
            for run, record in zip(replayed.runs, replayed.records, strict=True):
                if not compare(run, record, spec.code_rev, accept_code_change=accept_code_change):
                    _take_uncompared(taken, record)
            batches += 1
            events += replayed.records[0].events
            tidy(replayed.records[0].events)
    report = RestoreReport(batches, events, tuple(taken.values()), time.monotonic() - started)
    if report.uncompared:
        log.warning("replay.uncompared", batches=report.uncompared, code_rev=spec.code_rev)
    return report


def _take_uncompared(taken: dict[tuple[str, str], Uncompared], record: BasisRecord) -> None:
    where, number = (record.service, record.code_rev), record.batch_no
    known = taken.get(where)
    taken[where] = Uncompared(*where, 1, number, number) if known is None else known.extended(number)
