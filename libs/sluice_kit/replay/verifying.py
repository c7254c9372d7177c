"""The replay proof: logged batches stepped again from a fresh state, every digest held against the log.

It is the code of a restart (`sluice_kit.stage.restore`), for a stage or a whole chain.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import structlog

from sluice_kit.config import Wiring
from sluice_kit.quiet_collector import quiet_collector
from sluice_kit.replay.apart import Asked, stepped_apart, worth_it
from sluice_kit.replay.history import BatchDifference, History, batch_speaks_of, begin
from sluice_kit.replay.ranges import ReplayError
from sluice_kit.replay.reading import PRINCIPAL
from sluice_kit.replay.standing_in import NotApartError
from sluice_kit.stage.restore import MemberHistory
from sluice_kit.stage.spec import CHAIN_SIGN, ChainSpec

log = structlog.get_logger(__name__)

Progress = Callable[[int], None]
"""Told how many batches are done."""


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What was verified: `batches` and `events` are those of `run` where one was asked for."""

    members: Sequence[str]
    run: str | None
    first_batch_no: int | None
    batches: int
    events: int
    seconds: float
    difference: BatchDifference | None

    @property
    def identical(self) -> bool:
        """Whether every compared batch gave the outputs that the log holds."""
        return self.difference is None

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "identical": self.identical,
            "batches": self.batches,
            "events": self.events,
            "members": list(self.members),
            "run": self.run,
            "first_batch_no": self.first_batch_no,
            "seconds": round(self.seconds, 3),
            "difference": None if self.difference is None else self.difference.to_json(),
        }


def verify(
    wiring: Wiring,
    service: str,
    *,
    shard: int = 0,
    principal: str = PRINCIPAL,
    from_checkpoint: bool = False,
    run: str | None = None,
    behind_head: bool = False,
    progress: Progress = lambda _batches: None,
) -> VerifyReport:
    """Step a stage's history again and say whether it comes out as it was logged; it may go on running.

    The chain is the one that the last basis record names. `behind_head`: a long history of a chain is stepped
    without its head; the others are fed with its facts as they stand on the bus. Everything is read as
    `principal`; nothing is written but a scratch folder.

    Raises ReplayError (RUN_NOT_FOUND where no batch has a record of `run`), StageError (inputs that are gone
    among them).
    """
    asked = Asked(wiring, service, shard, principal, from_checkpoint, run, behind_head)
    started = time.monotonic()
    with _opened(asked) as opened:
        apart = worth_it(opened.members)
        found = (_in_several_processes if apart else _in_one_process)(asked, opened, progress)
    if not isinstance(found, _Verified):
        with _opened(asked) as opened:
            found = _in_one_process(asked, opened, progress, differing=found)
    if run is not None and not found.batches:
        chain = CHAIN_SIGN.join(found.members)
        raise ReplayError(
            "RUN_NOT_FOUND", f"no record of run {run} in the batches of {chain} that were stepped"
        )
    return VerifyReport(
        found.members,
        run,
        found.first_batch_no,
        found.batches,
        found.events,
        time.monotonic() - started,
        found.difference,
    )


class _Verified(NamedTuple):
    first_batch_no: int | None
    members: Sequence[str]
    batches: int
    events: int
    difference: BatchDifference | None


class _Opened(NamedTuple):
    history: History
    spec: ChainSpec
    members: Sequence[MemberHistory]
    first_batch_no: int | None


@contextmanager
def _opened(asked: Asked) -> Iterator[_Opened]:
    with tempfile.TemporaryDirectory(prefix="sluice-verify-") as scratch:
        history = History(asked.wiring, asked.shard, asked.principal, Path(scratch))
        spec, members = history.open(asked.service)
        first = begin(spec, members, from_checkpoint=asked.from_checkpoint)
        yield _Opened(history, spec, members, first)


def _in_several_processes(asked: Asked, opened: _Opened, progress: Progress) -> _Verified | int | None:
    """Else the number of a batch in which something differs, or None for trouble: one process is to go on."""
    history, spec, members, first = opened
    batches = events = 0
    try:
        with quiet_collector() as tidy:
            for done, stepped in enumerate(stepped_apart(history, spec, members, asked)):
                tidy(stepped.events)
                progress(done + 1)
                if not stepped.of_run:
                    continue
                if stepped.differs:
                    return stepped.batch_no
                batches, events = batches + 1, events + stepped.events
    except NotApartError as error:
        log.info("replay.in_one_process", reason=str(error))
        return None
    names = _behind_head(spec) if asked.behind_head else [stage.name for stage in spec.members]
    return _Verified(first, names, batches, events, None)


def _behind_head(spec: ChainSpec) -> list[str]:
    return [stage.name for stage in spec.members[1:]]


def _in_one_process(
    asked: Asked, opened: _Opened, progress: Progress, *, differing: int | None = None
) -> _Verified:
    """`differing`: a batch in which members that were fed from the bus put out anything else than is logged.

    They may have been fed with facts that were altered there: up to it, these are compared as well.
    """
    history, spec, members, first = opened
    batches = events = 0
    difference: BatchDifference | None = None
    with quiet_collector() as tidy, history.reading_back() as bus:
        for done, replayed in enumerate(history.step(spec, members)):
            tidy(replayed.records[0].events)
            progress(done + 1)
            if asked.run is not None and not batch_speaks_of(replayed, asked.run):
                continue
            batches, events = batches + 1, events + replayed.records[0].events
            difference = history.difference(spec, replayed)
            number = replayed.records[0].batch_no
            if difference is None and differing is not None and number <= differing:
                difference = history.altered_fact(bus, spec, replayed)
                if difference is None and number == differing:
                    difference = BatchDifference(replayed.records[0], _behind_head(spec), spec.code_rev, None)
            if difference is not None:
                break
    return _Verified(first, [stage.name for stage in spec.members], batches, events, difference)
