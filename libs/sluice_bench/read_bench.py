"""Reading snapshots by HTTP from the features stage, against a dictionary served by the same kind of server.

The generator is a process of its own and counts from when a request was due. Floor and ours are read in turn
while both run. What is read is what the stage has at hand, as after a decision.
"""

import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx
import orjson

from sluice_bench.arithmetic import latency_summary, percentile, spread
from sluice_bench.bench_stack import BenchStack
from sluice_bench.feature_traffic import paced_features, preload_features
from sluice_bench.foreign_job import SERVICE, SNAPSHOTS
from sluice_bench.gate_process import StageProcess, running_stage
from sluice_bench.payments import bench_event_id
from sluice_bench.reading_load import Reads, read_steadily
from sluice_bench.watching import total, watch_growth

TARGET: Final = 2.0
PER_SECOND: Final = 300
CONNECTIONS: Final = 4
SNAPSHOTS_AT_HAND: Final = 20_000
DOCUMENTS: Final = 2_000
"""How many different ones are read."""
FLOW_PER_SECOND: Final = 500
_FLOW_LEAD_SECONDS: Final = 4.0
"""The generator encodes meanwhile."""
_FLOW_SECONDS: Final = 15.0
"""Short enough that what is read stays at hand."""
_TOKEN: Final = "token_operator"
_WARM_UP_SECONDS: Final = 2.0
_START_SECONDS: Final = 30.0
_WATCH_SECONDS: Final = 120.0
_MORE_SECONDS: Final = 60.0


def read(stack: BenchStack, seconds: float, repetitions: int) -> dict[str, Any]:
    """p99 of `GET /v1/features` at a steady rate; the ratio is ours to the floor, so less is better."""
    run_id = f"bench-read-{uuid.uuid4().hex[:8]}"
    token = stack.wiring.secret_source.get(_TOKEN)
    paths = [
        f"/v1/features?tenant=default&run_id={run_id}"
        f"&event_id={bench_event_id(run_id, SNAPSHOTS_AT_HAND - 1 - number)}"
        for number in range(DOCUMENTS)
    ]
    floors: list[Reads] = []
    owns: list[Reads] = []
    with _stage_with_snapshots(stack, run_id) as stage:
        documents = _documents(stage.url(), paths, token)
        with _dictionary(stack.home, documents) as bare:
            readers = _Readers(stack, token, paths)
            for url in (bare, stage.url()):  # first use of connections and code
                readers.read(url, _WARM_UP_SECONDS)
            for number in range(repetitions):
                floors.append(readers.read(bare, seconds))
                owns.append(readers.read(stage.url(), seconds))
                stack.tell(
                    f"read {number + 1}/{repetitions}: p99 of the dictionary "
                    f"{percentile(floors[-1].seconds, 0.99) * 1e3:.2f} ms, ours "
                    f"{percentile(owns[-1].seconds, 0.99) * 1e3:.2f} ms"
                )
            flowing = _while_payments_flow(readers, run_id, min(seconds, _FLOW_SECONDS), bare, stage.url())
    return reading(floors, owns) | {
        "while_payments_flow": flowing,
        "reads_per_second": PER_SECOND,
        "connections": CONNECTIONS,
        "seconds": seconds,
        "documents": DOCUMENTS,
    }


class _Readers(NamedTuple):
    """The generator, in a process of its own."""

    stack: BenchStack
    token: str
    paths: Sequence[str]

    def read(self, url: str, seconds: float) -> Reads:
        """Read for so long."""
        work = self.stack.submit(read_steadily, url, self.token, self.paths, PER_SECOND, seconds, CONNECTIONS)
        found: Reads = work.result(seconds + _MORE_SECONDS)
        return found


def _while_payments_flow(
    readers: _Readers, run_id: str, seconds: float, bare: str, own: str
) -> dict[str, Any]:
    """The same once while the stage steps: the dictionary is read on a machine that is as busy."""
    stack, count = readers.stack, round(FLOW_PER_SECOND * (2 * seconds + _FLOW_LEAD_SECONDS))
    start_at = time.monotonic() + _FLOW_LEAD_SECONDS
    flow = stack.submit(
        paced_features, stack.plain, run_id, SNAPSHOTS_AT_HAND, count, FLOW_PER_SECOND, start_at
    )
    time.sleep(_FLOW_LEAD_SECONDS + 1)
    floor, ours = readers.read(bare, seconds), readers.read(own, seconds)
    late = flow.result(seconds + _MORE_SECONDS)
    found = reading([floor], [ours])
    told = ("floor", "ours", "ratio", "all_of_ours", "generator_late_at_most_ms")
    return {name: found[name] for name in told} | {
        "payments_per_second": FLOW_PER_SECOND,
        "payments_late_at_most_ms": round(late * 1e3, 1),
    }


def reading(floors: Sequence[Reads], owns: Sequence[Reads]) -> dict[str, Any]:
    """Percentiles of both sides, and the ratio of the medians of p99 held against the target."""
    sides: dict[str, Any] = {
        side: {
            name: spread([percentile(one.seconds, share) * 1e3 for one in found])
            for name, share in (("p50_ms", 0.5), ("p99_ms", 0.99))
        }
        | {"bytes": found[0].average_bytes}
        for side, found in (("floor", floors), ("ours", owns))
    }
    ratio = sides["ours"]["p99_ms"]["median"] / sides["floor"]["p99_ms"]["median"]
    return sides | {
        "all_of_ours": latency_summary([taken for one in owns for taken in one.seconds]),
        "generator_late_at_most_ms": round(max(one.late_at_most for one in (*floors, *owns)) * 1e3, 1),
        "ratio": round(ratio, 3),
        "ratio_is": "ours to floor, p99",
        "target": TARGET,
        "passed": ratio <= TARGET,
    }


@contextmanager
def _stage_with_snapshots(stack: BenchStack, run_id: str) -> Iterator[StageProcess]:
    before = total(stack.ends(SNAPSHOTS))
    with running_stage(stack.home, SERVICE) as stage:
        stage.wait_ready()
        watching = stack.submit(
            watch_growth, stack.plain, SNAPSHOTS, before, SNAPSHOTS_AT_HAND, _WATCH_SECONDS
        )
        stack.submit(preload_features, stack.plain, run_id, 0, SNAPSHOTS_AT_HAND).result(_WATCH_SECONDS)
        watching.result()
        yield stage


def _documents(url: str, paths: Sequence[str], token: str) -> dict[str, Any]:
    """What the stage answers, by event id. Raises RuntimeError when it has no answer."""
    found = {}
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=30) as client:
        for path in paths:
            answer = client.get(path)
            if answer.status_code != httpx.codes.OK:
                raise RuntimeError(f"{path} was answered with {answer.status_code}: {answer.text[:200]}")
            document = answer.json()
            found[document["event_id"]] = document
    return found


@contextmanager
def _dictionary(home: Path, documents: dict[str, Any]) -> Iterator[str]:
    """The base URL of a process that serves `documents`. Raises RuntimeError when it does not start."""
    content, out = home / "bench-documents.json", home / "bench-dictionary.url"
    content.write_bytes(orjson.dumps(documents))
    out.unlink(missing_ok=True)
    module = "sluice_bench.dictionary_server"
    process = subprocess.Popen([sys.executable, "-m", module, "--documents", str(content), "--out", str(out)])
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not out.is_file():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the dictionary's server does not start")
            time.sleep(0.05)
        yield out.read_text(encoding="utf-8")
    finally:
        process.terminate()
        process.wait(30)
