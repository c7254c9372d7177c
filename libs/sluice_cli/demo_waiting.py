"""How the demo waits: as long as something moves, however much there is; it gives up on a standstill."""

import time
from collections.abc import Callable
from typing import Final, Self

from confluent_kafka import Consumer, KafkaException

from services.world_stream_producer.app import lane_partition
from services.world_stream_producer.settings import LANE
from sluice_cli.service_calls import GATE
from sluice_kit.artifacts import open_artifacts
from sluice_kit.config import Wiring
from sluice_kit.replay import replay_consumer_config
from sluice_kit.replay.lag import stage_positions
from sluice_kit.stage.errors import StageError

STANDSTILL_SECONDS: Final = 120.0
"""Longer than a service takes to restart by replay."""
LOOK_SECONDS: Final = 0.1


class DemoError(RuntimeError):
    """The demo cannot go on; the message says at which step and why."""


class Patience:
    """Raises DemoError once what it is shown has not changed for `seconds`."""

    def __init__(
        self,
        what: str,
        seconds: float = STANDSTILL_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._what, self._seconds, self._clock = what, seconds, clock
        self._seen: object = None
        self._moved = clock()

    def see(self, state: object) -> None:
        """What it is like now."""
        now = self._clock()
        if state != self._seen:
            self._seen, self._moved = state, now
        elif now - self._moved > self._seconds:
            raise DemoError(
                f"{self._what}: nothing has moved for {self._seconds:.0f} s; it stands at {state}. "
                "`sluice status` and the logs tell more"
            )


def wait_until(what: str, happened: Callable[[], bool]) -> None:
    """Wait for one answer, which takes the same time for any size of world. Raises DemoError."""
    patience = Patience(f"waited for {what}")
    while not happened():
        patience.see("no answer yet")
        time.sleep(LOOK_SECONDS)


class SettledRows:
    """How many rows of a run the gate has settled, read from its basis log: exact, whatever was killed.

    A context manager: it holds a connection.
    """

    def __init__(self, wiring: Wiring, run_id: str) -> None:
        self._consumer = Consumer(replay_consumer_config(wiring))
        self._artifacts = open_artifacts(wiring)
        self._place = (LANE, lane_partition(run_id, LANE))
        self._counted = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def count(self) -> int:
        """Rows so far: the run's partition of the lane holds nothing else, and no commit markers.

        The last count again while the broker does not answer: whoever watches gives up on a standstill.
        """
        try:
            positions = stage_positions(self._consumer, self._artifacts)
        except (StageError, KafkaException):
            return self._counted
        self._counted = positions.get((GATE.name, "basis"), {}).get(self._place, self._counted)
        return self._counted
