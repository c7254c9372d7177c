"""Admission of a backlog: the real gate against a bare transactional copy loop over the same lane records.

Both are timed alike, from outside: a process of its own samples the committed end of the receipt topic and
sees the first and the last batch appear, so that starting up is in neither.
"""

import json
from typing import Any, Final

from sluice_bench.arithmetic import compared, spread, visible_rate
from sluice_bench.bench_stack import RECEIPTS, BenchStack, Loaded
from sluice_bench.copy_loop import copy_loop
from sluice_bench.gate_process import PROBE, running_gate
from sluice_bench.watching import count_receipts, total, watch_growth

TARGET: Final = 0.4
BATCHES: Final = (500, 2_000, 5_000)
DEFAULT_BATCH: Final = 2_000
_WARM_UP: Final = 200_000
"""Five records of each: in its first minute a JVM takes three times as long for a copy as after a million."""
_WATCH_SECONDS: Final = 240.0


def admission(stack: BenchStack, records: int, repetitions: int, batches: tuple[int, ...]) -> dict[str, Any]:
    """Floor and ours alternate for every batch size; the headline is the default batch size, if asked for."""
    warming = stack.load(_WARM_UP)
    _, receipt_bytes, _ = ours(stack, warming, DEFAULT_BATCH)
    floor(stack, warming, DEFAULT_BATCH, receipt_bytes)
    by_batch: dict[int, dict[str, Any]] = {}
    for batch in batches:
        floors, owns, cpu = [], [], []
        for number in range(repetitions):
            loaded = stack.load(records)
            own, receipt_bytes, used = ours(stack, loaded, batch)
            floors.append(floor(stack, loaded, batch, receipt_bytes))
            owns.append(own)
            cpu.append(used)
            stack.tell(
                f"admission, batch {batch}, {number + 1}/{repetitions}: "
                f"floor {floors[-1]:,.0f}, gate {own:,.0f} events/s"
            )
        by_batch[batch] = compared(floors, owns, TARGET) | {
            "event_bytes": loaded.size // records,
            "receipt_bytes": receipt_bytes,
            "gate_cpu_us_per_event": spread(cpu),
        }
    headline = DEFAULT_BATCH if DEFAULT_BATCH in by_batch else batches[0]
    return by_batch[headline] | {
        "records": records,
        "batch": headline,
        "by_batch": {str(batch): found for batch, found in by_batch.items()},
    }


def ours(stack: BenchStack, loaded: Loaded, batch: int) -> tuple[float, int, float]:
    """Events a second of the gate on a backlog, its average receipt in bytes, its CPU microseconds an event.

    The CPU time is that of the whole process, its threads and librdkafka's included, starting up left out.

    Raises RuntimeError unless every record of the backlog was admitted.
    """
    before = stack.ends(RECEIPTS)
    watching = stack.submit(
        watch_growth, stack.plain, RECEIPTS, total(before), loaded.records, _WATCH_SECONDS
    )
    with running_gate(stack.home, "--max-batch", str(batch)) as gate:
        started = gate.cpu_seconds_when_ready()
        samples = watching.result()
        used = gate.cpu_seconds() - started
    found = stack.submit(count_receipts, stack.plain, before, loaded.records).result()
    if found["decisions"] != {"ADMIT": loaded.records}:
        raise RuntimeError(f"the gate was to admit {loaded.records} payments: {found['decisions']}")
    rate = visible_rate(samples, total(before), loaded.records)
    return rate, found["average_bytes"], used / loaded.records * 1e6


def floor(stack: BenchStack, loaded: Loaded, batch: int, receipt_bytes: int) -> float:
    """Events a second of the copy loop over the same records."""
    topics = stack.scratch_topics()
    try:
        watching = stack.submit(watch_growth, stack.plain, topics[1], 0, loaded.records, _WATCH_SECONDS)
        copying = stack.submit(
            copy_loop,
            stack.plain,
            loaded.starts,
            topics,
            records=loaded.records,
            batch=batch,
            receipt_bytes=receipt_bytes,
        )
        copying.result()
        return visible_rate(watching.result(), 0, loaded.records)
    finally:
        stack.drop(topics)


def profile(stack: BenchStack, records: int) -> dict[str, Any]:
    """Where the time goes: one unmeasured run under cProfile, which itself makes it slower."""
    loaded = stack.load(records)
    out = stack.home / "probe.json"
    before = total(stack.ends(RECEIPTS))
    watching = stack.submit(watch_growth, stack.plain, RECEIPTS, before, loaded.records, _WATCH_SECONDS)
    with running_gate(stack.home, "--probe-out", str(out), "--probe-profile", module=PROBE):
        watching.result()
    found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))["profile"]
    return {"records": records, **found}
