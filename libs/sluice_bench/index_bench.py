"""The dedupe index by itself: cost a key, memory, seal and open, at one and at twenty million keys.

Every size runs in a process of its own, so that its memory is its own. Costs are stated twice: CPU of the
calling thread, which other work on the machine hardly moves, and wall time, which it does.
"""

from __future__ import annotations

import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil

from sluice_kit.index import Manifest, RowLayout, Rows, SegmentIndex

LAYOUT: Final = RowLayout(
    [
        ("key", "V16"),
        ("payload_hash", "V32"),
        ("ts_utc", "<i8"),
        ("offset", "<i8"),
        ("run_no", "<u4"),
        ("partition", "<u2"),
        ("topic", "<u2"),
    ]
)
SIZES: Final = (1_000_000, 20_000_000)
BATCHES: Final = (30, 2000)
_GROW_ROWS: Final = 8_000
_SEAL_EVERY_ROWS: Final = 1_000_000
_SETTLE_SECONDS: Final = 120.0
_PROMISE_SECONDS: Final = 120.0
_ABSENT_FROM: Final = 10**15
_MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class LookupCost:
    """Microseconds a key: medians over the batches of one round; CPU of the calling thread, and wall time."""

    batch: int
    present: bool
    cpu_us: float
    wall_us: float


def index_bench(folder: Path | None = None, sizes: Sequence[int] = SIZES, rounds: int = 3) -> dict[str, Any]:
    """Measure each size in a fresh process; needs about 200 bytes of disk a key in `folder`."""
    context = multiprocessing.get_context("spawn")
    results = []
    with tempfile.TemporaryDirectory(dir=folder) as home:
        for size in sizes:
            with context.Pool(1) as pool:
                results.append(pool.apply(_measure, (str(Path(home) / str(size)), size, rounds)))
    return {"bench": "index", "row_bytes": LAYOUT.row_bytes, "sizes": results}


def digest_rows(count: int, first: int) -> tuple[Rows, list[bytes]]:
    """Rows numbered from `first`; their keys are mixed numbers, as evenly spread as digests."""
    numbers = np.arange(first, first + count, dtype=np.uint64)
    words = np.empty((count, 2), dtype=np.uint64)
    words[:, 0] = _mixed(numbers + np.uint64(1))
    words[:, 1] = _mixed(words[:, 0] ^ np.uint64(77))
    rows = np.zeros(count, dtype=LAYOUT.dtype)
    matrix = LAYOUT.as_bytes(rows)
    matrix[:, :16] = words.view(np.uint8).reshape(count, 16)
    matrix[:, 16:32] = matrix[:, :16]
    rows["offset"] = numbers.astype(np.int64)
    return rows, LAYOUT.keys(rows)


def _mixed(numbers: np.ndarray[Any, np.dtype[np.uint64]]) -> np.ndarray[Any, np.dtype[np.uint64]]:
    # splitmix64's finaliser
    mixed = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _measure(folder: str, size: int, rounds: int) -> dict[str, Any]:
    process = psutil.Process()
    base = process.memory_info().rss
    index = SegmentIndex.open(Path(folder), LAYOUT)
    grown, peak = _grow(index, size)
    _settle(index)
    measured = [asdict(cost) for _ in range(rounds) for cost in _look_up(index, size)]
    started = time.perf_counter()
    promise = index.seal()
    seal_ms = (time.perf_counter() - started) * 1e3
    manifest = promise.result(_PROMISE_SECONDS)
    status = index.status()
    settled = process.memory_info().rss
    index.close()
    return {
        "keys": size,
        "base_mib": base // _MIB,
        "peak_mib": peak // _MIB,
        "settled_mib": settled // _MIB,
        "segments": status.segments,
        "apply_cpu_us": round(grown["apply_cpu_us"], 3),
        "seal_call_ms": [round(milliseconds, 3) for milliseconds in (*grown["seals"], seal_ms)],
        "open_seconds": round(_open_seconds(Path(folder), manifest), 3),
        "lookups": measured,
    }


def _grow(index: SegmentIndex, size: int) -> tuple[dict[str, Any], int]:
    process = psutil.Process()
    applying = 0.0
    peak = 0
    seals: list[float] = []
    for batch_no, first in enumerate(range(0, size, _GROW_ROWS)):
        rows, keys = digest_rows(min(_GROW_ROWS, size - first), first)
        started = time.thread_time()
        index.apply(rows, batch_no, keys)
        applying += time.thread_time() - started
        peak = max(peak, process.memory_info().rss)
        if first % _SEAL_EVERY_ROWS == 0:
            started = time.perf_counter()
            promise = index.seal()
            seals.append((time.perf_counter() - started) * 1e3)
            index.collect_garbage([promise.result(_PROMISE_SECONDS)])
    return {"apply_cpu_us": applying / size * 1e6, "seals": seals}, peak


def _settle(index: SegmentIndex) -> None:
    """Wait until writes and merges have caught up: the segments stay the same for two seconds."""
    deadline = time.monotonic() + _SETTLE_SECONDS
    quiet_since = time.monotonic()
    last = index.status()
    while time.monotonic() - quiet_since < 2.0 and time.monotonic() < deadline:
        time.sleep(0.2)
        now = index.status()
        if now != last:
            last, quiet_since = now, time.monotonic()


def _look_up(index: SegmentIndex, size: int) -> list[LookupCost]:
    generator = np.random.default_rng(size)
    costs = []
    for batch in BATCHES:
        turns = max(40, 6000 // batch)
        firsts = generator.integers(0, size - batch, turns).tolist()
        costs.append(_cost(index, batch, firsts, present=True))
        costs.append(_cost(index, batch, [_ABSENT_FROM + first for first in firsts], present=False))
    return costs


def _cost(index: SegmentIndex, batch: int, firsts: list[int], *, present: bool) -> LookupCost:
    asked = [digest_rows(batch, first)[1] for first in firsts]
    clocks: tuple[Callable[[], float], Callable[[], float]] = (time.thread_time, time.perf_counter)
    spent: list[tuple[float, float]] = []
    for keys in asked:
        before = [clock() for clock in clocks]
        answers = index.lookup(keys)
        cpu, wall = (clock() - then for clock, then in zip(clocks, before, strict=True))
        spent.append((cpu, wall))
        if answers.count(None) != (0 if present else batch):
            raise RuntimeError(
                f"wrong answers: {answers.count(None)} of {batch} keys not found, present={present}"
            )
    cpu_us, wall_us = (
        round(statistics.median(column) / batch * 1e6, 3) for column in zip(*spent, strict=True)
    )
    return LookupCost(batch, present, cpu_us, wall_us)


def _open_seconds(folder: Path, manifest: Manifest) -> float:
    started = time.perf_counter()
    SegmentIndex.open(folder, LAYOUT, manifest).close()
    return time.perf_counter() - started
