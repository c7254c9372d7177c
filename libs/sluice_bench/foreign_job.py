"""A job of another library that keeps the same windows, and the features stage, on one broker, in turn.

The stage is the real one: its own process, exactly once, checkpoints, metrics and heartbeats on, the shipped
feature set with label risk and graph features, snapshots with hashes. A job keeps windows of customers and
terminals and no more. Both are timed from outside, by the committed end of what they write.
"""

import json
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import psutil

from services.online_features.policy import load_feature_set, load_policy
from sluice_bench.arithmetic import compared, spread, visible_rate
from sluice_bench.bench_stack import BenchStack
from sluice_bench.copy_loop import Starts
from sluice_bench.feature_traffic import preload_features
from sluice_bench.gate_process import running_stage
from sluice_bench.loop_fleet import deployed
from sluice_bench.watching import read_values, total, watch_growth
from sluice_contracts import Decoded, contract_for, decode
from sluice_fleet.topology import SEPARATE
from sluice_kit.config import Wiring
from sluice_kit.config.wiring import POLICY_DIR
from sluice_kit.testing.fresh_topics import make_topics

SERVICE: Final = "online_features"
SNAPSHOTS: Final = "state.online_features.snapshot"
_WATCH_SECONDS: Final = 400.0
_READ_SECONDS: Final = 120.0
_STOP_SECONDS: Final = 60.0
_CLOSE: Final = 1.5
"""Millionths of a minor unit by which a mean may be off: a job's is a double."""


class JobPlace(NamedTuple):
    """What a job is given: its topics (of one partition each), its name and a folder for its state."""

    name: str
    input: str
    output: str
    folder: Path


Given = Callable[[JobPlace], bytes]
"""What a job reads from its standard input."""


class ForeignJob:
    """A job with its topics and its state; each run goes on where the one before ended."""

    def __init__(self, stack: BenchStack, command: Sequence[str], given: Given) -> None:
        name = f"bench-job-{uuid.uuid4().hex[:12]}"
        self.place = JobPlace(name, f"{name}.payments", f"{name}.features", stack.home / name)
        self._stack = stack
        self._command = command
        self._given = given
        self.place.folder.mkdir()
        make_topics(stack.admin, (self.place.input, self.place.output), 1)

    def work_off(self, records: int) -> tuple[float, float]:
        """Start it, wait for `records` more outputs, end it: records a second, CPU microseconds each."""
        stack, output = self._stack, self.place.output
        before = total(stack.ends(output))
        watching = stack.submit(watch_growth, stack.plain, output, before, records, _WATCH_SECONDS)
        with self._running() as process:
            while not watching.done():
                if process.poll() is not None:
                    raise RuntimeError(f"the job ended: {self._last_words()}")
                time.sleep(0.2)
            samples = watching.result()
            used = sum(psutil.Process(process.pid).cpu_times()[:2])
        return visible_rate(samples, before, records), round(used / records * 1e6, 1)

    @contextmanager
    def _running(self) -> Iterator["subprocess.Popen[bytes]"]:
        folder = self.place.folder
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=folder
            )
        try:
            assert process.stdin is not None, "it is a pipe"
            process.stdin.write(self._given(self.place))
            process.stdin.close()
            yield process
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _last_words(self) -> str:
        return (self.place.folder / "log").read_text(encoding="utf-8", errors="replace")[-500:]


def against(
    stack: BenchStack, job: ForeignJob, records: int, repetitions: int, target: float
) -> dict[str, Any]:
    """Job and stage work the same `records` payments off, `repetitions` times; and whether they agree."""
    run_id = f"bench-windows-{uuid.uuid4().hex[:8]}"
    (stage,) = deployed(SEPARATE, (SERVICE,)).members
    floors, owns, cpu = [], [], []
    their_starts: Starts = []
    our_starts: Starts = []
    for number in range(repetitions):
        their_starts, our_starts = stack.ends(job.place.output), stack.ends(SNAPSHOTS)
        loading = stack.submit(
            preload_features, stack.plain, run_id, number * records, records, (job.place.input,)
        )
        loading.result(_WATCH_SECONDS)
        theirs, their_cpu = job.work_off(records)
        ours, our_cpu = work_off(stack, records, *stage.command())
        floors.append(theirs)
        owns.append(ours)
        cpu.append({"floor": their_cpu, "ours": our_cpu})
        stack.tell(f"{number + 1}/{repetitions}: the job {theirs:,.0f}, ours {ours:,.0f} payments/s")
    agreement = stack.submit(agreeing, stack.plain, their_starts, our_starts, records).result(_WATCH_SECONDS)
    return compared(floors, owns, target, "payments_per_second") | {
        "records": records,
        "cpu_us_per_payment": {side: spread([one[side] for one in cpu], 1) for side in ("floor", "ours")},
        "customer_windows": agreement,
    }


def work_off(stack: BenchStack, records: int, *arguments: str) -> tuple[float, float]:
    """Let the stage work a backlog of `records` payments off: payments a second, CPU microseconds each."""
    before = total(stack.ends(SNAPSHOTS))
    watching = stack.submit(watch_growth, stack.plain, SNAPSHOTS, before, records, _WATCH_SECONDS)
    with running_stage(stack.home, SERVICE, *arguments) as stage:
        started = stage.cpu_seconds_when_ready()
        samples = watching.result()
        used = stage.cpu_seconds() - started
    return visible_rate(samples, before, records), round(used / records * 1e6, 1)


def agreeing(wiring: dict[str, Any], theirs: Starts, ours: Starts, records: int) -> dict[str, Any]:
    """Hold the job's customer windows against the stage's snapshots, payment by payment."""
    made = Wiring(**wiring)
    rows = map(json.loads, read_values(made, theirs, records, _READ_SECONDS))
    found = {row["event_id"]: row for row in rows}
    names = _names()
    same = compared_payments = 0
    for value in read_values(made, ours, records, _READ_SECONDS):
        snapshot = decode(value)
        assert isinstance(snapshot, Decoded), snapshot
        row = found.get(snapshot.fields["event_id"])
        if row is not None:
            compared_payments += 1
            same += agree(names, snapshot.fields["values"], row)
    return {"compared": compared_payments, "same": same}


def agree(names: Sequence[str], values: Sequence[int], row: Mapping[str, Any]) -> bool:
    """Whether a snapshot's customer windows are those of the job's `row`; means to a millionth and a half."""
    own = dict(zip(names, values, strict=True))
    return all(
        own[name] == row[name]
        if name.startswith("customer_count")
        else abs(own[name] - row[name] * 1e6) <= _CLOSE
        for name in row
        if name.startswith("customer_")
    )


def payment_schema() -> Any:
    """The Avro schema of a payment for a job."""
    return plain_times(contract_for("payment").schema)


def plain_times(schema: Any) -> Any:
    """An Avro schema whose times are plain longs: quicker to read, and what the windows count in."""
    if isinstance(schema, dict):
        return {
            name: plain_times(part) for name, part in schema.items() if name not in {"logicalType", "sluice"}
        }
    if isinstance(schema, list):
        return [plain_times(part) for part in schema]
    return schema


def _names() -> list[str]:
    policy = load_policy(POLICY_DIR)
    return [spec.name for spec in load_feature_set(POLICY_DIR, policy.feature_set).features]
