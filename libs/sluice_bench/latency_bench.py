"""Produce to receipt at a steady pace: from the intended send time to a read_committed reader's hands.

A generator that is late does not hide it: each event counts from when it should have been sent.
"""

import time
from typing import Any, Final

from sluice_bench.arithmetic import latency_summary, percentile, spread
from sluice_bench.bench_stack import RECEIPTS, BenchStack
from sluice_bench.copy_loop import copy_loop
from sluice_bench.gate_process import GateProcess, running_gate
from sluice_bench.pacing import Pace
from sluice_bench.payments import LANE, bench_event_id, paced
from sluice_bench.watching import measure_visibility

TARGET_P99_MS: Final = 60.0
PER_SECOND: Final = 3_000
BATCH: Final = 2_000
RECEIPT_BYTES: Final = 620
"""What the admission part finds for a receipt of such an event."""
_LEAD_SECONDS: Final = 6.0
"""From handing the work out to the first event: processes start and encode meanwhile."""
_WARM_UP_SECONDS: Final = 3.0
"""Left out of the figures: first use of connections and code."""


def latency(stack: BenchStack, seconds: float, repetitions: int) -> dict[str, Any]:
    """Floor (the bare copy loop's copies) and ours (receipts) in turn; percentiles in milliseconds."""
    floors, owns, late = [], [], []
    for number in range(repetitions):
        with running_gate(stack.home) as gate:
            own, own_late = _ours(stack, gate, seconds)
        bare, bare_late = _floor(stack, seconds)
        owns.append(own)
        floors.append(bare)
        late += [own_late, bare_late]
        stack.tell(
            f"latency {number + 1}/{repetitions}: p99 of the floor {percentile(bare, 0.99) * 1e3:.1f} ms, "
            f"of the gate {percentile(own, 0.99) * 1e3:.1f} ms"
        )
    p99 = spread([percentile(own, 0.99) * 1e3 for own in owns])
    return {
        "events_per_second": PER_SECOND,
        "seconds": seconds,
        "floor": {"p99_ms": spread([percentile(one, 0.99) * 1e3 for one in floors])}
        | {"p50_ms": spread([percentile(one, 0.5) * 1e3 for one in floors])},
        "ours": {"p99_ms": p99, "p50_ms": spread([percentile(one, 0.5) * 1e3 for one in owns])},
        "all_repetitions": latency_summary([value for one in owns for value in one]),
        "generator_late_at_most_ms": round(max(late) * 1e3, 1),
        "ratio": round(p99["median"] / spread([percentile(one, 0.99) * 1e3 for one in floors])["median"], 3),
        "target_p99_ms": TARGET_P99_MS,
        "passed": p99["median"] <= TARGET_P99_MS,
    }


def _ours(stack: BenchStack, gate: GateProcess, seconds: float) -> tuple[list[float], float]:
    gate.wait_ready()
    stack.settle(RECEIPTS)  # the floor's events of the repetition before are a backlog to the gate
    return _measured(stack, RECEIPTS, seconds)


def _floor(stack: BenchStack, seconds: float) -> tuple[list[float], float]:
    topics = stack.scratch_topics()
    copying = stack.submit(
        copy_loop,
        stack.plain,
        stack.ends(LANE),
        topics,
        records=round(PER_SECOND * seconds),
        batch=BATCH,
        receipt_bytes=RECEIPT_BYTES,
        wait_seconds=0.1,
    )
    found = _measured(stack, topics[0], seconds)
    copying.result()
    stack.drop(topics)
    return found


def _measured(stack: BenchStack, topic: str, seconds: float) -> tuple[list[float], float]:
    """Latencies of the events after the warm-up, and by how much the generator was late at most."""
    pace, mark = Pace.steady(PER_SECOND, seconds), f"latency-{time.monotonic_ns()}"
    start_at = time.monotonic() + _LEAD_SECONDS
    reading = stack.submit(
        measure_visibility,
        stack.plain,
        stack.ends(topic),
        {bench_event_id(mark, number): number for number in range(pace.count)},
        pace,
        start_at,
        _LEAD_SECONDS + seconds + 60.0,
    )
    late = stack.submit(paced, stack.plain, mark, pace, start_at).result()
    found: list[float] = reading.result()
    return found[round(PER_SECOND * min(_WARM_UP_SECONDS, seconds / 3)) :], late
