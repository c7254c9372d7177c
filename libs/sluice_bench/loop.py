"""The loop bench, part by part, on one stack: from a payment on the lane to decision and audit record."""

import statistics
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sluice_bench.arithmetic import latency_summary, percentile, spread, visible_rate
from sluice_bench.bench_stack import BenchStack, Loaded, Tell
from sluice_bench.chain_cost import chain_cost
from sluice_bench.copy_loop import Starts, copy_loop
from sluice_bench.gate_process import GateProcess
from sluice_bench.ingress import load_average, machine, verdict
from sluice_bench.loop_fleet import (
    LoopProcesses,
    chain_arguments,
    per_payment,
    running_chain,
    running_separate,
    train_and_activate,
)
from sluice_bench.loop_traffic import paced_loop, preload_loop
from sluice_bench.loop_watching import (
    AUDIT,
    DECISIONS,
    OUTCOMES,
    WATCHED,
    await_decision,
    chains_since,
    complete,
    count_records,
    recovery_seconds,
    verify_chain,
)
from sluice_bench.payments import LANE, bench_event_id
from sluice_bench.watching import measure_visibility, total, watch_growth

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
BATCH: Final = 2_000
_LEAD_SECONDS: Final = 8.0
"""From handing the work out to the first event: processes start and encode meanwhile."""
_WARM_UP_SECONDS: Final = 3.0
_GIVE_UP_SECONDS: Final = 300.0
_AUDIT_SECONDS: Final = 120.0
_AUDIT_QUIET_SECONDS: Final = 8.0
"""Longer than the decision log takes from one segment to the next while there is anything to seal."""
_WARMING_PAYMENTS: Final = 30_000
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
        return LoopEffort(10, 3, 30_000, 10_000, 30_000, 20_000, 1)
    return LoopEffort(60, 10, 200_000, 40_000, 1_000_000, 40_000, repetitions)


class LoopBench:
    """The parts. Model and warm broker are made when the first part that needs a stack asks for them."""

    def __init__(self, stack: BenchStack, work: LoopEffort) -> None:
        self._stack = stack
        self._work = work
        self._live_rates: list[float] = []

    def prepare(self) -> dict[str, Any]:
        """Put a trained bundle in force and let a first backlog warm the broker up."""
        with running_chain(self._stack.home):
            made = train_and_activate(self._stack.home, self._work.world_events)
            self._load(min(_WARMING_PAYMENTS, self._work.records))
            self._caught_up()
        return made

    def latency(self) -> dict[str, Any]:
        """3,000/s in one process: decisions from the intended send time, and whether all chains are whole."""
        found = []
        for _ in range(self._work.repetitions):
            with running_chain(self._stack.home) as loop:
                found.append(self._paced(loop, STEADY, self._work.seconds))
        p50, p99 = _medians(found)
        return self._spreads(found, STEADY) | {
            "targets_ms": {"p50": TARGETS["latency_p50_ms"], "p99": TARGETS["latency_p99_ms"]},
            "passed": p50 <= TARGETS["latency_p50_ms"]
            and p99 <= TARGETS["latency_p99_ms"]
            and all(one["complete"] for one in found),
        }

    def separate(self) -> dict[str, Any]:
        """1,500/s with every stage its own process."""
        found = []
        for _ in range(self._work.repetitions):
            with running_separate(self._stack.home) as loop:
                found.append(self._paced(loop, SEPARATE, self._work.seconds))
        return self._spreads(found, SEPARATE) | {
            "targets_ms": {"p99": TARGETS["separate_p99_ms"]},
            "passed": _medians(found)[1] <= TARGETS["separate_p99_ms"]
            and all(one["complete"] for one in found),
        }

    def burst(self) -> dict[str, Any]:
        """6,000/s out of silence; seconds from its end until the last of its decisions is there."""
        seconds = []
        count = round(BURST * self._work.burst_seconds)
        for _ in range(self._work.repetitions):
            with running_chain(self._stack.home):
                self._caught_up()
                latencies, late = self._visibility(count, BURST)
            normal = TARGETS["latency_p99_ms"] / 1e3
            back = recovery_seconds(latencies, BURST, normal) - self._work.burst_seconds
            seconds.append(max(0.0, back))
            self._stack.tell(f"burst: back to normal after {seconds[-1]:.1f} s (generator late {late:.2f} s)")
        found = spread(seconds)
        return {
            "events_per_second": BURST,
            "burst_seconds": self._work.burst_seconds,
            "recovery_seconds": found,
            "target_seconds": TARGETS["burst_seconds"],
            "passed": found["median"] <= TARGETS["burst_seconds"],
        }

    def sustained(self) -> dict[str, Any]:
        """Decisions a second on a backlog, beside a bare copy loop that writes as many records and bytes."""
        sizes = _sizes(chain_cost(2_000, 500)["records_of_a_payment"])
        owns, floors, cpu = [], [], []
        for _ in range(self._work.repetitions):
            loaded = self._load(self._work.records)
            before = total(self._stack.ends(DECISIONS))
            watching = self._stack.submit(
                watch_growth, self._stack.plain, DECISIONS, before, loaded.records, _GIVE_UP_SECONDS
            )
            with running_chain(self._stack.home) as loop:
                used = loop.cpu_seconds()
                samples = watching.result()
                cpu.append(per_payment(used, loop.cpu_seconds(), loaded.records))
            owns.append(visible_rate(samples, before, loaded.records))
            floors.append(self._floor(loaded, sizes))
            self._stack.tell(f"sustained: floor {floors[-1]:,.0f}, ours {owns[-1]:,.0f} payments/s")
        self._live_rates += owns
        own = spread(owns)
        return {
            "records": self._work.records,
            "bytes_beside_a_payment": sizes,
            "floor": spread(floors),
            "ours": own,
            "ratio": round(own["median"] / statistics.median(floors), 3),
            "cpu_us_per_payment": cpu,
            "target": TARGETS["sustained_per_second"],
            "passed": own["median"] >= TARGETS["sustained_per_second"],
        }

    def cost(self) -> dict[str, Any]:
        """Microseconds a payment by stage (in memory, two batch sizes) and by process (at 3,000/s)."""
        by_batch = {str(size): chain_cost(self._work.cost_events, size) for size in (150, BATCH)}
        with running_chain(self._stack.home) as loop:
            found = self._paced(loop, STEADY, min(20.0, self._work.seconds))
        return {
            "stages_by_batch": by_batch,
            "processes_cpu_us_per_payment": found["cpu_us_per_payment"],
            "passed": None,
        }

    def replay(self) -> dict[str, Any]:
        """The whole history so far verified, against the highest live rate."""
        if not self._live_rates:
            self.sustained()
        report = self._stack.submit(verify_chain, self._stack.plain).result()
        payments = self._stack.submit(count_records, self._stack.plain, "traffic.payment").result()
        rate, live = payments / report["seconds"], max(self._live_rates)
        return {
            "identical": report["identical"],
            "batches": report["batches"],
            "payments": payments,
            "seconds": report["seconds"],
            "payments_per_second": round(rate),
            "live_payments_per_second": round(live),
            "ratio": round(rate / live, 2),
            "target": TARGETS["replay_ratio"],
            "passed": report["identical"] and rate / live >= TARGETS["replay_ratio"],
        }

    def restart(self) -> dict[str, Any]:
        """Seconds from starting the chain to ready, with payments since its last checkpoint."""
        stack, events = self._stack, self._work.restart_events
        loaded = self._load(events)
        before = total(stack.ends(DECISIONS))
        watching = stack.submit(watch_growth, stack.plain, DECISIONS, before, events, 4 * _GIVE_UP_SECONDS)
        killed = GateProcess(stack.home, *chain_arguments(), *_NO_CHECKPOINTS)
        try:
            watching.result()
        finally:
            killed.kill()
        seconds = []
        for _ in range(self._work.repetitions):
            again = GateProcess(stack.home, *chain_arguments(), *_NO_CHECKPOINTS)
            try:
                seconds.append(again.wait_ready())
            finally:
                again.kill()
            stack.tell(f"restart: serving after {seconds[-1]:.1f} s")
        found = spread(seconds)
        return {
            "payments_since_checkpoint": loaded.records,
            "seconds": found,
            "target_seconds": TARGETS["restart_seconds"],
            "passed": found["median"] <= TARGETS["restart_seconds"],
        }

    # -- what parts are made of

    def _paced(self, loop: LoopProcesses, per_second: int, seconds: float) -> dict[str, Any]:
        self._caught_up()
        starts = {topic: self._stack.ends(topic) for topic in WATCHED}
        count, used = round(per_second * seconds), loop.cpu_seconds()
        latencies, late = self._visibility(count, per_second)
        cpu = per_payment(used, loop.cpu_seconds(), count)
        chains = self._stack.submit(chains_since, self._stack.plain, starts, count, _AUDIT_SECONDS).result()
        warm = latencies[round(per_second * min(_WARM_UP_SECONDS, seconds / 3)) :]
        self._stack.tell(f"{per_second:,}/s: p99 {percentile(warm, 0.99) * 1e3:.0f} ms; {chains}")
        return {
            "latency": latency_summary(warm),
            "generator_late_at_most_ms": round(late * 1e3, 1),
            "payments": count,
            "chains": chains,
            "complete": complete(chains, count),
            "cpu_us_per_payment": cpu,
        }

    def _visibility(self, count: int, per_second: int) -> tuple[list[float], float]:
        """Seconds to each decision in the order of sending, and by how much the generator was late."""
        stack, mark = self._stack, uuid.uuid4().hex[:16]
        start_at = time.monotonic() + _LEAD_SECONDS
        deadline = _LEAD_SECONDS + count / per_second + _GIVE_UP_SECONDS
        reading = stack.submit(
            measure_visibility,
            stack.plain,
            stack.ends(DECISIONS),
            mark,
            count,
            per_second,
            start_at,
            deadline,
        )
        late: float = stack.submit(paced_loop, stack.plain, mark, count, per_second, start_at).result()
        return reading.result(), late

    def _load(self, payments: int) -> Loaded:
        mark, starts = uuid.uuid4().hex[:16], self._stack.ends(LANE)
        size: int = self._stack.submit(preload_loop, self._stack.plain, mark, payments).result(600)
        return Loaded(mark, starts, payments, size)

    def _caught_up(self) -> None:
        """Wait until nothing of earlier parts is left: the last payment is decided, all of it audited."""
        stack, mark, starts = self._stack, uuid.uuid4().hex[:16], self._stack.ends(DECISIONS)
        stack.submit(preload_loop, stack.plain, mark, 1).result()
        waiting = stack.submit(
            await_decision, stack.plain, starts, bench_event_id(mark, 0), 2 * _GIVE_UP_SECONDS
        )
        waiting.result()
        seen, since = self._ends_beside(), time.monotonic()
        while time.monotonic() - since < _AUDIT_QUIET_SECONDS:
            time.sleep(0.5)
            now = self._ends_beside()
            if now != seen:
                seen, since = now, time.monotonic()

    def _ends_beside(self) -> list[Starts]:
        """Ends of what the action layer and the decision log write."""
        return [self._stack.ends(topic) for topic in (OUTCOMES, AUDIT)]

    def _floor(self, loaded: Loaded, sizes: Sequence[int]) -> float:
        stack, topics = self._stack, self._stack.scratch_topics()
        try:
            watching = stack.submit(watch_growth, stack.plain, topics[0], 0, loaded.records, _GIVE_UP_SECONDS)
            copying = stack.submit(
                copy_loop,
                stack.plain,
                loaded.starts,
                topics,
                records=loaded.records,
                batch=BATCH,
                receipt_bytes=sizes[0],
                more_bytes=sizes[1:],
                deadline_seconds=_GIVE_UP_SECONDS,
            )
            copying.result()
            return visible_rate(watching.result(), 0, loaded.records)
        finally:
            stack.drop(topics)

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
    "cost": LoopBench.cost,
    "replay": LoopBench.replay,
    "separate": LoopBench.separate,
    "restart": LoopBench.restart,
}
"""In the order in which they run: what leaves a long history without a checkpoint comes last."""


def run_loop(home: Path, names: Sequence[str], work: LoopEffort, tell: Tell) -> dict[str, Any]:
    """Run the named parts on the substrate under `home`; a part that cannot run says why under `error`."""
    stack = BenchStack(home, tell)
    parts: dict[str, dict[str, Any]] = {}
    try:
        bench = LoopBench(stack, work)
        made = bench.prepare()
        for name, part in LOOP_PARTS.items():
            if name not in names:
                continue
            load, started = load_average(), time.monotonic()
            tell(f"{name} begins, load average {load}")
            try:
                found = part(bench)
            except Exception as error:  # noqa: BLE001 - the other parts still run; this one is reported
                found = {"error": f"{type(error).__name__}: {error}"}
            seconds = round(time.monotonic() - started, 1)
            parts[name] = found | {
                "part_seconds": seconds,
                "load_average": {"before": load, "after": load_average()},
            }
            tell(f"{name} took {seconds} s: {found.get('error') or verdict(found)}")
    finally:
        stack.close()
    return {
        "bench": "loop",
        "machine": machine(),
        "repetitions": work.repetitions,
        "bundle": made,
        "parts": parts,
        "met": [name for name, found in parts.items() if found.get("passed") is True],
        "missed": [name for name, found in parts.items() if found.get("passed") is False],
        "failed": [name for name, found in parts.items() if "error" in found],
    }
