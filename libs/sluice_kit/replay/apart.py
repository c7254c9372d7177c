"""A chain verified in two processes: its head here, the members behind it in another.

The head's facts stand on the bus at the places that the log names, so the members need no head: they are fed
from the bus, as they would be in processes of their own. What they hand to the head, which no topic keeps,
comes over from their process. Each side holds its own digests against the log. That proves the whole: the
members' outputs follow from the facts that stand there, the head's facts from its inputs and these outputs.
"""

import multiprocessing
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty
from typing import TYPE_CHECKING, Final

import structlog

from sluice_kit.config import Wiring
from sluice_kit.replay.history import History, batch_speaks_of, begin, differs, partition_counts
from sluice_kit.replay.standing_in import Handed, HandedBack, LoggedHead, PlacesOfMembers
from sluice_kit.stage.basis import BasisRecord
from sluice_kit.stage.collector import quiet_collector
from sluice_kit.stage.model import Record, Stage
from sluice_kit.stage.restore import MemberHistory, Replayed, step_pending
from sluice_kit.stage.source import Positions, RangeReader
from sluice_kit.stage.spec import ChainSpec

if TYPE_CHECKING:
    from multiprocessing.queues import Queue

log = structlog.get_logger(__name__)

WORTH_EVENTS: Final = 20_000
"""Below, starting another process takes longer than it saves."""
MOST_AHEAD: Final = 16
"""Batches by which the members may be ahead of the head."""
SILENCE_SECONDS: Final = 120.0


@dataclass(frozen=True, slots=True)
class Asked:
    """Which history the members' process is to step."""

    wiring: Wiring
    service: str
    shard: int
    principal: str
    from_checkpoint: bool
    run: str | None


@dataclass(frozen=True, slots=True)
class MembersBatch:
    """What the members' process says of a batch."""

    batch_no: int
    handed: Sequence[Sequence[Handed]]
    differs: bool
    of_run: bool


@dataclass(frozen=True, slots=True)
class SteppedApart:
    """A batch that both processes have stepped."""

    events: int
    differs: bool
    of_run: bool


class NotApartError(Exception):
    """The history cannot be verified in two processes; in one it may be."""


def worth_it(members: Sequence[MemberHistory]) -> bool:
    """Whether there are several members, enough to do, a second core, and a log that tells the passes."""
    pending = [record for _, record in members[0].pending]
    return (
        len(members) > 1
        and (os.cpu_count() or 1) > 1
        and sum(record.events for record in pending) >= WORTH_EVENTS
        and all(record.runs_by_pass or not record.outputs for record in pending)
    )


def stepped_apart(
    history: History, spec: ChainSpec, members: Sequence[MemberHistory], asked: Asked
) -> Iterator[SteppedApart]:
    """Step the pending batches. Raises NotApartError, and StageError for inputs of the head."""
    context = multiprocessing.get_context("spawn")
    said: Queue[MembersBatch | str] = context.Queue(MOST_AHEAD)
    process = context.Process(target=_step_members, args=(asked, said), name="members", daemon=True)
    process.start()
    try:
        yield from _step_head(history, spec, members, said, asked.run)
    finally:
        process.kill()
        process.join()


def _step_head(
    history: History,
    spec: ChainSpec,
    members: Sequence[MemberHistory],
    said: "Queue[MembersBatch | str]",
    run: str | None,
) -> Iterator[SteppedApart]:
    others = HandedBack(spec.members[1:])
    alone = ChainSpec([spec.head, others])
    beside = MemberHistory(others, members[0].shard, members[0].basis, members[0].checkpointer)
    beside.pending = list(members[0].pending)
    told: MembersBatch | None = None

    def hear(record: BasisRecord) -> None:
        nonlocal told
        told = _next(said, record.batch_no)
        others.expect(told.handed)

    for replayed in history.step(alone, [members[0], beside], hear):
        assert told is not None, "heard before the batch was stepped"
        yield SteppedApart(
            replayed.records[0].events,
            told.differs or differs(replayed.runs[0], replayed.records[0]),
            run is None or told.of_run or batch_speaks_of(replayed, run),
        )


def _next(said: "Queue[MembersBatch | str]", batch_no: int) -> MembersBatch:
    try:
        told = said.get(timeout=SILENCE_SECONDS)
    except Empty as error:
        raise NotApartError(f"the members' process says nothing of batch {batch_no}") from error
    if isinstance(told, str):
        raise NotApartError(told)
    if told.batch_no != batch_no:
        raise NotApartError(
            f"the members' log goes on with batch {told.batch_no}, the head's with {batch_no}"
        )
    return told


def _step_members(asked: Asked, said: "Queue[MembersBatch | str]") -> None:
    """The members' process: says how each batch came out, and why there are no more."""
    try:
        with tempfile.TemporaryDirectory(prefix="sluice-verify-") as scratch:
            history = History(asked.wiring, asked.shard, asked.principal, Path(scratch))
            with quiet_collector() as tidy:
                for told, events in _members_batches(history, asked):
                    said.put(told)
                    tidy(events)
        said.put("the members' log ends before the head's")
    except Exception as error:  # noqa: BLE001 - whatever it is, the other process then goes on alone
        said.put(f"{type(error).__name__}: {error}")


def _members_batches(history: History, asked: Asked) -> Iterator[tuple[MembersBatch, int]]:
    spec, members = history.open(asked.service)
    begin(spec, members, from_checkpoint=asked.from_checkpoint)
    consumer = history.consumer("facts")
    stages = spec.members[1:]
    try:
        facts = RangeReader(consumer, _starts(members[0].pending, stages), with_headers=frozenset())
        head = LoggedHead(spec.head, stages, facts.read)
        places = PlacesOfMembers(head, partition_counts(consumer))

        def expect(record: BasisRecord) -> list[Record]:
            head.expect(record)
            return []

        members[0].stage = head
        for replayed in step_pending(ChainSpec([head, *stages]), members, expect, places):
            yield _told(replayed, head, asked.run), replayed.records[0].events
    finally:
        consumer.close()


def _told(replayed: Replayed, head: LoggedHead, run: str | None) -> MembersBatch:
    pairs = zip(replayed.runs[1:], replayed.records[1:], strict=True)
    differing = any(differs(member, record) for member, record in pairs)
    of_run = run is not None and batch_speaks_of(replayed, run)
    return MembersBatch(replayed.records[0].batch_no, head.handed, differing, of_run)


def _starts(pending: Sequence[tuple[int, BasisRecord]], stages: Sequence[Stage]) -> Positions:
    """The first fact that the members need, by partition."""
    wanted = {topic for stage in stages for topic in stage.inputs}
    starts: Positions = {}
    for _, record in pending:
        for topic, partition, start, _ in record.outputs:
            if topic in wanted:
                starts.setdefault((topic, partition), start)
    return starts
