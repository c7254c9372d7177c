"""The features stage against a Quix Streams job that keeps the same windows, on one broker, in turn.

The stage is the real one: its own process, exactly once, checkpoints, metrics and heartbeats on, the shipped
feature set with label risk and graph features, snapshots with hashes. The job keeps windows of customers and
terminals and no more. Both are timed from outside, by the committed end of what they write.
"""

import json
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import psutil
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]

from services.online_features.policy import load_feature_set, load_policy
from sluice_bench.arithmetic import compared, spread, visible_rate
from sluice_bench.bench_stack import BenchStack
from sluice_bench.copy_loop import PRINCIPAL, Starts
from sluice_bench.feature_traffic import preload_features
from sluice_bench.gate_process import running_stage
from sluice_bench.watching import read_values, total, watch_growth
from sluice_contracts import Decoded, contract_for, decode
from sluice_kit.config import Wiring
from sluice_kit.config.wiring import POLICY_DIR
from sluice_kit.kafka import client_config

SERVICE: Final = "online_features"
SNAPSHOTS: Final = "state.online_features.snapshot"
TARGET: Final = 2.0
VERSION: Final = "3.28.1"
COMMIT_SECONDS: Final = 5.0
"""The library's default."""
_WATCH_SECONDS: Final = 400.0
_INSTALL_SECONDS: Final = 300.0
_STOP_SECONDS: Final = 60.0
_CLOSE: Final = 1.5
"""Millionths of a minor unit by which a mean may be off: theirs is a double."""


class NoQuix(Exception):
    """There is no environment with the library, and none could be made."""


def quix(
    stack: BenchStack, records: int, repetitions: int, python: Path | None, commit: float
) -> dict[str, Any]:
    """Payments a second of job and stage in turn; `python` is an interpreter that has `quixstreams`.

    Where none is given one is made under the stack's folder. `commit`: seconds between the job's commits.
    """
    try:
        interpreter = python or _environment(stack.home / "quix")
        version = _version(interpreter)
    except NoQuix as error:
        return {"skipped": str(error), "passed": None}
    job = QuixJob(stack, interpreter, partitions=1, commit_seconds=commit)
    run_id = f"bench-quix-{uuid.uuid4().hex[:8]}"
    floors, owns, cpu = [], [], []
    their_starts: Starts = []
    our_starts: Starts = []
    for number in range(repetitions):
        their_starts, our_starts = stack.ends(job.output), stack.ends(SNAPSHOTS)
        stack.submit(preload_features, stack.plain, run_id, number * records, records, (job.input,)).result(
            _WATCH_SECONDS
        )
        theirs, their_cpu = job.work_off(records)
        ours, our_cpu = work_off(stack, records)
        floors.append(theirs)
        owns.append(ours)
        cpu.append({"floor": their_cpu, "ours": our_cpu})
        stack.tell(f"quix {number + 1}/{repetitions}: {theirs:,.0f}, ours {ours:,.0f} payments/s")
    agreement = stack.submit(agreeing, stack.plain, their_starts, our_starts, records).result(_WATCH_SECONDS)
    return compared(floors, owns, TARGET, "payments_per_second") | {
        "records": records,
        "quixstreams": version,
        "job": {
            "state": "state API, packed bytes a key",
            "input_partitions": 1,
            "commit_seconds": commit,
            "repartition_topic": False,
        },
        "cpu_us_per_payment": {side: spread([one[side] for one in cpu], 1) for side in ("floor", "ours")},
        "customer_windows": agreement,
    }


class QuixJob:
    """The job with its topics, consumer group and state; several runs go on where the one before ended."""

    def __init__(self, stack: BenchStack, python: Path, *, partitions: int, commit_seconds: float) -> None:
        stem = f"bench-quix-{uuid.uuid4().hex[:12]}"
        self.input, self.output = f"{stem}.payments", f"{stem}.features"
        self._stack = stack
        self._python = python
        self._folder = stack.home / stem
        wanted = [NewTopic(name, partitions, 1) for name in (self.input, self.output)]
        for future in stack.admin.create_topics(wanted).values():
            future.result(30)
        connection = client_config(stack.wiring, PRINCIPAL)
        self._given = {
            "connection": connection,
            "input": self.input,
            "output": self.output,
            "group": stem,
            "schema": plain_times(contract_for("payment").schema),
            "state_dir": str(self._folder),
            "commit_seconds": commit_seconds,
        }

    def work_off(self, records: int) -> tuple[float, float]:
        """Start it, wait for `records` more outputs, end it: records a second, CPU microseconds each."""
        stack = self._stack
        before = total(stack.ends(self.output))
        watching = stack.submit(watch_growth, stack.plain, self.output, before, records, _WATCH_SECONDS)
        with self._running() as process:
            while not watching.done():
                if process.poll() is not None:
                    raise RuntimeError(f"the Quix Streams job ended: {self._last_words()}")
                time.sleep(0.2)
            samples = watching.result()
            used = sum(psutil.Process(process.pid).cpu_times()[:2])
        return visible_rate(samples, before, records), round(used / records * 1e6, 1)

    @contextmanager
    def _running(self) -> Iterator["subprocess.Popen[bytes]"]:
        self._folder.mkdir(exist_ok=True)
        script = str(files("sluice_bench") / "quix_job.py")
        with (self._folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [str(self._python), script], stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=self._folder
            )
        try:
            assert process.stdin is not None, "it is a pipe"
            process.stdin.write(json.dumps(self._given).encode())
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
        return (self._folder / "log").read_text(encoding="utf-8", errors="replace")[-500:]


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
    found = {row["event_id"]: row for row in map(json.loads, read_values(made, theirs, records, 120.0))}
    names = _names()
    same = compared_payments = 0
    for value in read_values(made, ours, records, 120.0):
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


def _environment(folder: Path) -> Path:
    """An environment with the library. Raises NoQuix naming what went wrong."""
    python = folder / "bin" / "python"
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        [
            str(python),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            f"quixstreams=={VERSION}",
        ],
    ):
        done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False)
        if done.returncode:
            said = (done.stdout + done.stderr).strip()[-300:]
            raise NoQuix(f"no environment with quixstreams {VERSION}: {said}")
    return python


def _version(python: Path) -> str:
    ask = "import importlib.metadata as m, quixstreams; print(m.version('quixstreams'))"
    try:
        done = subprocess.run(
            [str(python), "-c", ask], capture_output=True, text=True, timeout=60, check=False
        )
    except OSError as error:
        raise NoQuix(f"{python} cannot be run: {error}") from error
    if done.returncode:
        raise NoQuix(f"{python} has no quixstreams: {done.stderr.strip()[-300:]}")
    return done.stdout.strip()
