"""When checkpoints are taken: by time, by events, and at the end; all members of a chain together."""

import time
from collections.abc import Sequence

import structlog

from sluice_kit.stage.checkpoint import CheckpointPoint
from sluice_kit.stage.observer import StageObserver
from sluice_kit.stage.restore import MemberHistory
from sluice_kit.stage.spec import StageSettings

log = structlog.get_logger(__name__)

DRAIN_SECONDS = 120.0


class ChainCheckpoints:
    """Starts sealings when they are due and reports how old the newest checkpoint is."""

    def __init__(
        self, members: Sequence[MemberHistory], settings: StageSettings, observer: StageObserver
    ) -> None:
        self._members = members
        self._settings = settings
        self._observer = observer
        self._due = time.monotonic() + settings.checkpoint_seconds
        self._events = members[0].events_since_checkpoint
        self._tell_sizes()

    def after_batch(self, events: int) -> None:
        """Note a committed batch; seal when it is time."""
        self._events += events
        sealed = [member.checkpointer.finished() for member in self._members]
        now = time.monotonic()
        age = now - min(member.checkpointer.sealed_at for member in self._members)
        problem = next((m.checkpointer.problem for m in self._members if m.checkpointer.problem), None)
        self._observer.checkpoint(age, problem, self._settings.max_checkpoint_age_seconds)
        uris = [locator.uri for locator in sealed if locator is not None]
        if uris:
            log.info("checkpoint.sealed", uris=uris)
            self._publish()
        due = now >= self._due or self._events >= self._settings.checkpoint_events
        if due and not any(member.checkpointer.busy for member in self._members):
            self.start()

    def start(self) -> None:
        """Freeze every member at its last batch; files are written behind the steps."""
        self._due = time.monotonic() + self._settings.checkpoint_seconds
        self._events = 0
        for member in self._members:
            point = CheckpointPoint(member.batch_no, member.now, member.basis_next, dict(member.positions))
            member.checkpointer.start(member.stage.state.freeze(), point)

    def _publish(self) -> None:
        """Only a whole chain's snapshots make a checkpoint: a start needs all members at one batch."""
        if all(member.checkpointer.ready for member in self._members):
            for member in self._members:
                member.checkpointer.publish()
            self._tell_sizes()

    def _tell_sizes(self) -> None:
        self._observer.state_bytes([member.checkpointer.state_bytes for member in self._members])

    def drain(self) -> None:
        """Seal at the last batch, so that the next start, of any code, replays nothing."""
        for member in self._members:
            member.checkpointer.hurry()
        for member in self._members:
            member.checkpointer.finished(wait_seconds=DRAIN_SECONDS)
        self.start()
        for member in self._members:
            member.checkpointer.finished(wait_seconds=DRAIN_SECONDS)
            if member.checkpointer.problem is not None:
                log.error("drain.without_checkpoint", problem=member.checkpointer.problem)
        self._publish()
