"""What sealing costs the step: the stop of the stage's thread, and batch times with and without sealing."""

import json
import time
from collections.abc import Sequence
from typing import Any, Final

from sluice_bench.arithmetic import percentile, spread
from sluice_bench.bench_stack import BenchStack
from sluice_bench.gate_process import PROBE, running_gate
from sluice_bench.pacing import Pace
from sluice_bench.payments import paced

TARGET_MS: Final = 10.0
PER_SECOND: Final = 3_000
_SEALING: Final = ("--checkpoint-seconds", "2", "--checkpoint-events", "1000000000")
_NOT_SEALING: Final = ("--checkpoint-seconds", "1000000", "--checkpoint-events", "1000000000")
_LEAD_SECONDS: Final = 4.0


def checkpoint(stack: BenchStack, seconds: float, repetitions: int) -> dict[str, Any]:
    """The longest stop by a sealing, and p50/p99.9 of batch times with sealing every 2 s and without."""
    stops: list[float] = []
    batches: dict[str, list[dict[str, float]]] = {"none": [], "every_2_s": []}
    for number in range(repetitions):
        for name, arguments in (("none", _NOT_SEALING), ("every_2_s", _SEALING)):
            seen = _probed(stack, seconds, arguments)
            batches[name].append(batch_times(seen["batches"]))
            # the last one is the drain's: nothing is stepped any more
            stops += seen["seals"][:-1]
        stack.tell(f"checkpoint {number + 1}/{repetitions}: longest stop {max(stops) * 1e3:.2f} ms")
    return {
        "sealings": len(stops),
        "stop_ms": spread([stop * 1e3 for stop in stops], 3),
        "batch_ms": {
            name: {key: spread([one[key] for one in found]) for key in found[0]}
            for name, found in batches.items()
        },
        "target_ms": TARGET_MS,
        "passed": max(stops) * 1e3 <= TARGET_MS,
    }


def batch_times(batches: Sequence[tuple[float, int, float]]) -> dict[str, float]:
    """p50, p99, p99.9 and maximum of batch seconds (of batches that had events), in milliseconds."""
    taken = [seconds * 1e3 for _, events, seconds in batches if events]
    return {
        "p50": percentile(taken, 0.5),
        "p99": percentile(taken, 0.99),
        "p999": percentile(taken, 0.999),
        "max": max(taken),
    }


def _probed(stack: BenchStack, seconds: float, arguments: Sequence[str]) -> dict[str, Any]:
    out = stack.home / "probe.json"
    with running_gate(stack.home, *arguments, "--probe-out", str(out), module=PROBE) as gate:
        gate.wait_ready()
        mark = f"checkpoint-{time.monotonic_ns()}"
        start_at = time.monotonic() + _LEAD_SECONDS
        stack.submit(paced, stack.plain, mark, Pace.steady(PER_SECOND, seconds), start_at).result()
    seen: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return seen
