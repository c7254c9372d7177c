"""The ingress benches, part by part, on one stack; every part states its floor or bound and its target."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from sluice_bench import replay_bench, wsp_bench
from sluice_bench.admission_bench import BATCHES, DEFAULT_BATCH, admission, profile
from sluice_bench.bench_stack import BenchStack, Tell
from sluice_bench.checkpoint_bench import checkpoint
from sluice_bench.latency_bench import latency
from sluice_bench.memory_bench import memory
from sluice_bench.parts import measured, parts_report
from sluice_bench.restart_bench import restart

REPLAY_TARGET: Final = 0.5


@dataclass(frozen=True, slots=True)
class Effort:
    """How much work each part does."""

    records: int
    latency_seconds: float
    world_events: int
    replay_records: int
    keys: tuple[int, int]
    restart_events: int
    checkpoint_seconds: float
    repetitions: int
    batches: tuple[int, ...]


def effort(*, quick: bool, repetitions: int, batches: tuple[int, ...] = ()) -> Effort:
    """The real thing, or a few minutes' worth that shows that everything works.

    `batches` are the batch sizes of the admission part; none: 500, 2,000 and 5,000 (quick: 2,000).
    """
    if quick:
        small = batches or (DEFAULT_BATCH,)
        return Effort(50_000, 8, 100_000, 100_000, (200_000, 1_000_000), 100_000, 8, repetitions, small)
    sizes = (1_000_000, 20_000_000)
    return Effort(200_000, 30, 500_000, 1_000_000, sizes, 1_000_000, 12, repetitions, batches or BATCHES)


def _admission(stack: BenchStack, work: Effort) -> dict[str, Any]:
    found = admission(stack, work.records, work.repetitions, work.batches)
    return found | {"profile": profile(stack, work.records)}


def _latency(stack: BenchStack, work: Effort) -> dict[str, Any]:
    return latency(stack, work.latency_seconds, work.repetitions)


def _wsp(stack: BenchStack, work: Effort) -> dict[str, Any]:
    return wsp_bench.run(stack.wiring, work.world_events, work.repetitions)


def _verify(_stack: BenchStack, work: Effort) -> dict[str, Any]:
    return wsp_bench.verify_bench(work.world_events * 4, max(3, work.repetitions))


def _replay(stack: BenchStack, work: Effort) -> dict[str, Any]:
    found = replay_bench.run(stack.wiring, work.repetitions, work.replay_records)
    return found | {"target": REPLAY_TARGET, "passed": found["ratio"] >= REPLAY_TARGET}


def _checkpoint(stack: BenchStack, work: Effort) -> dict[str, Any]:
    return checkpoint(stack, work.checkpoint_seconds, work.repetitions)


def _restart(stack: BenchStack, work: Effort) -> dict[str, Any]:
    return restart(stack, work.restart_events, work.repetitions)


def _memory(stack: BenchStack, work: Effort) -> dict[str, Any]:
    return memory(stack, work.keys, work.records)


PARTS: Final[Mapping[str, Callable[[BenchStack, Effort], dict[str, Any]]]] = {
    "admission": _admission,
    "latency": _latency,
    "wsp": _wsp,
    "verify": _verify,
    "replay": _replay,
    "checkpoint": _checkpoint,
    "restart": _restart,
    "memory": _memory,
}
"""In the order in which they run: what makes the gate's state large comes last."""


def run_parts(home: Path, names: Sequence[str], work: Effort, tell: Tell) -> dict[str, Any]:
    """Run the named parts on the substrate under `home`; a part that cannot run says why under `error`."""
    stack = BenchStack(home, tell)
    try:
        parts = {
            name: measured(name, partial(part, stack, work), tell)
            for name, part in PARTS.items()
            if name in names
        }
    finally:
        stack.close()
    return parts_report("ingress", work.repetitions, parts)
