"""What parts of the loop bench are made of: traffic, latencies of decisions, whole chains, a bare floor."""

import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, Final

from sluice_bench.arithmetic import latency_summary, percentile, visible_rate
from sluice_bench.bench_stack import BenchStack, Loaded
from sluice_bench.copy_loop import Starts, copy_loop
from sluice_bench.core_speed import core_speed
from sluice_bench.loop_fleet import LoopProcesses, per_payment
from sluice_bench.loop_traffic import Slice, paced_loop, preload_loop
from sluice_bench.loop_watching import (
    AUDIT,
    DECISIONS,
    OUTCOMES,
    WATCHED,
    await_decision,
    chains_since,
    complete,
)
from sluice_bench.pacing import Pace
from sluice_bench.payments import LANE, bench_event_id
from sluice_bench.watching import measure_visibility, watch_growth

BATCH: Final = 2_000
GIVE_UP_SECONDS: Final = 300.0
_LEAD_SECONDS: Final = 20.0
"""From handing the work out to the first event: processes start, make their world and encode meanwhile."""
_WARM_UP_SECONDS: Final = 3.0
_AUDIT_SECONDS: Final = 120.0
_AUDIT_QUIET_SECONDS: Final = 8.0
"""Longer than the decision log takes from one segment to the next while there is anything to seal."""


class LoopGround:
    """One stack and its endless traffic, of which each part takes the next payments."""

    def __init__(self, stack: BenchStack, world_events: int) -> None:
        self.stack = stack
        self._world_events = world_events
        self._mark = uuid.uuid4().hex[:16]
        self._sent = 0

    def paced(self, loop: LoopProcesses, per_second: int, seconds: float) -> dict[str, Any]:
        """One steady flow: latencies, the whole chains that it led to, CPU by process."""
        self.caught_up()
        starts = self.starts()
        pace = Pace.steady(per_second, seconds)
        count = pace.count
        used: dict[str, float] = {}
        with ExitStack() as sampling:
            speeds = []

            def started() -> None:
                used.update(loop.cpu_seconds())
                speeds.append(sampling.enter_context(core_speed()))

            latencies, late = self.visibility(pace, started)
            cpu = per_payment(used, loop.cpu_seconds(), count)
        chains = self.chains(starts, count)
        warm = latencies[round(per_second * min(_WARM_UP_SECONDS, seconds / 3)) :]
        (speed,) = speeds
        self.stack.tell(
            f"{per_second:,}/s: p99 {percentile(warm, 0.99) * 1e3:.0f} ms, "
            f"cores slower by {speed['slowdown']} x; {chains}"
        )
        return {
            "latency": latency_summary(warm),
            "core_speed": speed,
            "generator_late_at_most_ms": round(late * 1e3, 1),
            "payments": count,
            "chains": chains,
            "complete": complete(chains, count),
            "cpu_us_per_payment": cpu,
        }

    def visibility(self, pace: Pace, started: Callable[[], None] = lambda: None) -> tuple[list[float], float]:
        """Seconds to each decision in the order of sending, and by how much the generator was late.

        `started` is called when the first event is due.
        """
        stack, wanted = self.stack, self.slice(pace.count)
        start_at = time.monotonic() + _LEAD_SECONDS
        reading = stack.submit(
            measure_visibility,
            stack.plain,
            stack.ends(DECISIONS),
            wanted.ids(),
            pace,
            start_at,
            _LEAD_SECONDS + pace.seconds + GIVE_UP_SECONDS,
        )
        sending = stack.submit(paced_loop, stack.plain, wanted, pace, start_at)
        time.sleep(max(0.0, start_at - time.monotonic()))
        started()
        late: float = sending.result()
        return reading.result(), late

    def starts(self) -> dict[str, Starts]:
        """Committed ends of what payments lead to, now."""
        return {topic: self.stack.ends(topic) for topic in WATCHED}

    def chains(self, starts: dict[str, Starts], payments: int) -> dict[str, Any]:
        """What so many payments led to since `starts`, once the audit log covers them all (or does not)."""
        found: dict[str, Any] = self.stack.submit(
            chains_since, self.stack.plain, starts, payments, _AUDIT_SECONDS
        ).result()
        return found

    def slice(self, payments: int) -> Slice:
        """The next payments of the bench's traffic."""
        wanted = Slice(self._mark, self._world_events, self._sent, payments)
        self._sent += payments
        return wanted

    def load(self, payments: int) -> Loaded:
        """Put the next payments on the lane as fast as it goes."""
        starts = self.stack.ends(LANE)
        wanted = self.slice(payments)
        size: int = self.stack.submit(preload_loop, self.stack.plain, wanted).result(600)
        return Loaded(self._mark, starts, payments, size)

    def caught_up(self) -> None:
        """Wait until nothing of earlier parts is left, the posture is NORMAL and all is audited.

        Raises RuntimeError when the posture does not become it.
        """
        deadline = time.monotonic() + GIVE_UP_SECONDS
        while (posture := self._posture()) != "NORMAL":
            if time.monotonic() > deadline:
                raise RuntimeError(f"the posture is {posture} after {GIVE_UP_SECONDS:.0f} s")
            time.sleep(1)
        seen, since = self._ends_beside(), time.monotonic()
        while time.monotonic() - since < _AUDIT_QUIET_SECONDS:
            time.sleep(0.5)
            now = self._ends_beside()
            if now != seen:
                seen, since = now, time.monotonic()

    def _posture(self) -> str:
        """The posture under which one more payment is decided, behind all that stands on the lane."""
        stack, wanted, starts = self.stack, self.slice(1), self.stack.ends(DECISIONS)
        stack.submit(preload_loop, stack.plain, wanted).result()
        last = bench_event_id(self._mark, wanted.first)
        found: str = stack.submit(await_decision, stack.plain, starts, last, 2 * GIVE_UP_SECONDS).result()
        return found

    def _ends_beside(self) -> list[Starts]:
        """Ends of what the action layer and the decision log write."""
        return [self.stack.ends(topic) for topic in (OUTCOMES, AUDIT)]

    def floor(self, loaded: Loaded, sizes: Sequence[int]) -> float:
        """Payments a second of a bare copy loop that writes records of these bytes beside each payment."""
        stack, topics = self.stack, self.stack.scratch_topics()
        try:
            watching = stack.submit(watch_growth, stack.plain, topics[0], 0, loaded.records, GIVE_UP_SECONDS)
            copying = stack.submit(
                copy_loop,
                stack.plain,
                loaded.starts,
                topics,
                records=loaded.records,
                batch=BATCH,
                receipt_bytes=sizes[0],
                more_bytes=sizes[1:],
                deadline_seconds=GIVE_UP_SECONDS,
            )
            copying.result()
            return visible_rate(watching.result(), 0, loaded.records)
        finally:
            stack.drop(topics)
