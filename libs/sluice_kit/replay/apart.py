"""A chain verified in several processes: its head here, the members behind it in groups of neighbours.

Facts stand on the bus at the places that the log names, so a group needs nobody before it: it is fed from the
bus, as it would be in a process of its own. What members hand to the head, which no topic keeps, comes over
from their processes. Each process holds its own digests against the log. That proves the whole: the members'
outputs follow from the facts that stand there, the head's facts from its inputs and these outputs. Where only
what is behind the head is asked for, the first half of that is the answer.
"""

import multiprocessing
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path
from queue import Empty
from typing import TYPE_CHECKING, Final

import structlog

from sluice_kit.config import Wiring
from sluice_kit.quiet_collector import quiet_collector
from sluice_kit.replay.history import History, batch_speaks_of, begin, differs, partition_counts
from sluice_kit.replay.standing_in import (
    Handed,
    HandedBack,
    LoggedUpstream,
    NotApartError,
    PassKeeper,
    PlacesOfMembers,
    ReadFacts,
    topics_of,
)
from sluice_kit.stage.basis import BasisRecord
from sluice_kit.stage.model import Record, Stage
from sluice_kit.stage.range_reader import Positions, RangeReader
from sluice_kit.stage.restore import MemberHistory, Replayed, step_pending
from sluice_kit.stage.spec import ChainSpec

if TYPE_CHECKING:
    from multiprocessing.queues import Queue

log = structlog.get_logger(__name__)

WORTH_EVENTS: Final = 20_000
"""Below, starting another process takes longer than it saves."""
MOST_AHEAD: Final = 16
"""Batches by which a group may be ahead of the head."""
SILENCE_SECONDS: Final = 120.0


@dataclass(frozen=True, slots=True)
class Asked:
    """Which history is to be stepped."""

    wiring: Wiring
    service: str
    shard: int
    principal: str
    from_checkpoint: bool
    run: str | None
    behind_head: bool = False


@dataclass(frozen=True, slots=True)
class GroupsBatch:
    """What the process of a group says of a batch; `handed` only where the head is stepped as well."""

    batch_no: int
    handed: Sequence[Sequence[Handed]]
    differs: bool
    of_run: bool


@dataclass(frozen=True, slots=True)
class SteppedGroup:
    """A batch that a group has stepped, and what it handed the head in each pass."""

    replayed: Replayed
    handed: Sequence[Sequence[Handed]]
    differs: bool


@dataclass(frozen=True, slots=True)
class SteppedApart:
    """A batch that all processes have stepped."""

    batch_no: int
    events: int
    differs: bool
    of_run: bool


def worth_it(members: Sequence[MemberHistory]) -> bool:
    """Whether there are several members, enough to do, a second core, and a log that tells the passes."""
    pending = [record for _, record in members[0].pending]
    return (
        len(members) > 1
        and (os.cpu_count() or 1) > 1
        and sum(record.events for record in pending) >= WORTH_EVENTS
        and all(record.runs_by_pass or not record.outputs for record in pending)
    )


def groups_of(chained: int) -> list[range]:
    """Which members of a chain of so many (the head is 0) share a process: neighbours, as many in each."""
    half = (chained + 1) // 2
    return [group for group in (range(1, half), range(half, chained)) if group]


def stepped_apart(
    history: History, spec: ChainSpec, members: Sequence[MemberHistory], asked: Asked
) -> Iterator[SteppedApart]:
    """Step the pending batches. Raises NotApartError, and StageError for inputs of the head."""
    context = multiprocessing.get_context("spawn")
    said: list[Queue[GroupsBatch | str]] = []
    processes = []
    try:
        for group in groups_of(len(members)):
            said.append(context.Queue(MOST_AHEAD))
            names = "+".join(stage.name for stage in spec.members[group.start : group.stop])
            process = context.Process(
                target=_step_group, args=(asked, group, said[-1]), name=names, daemon=True
            )
            process.start()
            processes.append(process)
        if asked.behind_head:
            yield from _hear_members(members[0], said, asked.run)
        else:
            yield from _step_head(history, spec, members, said, asked.run)
    finally:
        for process in processes:
            process.kill()
            process.join()


def _step_head(
    history: History,
    spec: ChainSpec,
    members: Sequence[MemberHistory],
    said: "Sequence[Queue[GroupsBatch | str]]",
    run: str | None,
) -> Iterator[SteppedApart]:
    others = HandedBack(spec.members[1:])
    told: Sequence[GroupsBatch] = ()

    def hear(record: BasisRecord) -> None:
        nonlocal told
        told = [_next(group, record.batch_no) for group in said]
        others.expect(by_pass([group.handed for group in told]))

    beside = standing_in(others, members[0])
    for replayed in history.step(ChainSpec([spec.head, others]), [members[0], beside], hear):
        record = replayed.records[0]
        differing = differs(replayed.runs[0], record)
        of_run = run is not None and batch_speaks_of(replayed, run)
        yield _together(record, [*told, GroupsBatch(record.batch_no, (), differing, of_run)], run)


def _hear_members(
    head: MemberHistory, said: "Sequence[Queue[GroupsBatch | str]]", run: str | None
) -> Iterator[SteppedApart]:
    for _, record in head.pending:
        yield _together(record, [_next(group, record.batch_no) for group in said], run)


def _together(record: BasisRecord, told: Sequence[GroupsBatch], run: str | None) -> SteppedApart:
    """One process that found something is enough."""
    of_run = run is None or any(one.of_run for one in told)
    return SteppedApart(record.batch_no, record.events, any(one.differs for one in told), of_run)


def by_pass(groups: Sequence[Sequence[Sequence[Handed]]]) -> list[list[Handed]]:
    """What several groups handed over, as the chain would have: in each pass by the order of the members."""
    return [list(chain.from_iterable(parts)) for parts in zip_longest(*groups, fillvalue=())]


def _next(said: "Queue[GroupsBatch | str]", batch_no: int) -> GroupsBatch:
    try:
        told = said.get(timeout=SILENCE_SECONDS)
    except Empty as error:
        raise NotApartError(f"a process of members says nothing of batch {batch_no}") from error
    if isinstance(told, str):
        raise NotApartError(told)
    if told.batch_no != batch_no:
        raise NotApartError(f"a member's log goes on with batch {told.batch_no}, the head's with {batch_no}")
    return told


def _step_group(asked: Asked, group: range, said: "Queue[GroupsBatch | str]") -> None:
    """A group's process: says how each batch came out, and why there are no more."""
    try:
        with tempfile.TemporaryDirectory(prefix="sluice-verify-") as scratch:
            history = History(asked.wiring, asked.shard, asked.principal, Path(scratch))
            with quiet_collector() as tidy:
                for told, events in _batches_of_group(history, asked, group):
                    said.put(told)
                    tidy(events)
        said.put("the members' logs end before the head's")
    except Exception as error:  # noqa: BLE001 - whatever it is, the head's process then goes on alone
        said.put(f"{type(error).__name__}: {error}")


def _batches_of_group(history: History, asked: Asked, group: range) -> Iterator[tuple[GroupsBatch, int]]:
    spec, members = history.open(asked.service)
    begin(spec, members, from_checkpoint=asked.from_checkpoint)
    consumer = history.consumer("facts")
    try:
        wanted = topics_of(spec.members[group.start : group.stop])
        facts = RangeReader(consumer, _starts(members[: group.start], wanted), with_headers=frozenset())
        for stepped in step_group(members, group, facts.read, partition_counts(consumer)):
            run = asked.run
            of_run = run is not None and batch_speaks_of(stepped.replayed, run)
            records = stepped.replayed.records
            handed = () if asked.behind_head else stepped.handed
            yield GroupsBatch(records[0].batch_no, handed, stepped.differs, of_run), records[0].events
    finally:
        consumer.close()


def step_group(
    members: Sequence[MemberHistory], group: range, read: ReadFacts, partitions: dict[str, int]
) -> Iterator[SteppedGroup]:
    """Step the pending batches of some `members` of a chain; `read` gives facts of those before them.

    Raises NotApartError, ReplayInputGoneError.
    """
    head, before, own = members[0], members[1 : group.start], members[group.start : group.stop]
    stages = [member.stage for member in own]
    upstream = LoggedUpstream(head.stage, [member.stage for member in before], stages, read)
    keeper = PassKeeper(head.stage)
    logged = zip(*[list(member.pending) for member in before], strict=True)

    def expect(record: BasisRecord) -> list[Record]:
        upstream.expect(record, [item for _, item in next(logged, ())])
        return []

    stepped = [standing_in(upstream, head), *own, standing_in(keeper, head)]
    places = PlacesOfMembers(upstream, partitions)
    for replayed in step_pending(ChainSpec([upstream, *stages, keeper]), stepped, expect, places):
        pairs = zip(replayed.runs[1:-1], replayed.records[1:-1], strict=True)
        differing = any(differs(member, record) for member, record in pairs)
        yield SteppedGroup(replayed, upstream.handed, differing)


def standing_in(stage: Stage, head: MemberHistory) -> MemberHistory:
    """The history of what stands in for others: the head's batches, and nothing else."""
    return MemberHistory(stage, head.shard, head.basis, head.checkpointer, pending=list(head.pending))


def _starts(before: Sequence[MemberHistory], wanted: set[str]) -> Positions:
    """The first fact that a group needs of the members before it, by partition."""
    starts: Positions = {}
    for member in before:
        for _, record in member.pending:
            for topic, partition, start, _ in record.outputs:
                if topic in wanted:
                    starts.setdefault((topic, partition), start)
    return starts
