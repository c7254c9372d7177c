"""The gate with millions of known keys: its memory, and what an event and a key cost it at each size.

A process fills the gate's own key index with made-up admissions, on top of what the stopped gate had sealed,
seals it as a checkpoint and announces that in the basis log. The real gate then starts from it and admits.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import psutil
from confluent_kafka import Consumer, Producer

from services.ingestion_gate.disk_keys import DiskKeys
from services.ingestion_gate.model import Admission
from services.ingestion_gate.stage import NAME, GateStage
from services.ingestion_gate.state import GateState
from sluice_bench.arithmetic import spread
from sluice_bench.bench_stack import RECEIPTS, BenchStack
from sluice_bench.gate_process import running_gate
from sluice_bench.index_bench import digest_rows
from sluice_bench.watching import total, watch_growth
from sluice_kit.artifacts import open_artifacts
from sluice_kit.config import Wiring
from sluice_kit.kafka import reader_config, transactional_producer_config
from sluice_kit.stage import ChainSpec, Coordinate
from sluice_kit.stage.announcing import announcement
from sluice_kit.stage.basis import BasisLog
from sluice_kit.stage.checkpoint import Checkpointer, CheckpointPoint

TARGET_MIB: Final = 600
FLAT: Final = 1.1
"""How much dearer an event may be at the larger size and still count as flat."""
_ADMISSIONS: Final = 3
_GROW_ROWS: Final = 8_000
_BATCH: Final = 2_000
_ROUNDS: Final = 60
_ROW_SETTLE_SECONDS: Final = 3.0
_FRESH_FROM: Final = 10**12
_SEAL_SECONDS: Final = 240.0
_MIB: Final = 1 << 20


def memory(stack: BenchStack, sizes: tuple[int, int], admitted: int) -> dict[str, Any]:
    """RSS of the gate and what an event costs it, at both sizes, while it admits `admitted` events."""
    with running_gate(stack.home) as gate:
        gate.wait_ready()
        base = gate.rss_bytes()
    known = 0
    at: list[dict[str, Any]] = []
    for size in sizes:
        stack.tell(f"memory: filling the key index up to {size:,} keys")
        key: dict[str, Any] = stack.submit(fill, stack.plain, known, size).result(1_200)
        known = size
        runs = [_admitting(stack, admitted) for _ in range(_ADMISSIONS)]
        at.append(
            {
                "keys": size,
                "key": key,
                "gate_cpu_us_per_event": spread([run.cpu_us for run in runs]),
                "gate_rss_mib": {
                    "peak_while_admitting": max(run.peak for run in runs) // _MIB,
                    "after": runs[-1].settled // _MIB,
                },
                "start_seconds": round(runs[0].ready, 2),
            }
        )
    costs = [one["gate_cpu_us_per_event"]["median"] for one in at]
    peak = at[-1]["gate_rss_mib"]["peak_while_admitting"]
    return {
        "keys": sizes[-1],
        "gate_rss_mib_without_keys": base // _MIB,
        "admitted": admitted,
        "at": at,
        "cost_growth": round(costs[-1] / costs[0], 3),
        "target_mib": TARGET_MIB,
        "target_growth": FLAT,
        "passed": peak <= TARGET_MIB and costs[-1] / costs[0] <= FLAT,
    }


class _Admitting(NamedTuple):
    """What a gate took to admit a backlog: CPU of the whole process an event, memory in bytes."""

    ready: float
    cpu_us: float
    peak: int
    settled: int


def _admitting(stack: BenchStack, admitted: int) -> _Admitting:
    before = total(stack.ends(RECEIPTS))
    loaded = stack.load(admitted)
    watching = stack.submit(watch_growth, stack.plain, RECEIPTS, before, loaded.records, 300.0)
    peak = 0
    with running_gate(stack.home) as gate:
        ready = gate.wait_ready()
        started = gate.cpu_seconds()
        while not watching.done():
            peak = max(peak, gate.rss_bytes())
            time.sleep(0.1)
        watching.result()
        used = gate.cpu_seconds() - started
        return _Admitting(ready, used / loaded.records * 1e6, peak, gate.rss_bytes())


def fill(plain: dict[str, Any], known: int, size: int) -> dict[str, Any]:
    """Grow the stopped gate's index from `known` made-up keys to `size`, seal and announce that.

    Returns what it costs to look a key up and add it then.
    """
    wiring = Wiring(**plain)
    folder = wiring.state_dir / NAME / "0"
    keys = DiskKeys(folder)
    state = GateState(keys)
    spec = ChainSpec([GateStage(state)])
    checkpointer = Checkpointer(open_artifacts(wiring), folder, service=NAME, shard=0, code_rev=spec.code_rev)
    basis = BasisLog(
        Consumer(reader_config(wiring, NAME, group=f"{NAME}-bench-basis") | {"enable.partition.eof": True}),
        f"basis.{NAME}",
        0,
    )
    found = basis.last()
    assert found is not None, "the gate has drained before this"
    offset, last = found
    assert last.checkpoint is not None, "a drained gate has a checkpoint"
    manifest = checkpointer.read(last.checkpoint)
    checkpointer.restore(state, manifest)
    checkpointer.adopt(last.checkpoint, manifest)
    growing = _Growing(keys, last.batch_no, known)
    cost = growing.to(size)
    point = CheckpointPoint(
        growing.batch_no, last.now, offset + 1, {(t, p): at for t, p, at in manifest.positions}
    )
    checkpointer.start(state.freeze(), point)
    locator = checkpointer.finished(wait_seconds=_SEAL_SECONDS)
    assert locator is not None, checkpointer.problem
    checkpointer.publish()
    config = transactional_producer_config(wiring, NAME, transactional_id=last.transactional_id)
    producer = Producer(config)
    producer.init_transactions(30)
    record = announcement(
        service=NAME,
        shard=0,
        instance="bench",
        code_rev=spec.code_rev,
        transactional_id=last.transactional_id,
        batch_no=growing.batch_no,
        now=last.now,
        checkpoint=locator,
        chain=None,
    )
    producer.begin_transaction()
    producer.produce(f"basis.{NAME}", record.encode(), None, 0)
    producer.commit_transaction(30)
    keys.index.close()
    return cost


class _Growing:
    """The index on its way from size to size; batch numbers go on from the gate's last."""

    def __init__(self, keys: DiskKeys, batch_no: int, made: int) -> None:
        self._keys = keys
        self.batch_no = batch_no
        self._made = made
        self._probes = _FRESH_FROM + made
        self._peak = 0

    def to(self, size: int) -> dict[str, Any]:
        """Grow to `size` made-up keys, then measure look-up and add of batches that are new."""
        for first in range(self._made, size, _GROW_ROWS):
            rows, keys = digest_rows(min(_GROW_ROWS, size - first), first)
            self.batch_no += 1
            self._keys.index.apply(rows, self.batch_no, keys)
            if first % (_GROW_ROWS * 50) == 0:
                self._peak = max(self._peak, psutil.Process().memory_info().rss)
        time.sleep(_ROW_SETTLE_SECONDS)  # merges end; a key's cost is what is measured, not theirs
        cpu, wall = zip(*[self._round() for _ in range(_ROUNDS)], strict=True)
        self._peak = max(self._peak, psutil.Process().memory_info().rss)
        return {
            "keys": size,
            "cpu_us_per_event": round(statistics.median(cpu), 3),
            "wall_us_per_event": round(statistics.median(wall), 3),
            "wall_us_spread": [round(min(wall), 3), round(max(wall), 3)],
            "index_process_peak_mib": self._peak // _MIB,
        }

    def _round(self) -> tuple[float, float]:
        """Look a batch of new keys up and add it: microseconds an event, CPU and wall."""
        _, keys = digest_rows(_BATCH, self._probes)
        self._probes += _BATCH
        admitted = {key: Admission(number, key * 2, 0, 0) for number, key in enumerate(keys)}
        places = [Coordinate("traffic.payment", number % 4, number) for number in range(_BATCH)]
        clocks: tuple[Callable[[], float], ...] = (time.thread_time, time.perf_counter)
        before = [clock() for clock in clocks]
        unknown = self._keys.lookup(keys)
        self.batch_no += 1
        self._keys.add(admitted, places, self.batch_no)
        cpu, wall = (clock() - then for clock, then in zip(clocks, before, strict=True))
        assert unknown.count(None) == _BATCH, "made-up keys are distinct"
        return cpu / _BATCH * 1e6, wall / _BATCH * 1e6
