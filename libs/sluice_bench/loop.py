"""The loop bench, part by part, on one stack: from a payment on the lane to decision and audit record."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from sluice_bench.arithmetic import spread, visible_rate
from sluice_bench.bench_stack import BenchStack, Tell
from sluice_bench.chain_cost import chain_cost
from sluice_bench.loop_fleet import (
    chain_process,
    per_payment,
    running_chain,
    running_separate,
    train_and_activate,
)
from sluice_bench.loop_ground import BATCH, GIVE_UP_SECONDS, LoopGround
from sluice_bench.loop_watching import (
    DECISIONS,
    complete,
    count_records,
    recovery_seconds,
    verify_chain,
)
from sluice_bench.pacing import Pace
from sluice_bench.parts import measured, parts_report
from sluice_bench.sustained_pace import AUDITED_SECONDS, QUICK_SECONDS, highest_kept
from sluice_bench.watching import total, watch_growth
from sluice_bench.webhook_target import wired_target

STEADY: Final = 3_000
BURST: Final = 6_000
SEPARATE: Final = 1_500
TARGETS: Final[Mapping[str, float]] = {
    "latency_p50_ms": 75.0,
    "latency_p99_ms": 150.0,
    "burst_seconds": 20.0,
    "sustained_per_second": 4_500.0,
    "separate_p99_ms": 300.0,
    "replay_ratio": 3.0,
    "restart_seconds": 30.0,
}
_WARMING_PAYMENTS: Final = 100_000
_WARMING_SECONDS: Final = 60.0
"""A broker that has just started compiles its code for some minutes: what a backlog wants of it, and once
more what a steady flow does. At 3,000/s that is 22 µs a payment in the first 40 s of it, 5 in the fourth."""
_BEFORE_BURST_SECONDS: Final = 5.0
_AFTER_BURST_SECONDS: Final = 30.0
_NO_CHECKPOINTS: Final = ("--checkpoint-seconds", "1000000", "--checkpoint-events", "1000000000")


@dataclass(frozen=True, slots=True)
class LoopEffort:
    """How much work each part does."""

    seconds: float
    burst_seconds: float
    records: int
    cost_events: int
    restart_events: int
    world_events: int
    repetitions: int


def loop_effort(*, quick: bool, repetitions: int) -> LoopEffort:
    """The real thing, or a few minutes' worth that shows that everything works."""
    if quick:
        return LoopEffort(10, 3, 30_000, 10_000, 30_000, 40_000, 1)
    return LoopEffort(60, 10, 200_000, 40_000, 1_000_000, 200_000, repetitions)


class LoopBench:
    """The parts. Model and warm broker are made when the first part that needs a stack asks for them."""

    def __init__(self, stack: BenchStack, work: LoopEffort) -> None:
        self._stack = stack
        self._ground = LoopGround(stack, work.world_events)
        self._work = work
        self._live_rates: list[int] = []

    def prepare(self) -> dict[str, Any]:
        """Put a trained bundle in force and warm the broker up."""
        with running_chain(self._stack.home):
            made = train_and_activate(self._stack.home, self._work.world_events)
            self._ground.load(min(_WARMING_PAYMENTS, self._work.records))
            self._ground.caught_up()
            self._ground.visibility(Pace.steady(STEADY, min(_WARMING_SECONDS, self._work.seconds)))
        return made

    def latency(self) -> dict[str, Any]:
        """3,000/s in one process: decisions from the intended send time, and whether all chains are whole."""
        found = []
        for _ in range(self._work.repetitions):
            with running_chain(self._stack.home) as loop:
                found.append(self._ground.paced(loop, STEADY, self._work.seconds))
        p50, p99 = _medians(found)
        return self._spreads(found, STEADY) | {
            "targets_ms": {"p50": TARGETS["latency_p50_ms"], "p99": TARGETS["latency_p99_ms"]},
            "passed": p50 <= TARGETS["latency_p50_ms"]
            and p99 <= TARGETS["latency_p99_ms"]
            and all(one["complete"] for one in found),
        }

    def separate(self) -> dict[str, Any]:
        """1,500/s with every stage its own process, once the broker knows what these want of it."""
        found = []
        warming = Pace.steady(SEPARATE, min(_WARMING_SECONDS, self._work.seconds))
        for repetition in range(self._work.repetitions):
            with running_separate(self._stack.home) as loop:
                if not repetition:
                    self._ground.visibility(warming)
                found.append(self._ground.paced(loop, SEPARATE, self._work.seconds))
        return self._spreads(found, SEPARATE) | {
            "targets_ms": {"p99": TARGETS["separate_p99_ms"]},
            "passed": _medians(found)[1] <= TARGETS["separate_p99_ms"]
            and all(one["complete"] for one in found),
        }

    def burst(self) -> dict[str, Any]:
        """6,000/s in the midst of 3,000/s; seconds from its end until decisions are as fast as before."""
        seconds: list[float | None] = []
        chains = []
        burst_end = _BEFORE_BURST_SECONDS + self._work.burst_seconds
        pace = Pace(
            (
                (_BEFORE_BURST_SECONDS, STEADY),
                (self._work.burst_seconds, BURST),
                (_AFTER_BURST_SECONDS, STEADY),
            )
        )
        for _ in range(self._work.repetitions):
            with running_chain(self._stack.home):
                self._ground.caught_up()
                starts = self._ground.starts()
                latencies, late = self._ground.visibility(pace)
                chains.append(self._ground.chains(starts, pace.count))
            normal = TARGETS["latency_p99_ms"] / 1e3
            seconds.append(recovery_seconds(latencies, pace, burst_end, normal))
            self._stack.tell(f"burst: back to normal after {seconds[-1]} s (generator late {late:.2f} s)")
        found = [one for one in seconds if one is not None]
        return {
            "events_per_second": {"before and after": STEADY, "burst": BURST},
            "burst_seconds": self._work.burst_seconds,
            "recovery_seconds": spread(found) if len(found) == len(seconds) else None,
            "chains": chains,
            "target_seconds": TARGETS["burst_seconds"],
            "passed": len(found) == len(seconds)
            and statistics.median(found) <= TARGETS["burst_seconds"]
            and all(complete(one, pace.count) for one in chains),
        }

    def sustained(self) -> dict[str, Any]:
        """The highest pace that is kept with all that follows a decision, for as long as `latency` runs."""
        highest, runs = [], []
        first = round(TARGETS["sustained_per_second"])
        for _ in range(self._work.repetitions):
            with running_chain(self._stack.home) as loop:
                kept, found = highest_kept(
                    first, partial(self._ground.paced, loop, seconds=self._work.seconds)
                )
            highest.append(kept)
            runs.append({str(pace): one for pace, one in found.items()})
            self._stack.tell(f"sustained: {kept:,} payments/s kept")
        self._live_rates += highest
        own = spread(highest)
        return {
            "kept": {"p99_ms": QUICK_SECONDS * 1e3, "audited_after_seconds": AUDITED_SECONDS},
            "seconds": self._work.seconds,
            "ours": own,
            "repetitions": runs,
            "target": TARGETS["sustained_per_second"],
            "passed": own["median"] >= TARGETS["sustained_per_second"],
        }

    def backlog(self) -> dict[str, Any]:
        """Decisions a second on a backlog, beside a bare copy loop that writes as many records and bytes."""
        sizes = _sizes(chain_cost(2_000, 500)["records_of_a_payment"])
        owns, floors, cpu, chains = [], [], [], []
        for _ in range(self._work.repetitions):
            loaded = self._ground.load(self._work.records)
            starts = self._ground.starts()
            before = total(starts[DECISIONS])
            watching = self._stack.submit(
                watch_growth, self._stack.plain, DECISIONS, before, loaded.records, GIVE_UP_SECONDS
            )
            with running_chain(self._stack.home) as loop:
                used = loop.cpu_seconds()
                samples = watching.result()
                cpu.append(per_payment(used, loop.cpu_seconds(), loaded.records))
                chains.append(self._ground.chains(starts, loaded.records))
            owns.append(visible_rate(samples, before, loaded.records))
            floors.append(self._ground.floor(loaded, sizes))
            self._stack.tell(f"backlog: floor {floors[-1]:,.0f}, ours {owns[-1]:,.0f} payments/s")
        own = spread(owns)
        return {
            "records": self._work.records,
            "bytes_beside_a_payment": sizes,
            "floor": spread(floors),
            "ours": own,
            "ratio": round(own["median"] / statistics.median(floors), 3),
            "cpu_us_per_payment": cpu,
            "chains": chains,
            "passed": all(complete(one, self._work.records) for one in chains),
        }

    def cost(self) -> dict[str, Any]:
        """Microseconds a payment by stage (in memory, two batch sizes) and by process (at 3,000/s)."""
        by_batch = {str(size): chain_cost(self._work.cost_events, size) for size in (150, BATCH)}
        with running_chain(self._stack.home) as loop:
            found = self._ground.paced(loop, STEADY, min(20.0, self._work.seconds))
        return {
            "stages_by_batch": by_batch,
            "processes_cpu_us_per_payment": found["cpu_us_per_payment"],
            "passed": None,
        }

    def replay(self) -> dict[str, Any]:
        """The whole history verified, by what is behind the gate and by all, against the highest pace kept.

        The target is that of the former: graph, features and decisions.
        """
        if not self._live_rates:
            self.sustained()
        if not (live := max(self._live_rates)):
            raise RuntimeError("no pace was kept, so there is none to hold the replay against")
        payments = self._stack.submit(count_records, self._stack.plain, "traffic.payment").result()
        behind, whole = (self._verified(payments, live, behind_gate=only) for only in (True, False))
        return {
            "payments": payments,
            "live_payments_per_second": live,
            "behind_gate": behind,
            "whole_chain": whole,
            "identical": behind["identical"] and whole["identical"],
            "target": TARGETS["replay_ratio"],
            "passed": behind["identical"]
            and whole["identical"]
            and behind["ratio"] >= TARGETS["replay_ratio"],
        }

    def _verified(self, payments: int, live: int, *, behind_gate: bool) -> dict[str, Any]:
        report = self._stack.submit(verify_chain, self._stack.plain, behind_gate=behind_gate).result()
        rate = payments / report["seconds"]
        return {key: report[key] for key in ("members", "identical", "batches", "seconds")} | {
            "payments_per_second": round(rate),
            "ratio": round(rate / live, 2),
        }

    def restart(self) -> dict[str, Any]:
        """Seconds from starting the chain to ready, with payments since its last checkpoint."""
        stack, events = self._stack, self._work.restart_events
        loaded = self._ground.load(events)
        before = total(stack.ends(DECISIONS))
        watching = stack.submit(watch_growth, stack.plain, DECISIONS, before, events, 4 * GIVE_UP_SECONDS)
        killed = chain_process(stack.home, *_NO_CHECKPOINTS)
        try:
            watching.result()
        finally:
            killed.kill()
        seconds = []
        for _ in range(self._work.repetitions):
            again = chain_process(stack.home, *_NO_CHECKPOINTS)
            try:
                seconds.append(again.wait_ready())
            finally:
                again.kill()
            stack.tell(f"restart: serving after {seconds[-1]:.1f} s")
        with running_chain(stack.home):  # so that the next part finds a checkpoint
            pass
        found = spread(seconds)
        return {
            "payments_since_checkpoint": loaded.records,
            "seconds": found,
            "target_seconds": TARGETS["restart_seconds"],
            "passed": found["median"] <= TARGETS["restart_seconds"],
        }

    def _spreads(self, found: Sequence[Mapping[str, Any]], per_second: int) -> dict[str, Any]:
        return {
            "events_per_second": per_second,
            "seconds": self._work.seconds,
            "ours": {name: spread([one["latency"][name] for one in found]) for name in found[0]["latency"]},
            "generator_late_at_most_ms": max(one["generator_late_at_most_ms"] for one in found),
            "repetitions": [{key: one[key] for key in one if key != "latency"} for one in found],
        }


def _medians(found: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """Of p50 and p99, in milliseconds."""
    return (
        statistics.median(one["latency"]["p50_ms"] for one in found),
        statistics.median(one["latency"]["p99_ms"] for one in found),
    )


def _sizes(written: Mapping[str, Mapping[str, float]]) -> list[int]:
    """Bytes of each record that a payment leads to, beside its own copy."""
    sizes: list[int] = []
    for topic, about in written.items():
        copies = round(about["records"]) - (topic == "traffic.payment")
        sizes += [int(about["bytes"])] * copies
    return sizes


LOOP_PARTS: Final[Mapping[str, Callable[[LoopBench], dict[str, Any]]]] = {
    "latency": LoopBench.latency,
    "burst": LoopBench.burst,
    "sustained": LoopBench.sustained,
    "backlog": LoopBench.backlog,
    "cost": LoopBench.cost,
    "restart": LoopBench.restart,
    "replay": LoopBench.replay,
    "separate": LoopBench.separate,
}
"""In the order in which they run: the topology changes once, at the end."""


def run_loop(home: Path, names: Sequence[str], work: LoopEffort, tell: Tell) -> dict[str, Any]:
    """Run the named parts on the substrate under `home`; a part that cannot run says why under `error`."""
    stack = BenchStack(home, tell)
    try:
        with wired_target(home):
            bench = LoopBench(stack, work)
            made = bench.prepare()
            parts = {
                name: measured(name, partial(part, bench), tell)
                for name, part in LOOP_PARTS.items()
                if name in names
            }
    finally:
        stack.close()
    return parts_report("loop", work.repetitions, parts) | {"bundle": made}
