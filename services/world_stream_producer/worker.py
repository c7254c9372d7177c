"""One run being streamed: a thread that takes framed rows, waits until they are due and sends them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from services.world_stream_producer.batch_spans import BatchSpans
from services.world_stream_producer.framing import Framed
from services.world_stream_producer.pacing import Pace, in_stream_order
from services.world_stream_producer.sending import LaneSender, SendFailedError

_LOOK_SECONDS: Final = 0.05  # how long a wait lasts before wishes are looked at again
_SHORTEST_WAIT: Final = 0.002  # librdkafka counts milliseconds; shorter waits would spin
_SETTLE_SECONDS: Final = 5.0
_SEND_ROWS: Final = 4096  # rows handed to the producer in one call


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a worker stands. `acked_row` is safe to resume from: every row before it is acknowledged.

    `finished` is set once the thread is done; then `failure` tells why it ended early, if it did, and
    `exhausted` whether every row was acknowledged.
    """

    sent_row: int
    acked_row: int
    finished: bool
    exhausted: bool
    failure: Exception | None
    problem: str | None


class StreamWorker:
    """Streams `frames`, whose first row is number `start_row`, through a sender of its own."""

    def __init__(
        self,
        frames: Iterator[Framed],
        make_sender: Callable[[], LaneSender],
        start_row: int,
        *,
        speed: float,
        paused: bool = False,
        name: str = "stream",
        on_end: Callable[[], None] = lambda: None,
        batches: BatchSpans | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._frames, self._make_sender, self._start_row = frames, make_sender, start_row
        self._clock, self._on_end, self._batches = clock, on_end, batches
        self._speed, self._paused, self._held = speed, paused, False
        self._stop = threading.Event()
        self._drain_seconds = 0.0
        self._sent = self._acked = start_row
        self._exhausted = self._finished = False
        self._failure: Exception | None = None
        self._problem: str | None = None
        self._pace: Pace | None = None
        self._last_ts = np.iinfo(np.int64).min
        self._begun_ns = 0  # when the first row of the batch at hand was handed over
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def wish(self, *, paused: bool, speed: float) -> None:
        """Pause or go on, and at which speed; takes effect within 50 ms."""
        self._paused, self._speed = paused, speed

    def hold(self, *, held: bool) -> None:
        """Stand still while the right to stream is in doubt; independent of an operator's pause."""
        self._held = held

    def stop(self, drain_seconds: float) -> None:
        """Take no further row; wait at most `drain_seconds` for what was sent, then finish."""
        self._drain_seconds = drain_seconds
        self._stop.set()

    def join(self, seconds: float | None = None) -> None:
        """Wait until the thread is done, at most `seconds`."""
        self._thread.join(seconds)

    def progress(self) -> Progress:
        """Where it stands now."""
        finished = self._finished  # read first: what follows is final once this is set
        return Progress(self._sent, self._acked, finished, self._exhausted, self._failure, self._problem)

    def _run(self) -> None:
        sender: LaneSender | None = None
        try:
            sender = self._make_sender()
            complete = all(self._send_batch(sender, framed) for framed in self._frames)
            self._drain(sender)
            self._exhausted = complete and self._acked == self._sent
        except Exception as error:  # noqa: BLE001 - the supervisor decides what a failure means
            self._failure = error
            self._settle(sender)
        finally:
            if sender is not None:
                sender.close()
            self._finished = True
            self._on_end()

    def _send_batch(self, sender: LaneSender, framed: Framed) -> bool:
        first_row, self._begun_ns = self._sent, 0
        whole = self._send(sender, framed)
        if self._batches is not None:
            self._batches.sent(first_row, self._sent - first_row, self._begun_ns)
        return whole

    def _send(self, sender: LaneSender, framed: Framed) -> bool:
        """Send all rows as they become due; False when told to stop."""
        values, count = framed.values, len(framed.values)
        times = in_stream_order(np.maximum(framed.times, self._last_ts))
        if count:
            self._last_ts = int(times[-1])
        position = 0
        while position < count:
            if self._stop.is_set():
                return False
            now = self._clock()
            room = sender.room()
            self._note(sender)
            if self._paused or self._held:
                self._pace = None
                sender.wait(_LOOK_SECONDS)
                continue
            due = self._due(times[position:], now)
            rows = min(due, room, _SEND_ROWS)
            if rows == 0:
                sender.wait(self._wait_seconds(int(times[position]), now) if due == 0 else _SHORTEST_WAIT)
                continue
            self._begun_ns = self._begun_ns or time.time_ns()
            sender.send(values[position : position + rows] if rows < count else values)
            position += rows
            self._sent += rows
        return True

    def _due(self, times: np.ndarray[tuple[int], np.dtype[np.int64]], now: float) -> int:
        next_ts = int(times[0])
        if self._pace is None:
            self._pace = Pace(self._speed, next_ts, now)
        elif self._pace.speed != self._speed:
            self._pace = self._pace.at_speed(self._speed, next_ts, now)
        return self._pace.due(times, now)

    def _wait_seconds(self, ts: int, now: float) -> float:
        assert self._pace is not None
        return min(max(self._pace.seconds_until(ts, now), _SHORTEST_WAIT), _LOOK_SECONDS)

    def _drain(self, sender: LaneSender) -> None:
        """Wait for acknowledgements: all of them at the end of a run, a while when told to stop."""
        give_up: float | None = None
        while self._acked < self._sent:
            if self._stop.is_set():
                give_up = give_up if give_up is not None else self._clock() + self._drain_seconds
                if self._clock() >= give_up:
                    return
            sender.drain(_LOOK_SECONDS)
            self._note(sender)

    def _settle(self, sender: LaneSender | None) -> None:
        """After a failure that is not the lane's: let what was sent arrive, so that less is sent again."""
        if sender is not None:
            with contextlib.suppress(SendFailedError):
                sender.drain(_SETTLE_SECONDS)
                self._note(sender)

    def _note(self, sender: LaneSender) -> None:
        self._acked = self._start_row + sender.acknowledged()
        self._problem = sender.problem
        if self._batches is not None:
            self._batches.acknowledged(self._acked)
