"""A stage that is killed far behind its last checkpoint: how long until it serves again."""

from collections.abc import Callable
from typing import Any, Final

from sluice_bench.arithmetic import spread
from sluice_bench.bench_stack import RECEIPTS, BenchStack
from sluice_bench.gate_process import GateProcess, StageProcess, running_gate
from sluice_bench.watching import total, watch_growth

TARGET_SECONDS: Final = 30.0
NO_CHECKPOINTS: Final = ("--checkpoint-seconds", "1000000", "--checkpoint-events", "1000000000")
_WATCH_SECONDS: Final = 400.0


def restart(stack: BenchStack, events: int, repetitions: int) -> dict[str, Any]:
    """Seconds from starting the process to a good /health/ready, with `events` since the last checkpoint.

    The same history is replayed `repetitions` times: each start is killed before it seals anything. An
    empty start of the drained gate is measured beside it.
    """
    with running_gate(stack.home) as gate:
        empty = gate.wait_ready()
    before = total(stack.ends(RECEIPTS))
    loaded = stack.load(events)
    watching = stack.submit(watch_growth, stack.plain, RECEIPTS, before, loaded.records, _WATCH_SECONDS)
    killed = GateProcess(stack.home, *NO_CHECKPOINTS)
    try:
        watching.result()
    finally:
        killed.kill()
    seconds = serving_again(stack, lambda: GateProcess(stack.home, *NO_CHECKPOINTS), repetitions)
    with running_gate(stack.home) as gate:  # and out, with a checkpoint, for the parts that follow
        gate.wait_ready()
    return restarted(events, seconds, empty)


def serving_again(stack: BenchStack, start: Callable[[], StageProcess], repetitions: int) -> list[float]:
    """Seconds to a good /health/ready; all replay the same, since each is killed before it seals."""
    seconds = []
    for number in range(repetitions):
        again = start()
        try:
            seconds.append(again.wait_ready())
        finally:
            again.kill()
        stack.tell(f"restart {number + 1}/{repetitions}: serving after {seconds[-1]:.1f} s")
    return seconds


def restarted(events: int, seconds: list[float], empty: float) -> dict[str, Any]:
    """The report: starts with `events` since the checkpoint, beside one with nothing to replay."""
    found = spread(seconds)
    return {
        "events_since_checkpoint": events,
        "seconds": found,
        "empty_start_seconds": round(empty, 2),
        "replayed_per_second": round(events / max(0.001, found["median"] - empty)),
        "target_seconds": TARGET_SECONDS,
        "passed": found["median"] <= TARGET_SECONDS,
    }
