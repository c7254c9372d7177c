"""The decision log against a bare consumer of the same records.

Hand-made chains stand on the bus: payment, receipt, snapshot, decision, intent, outcome, and the receipts
of the last three, which the log passes over. Floor: confluent-kafka reads them all and counts. Ours: the
service as a process reads, joins, seals, signs and commits them; timed from when it is ready to the head that
covers the last record.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import psutil
from confluent_kafka import Consumer, TopicPartition

from services.decision_log.settings import CONSUMES
from services.decision_log.testing import hand_made, messages_of
from services.decision_log.testing_service import BusWriter, LogProcess, sql
from sluice_bench.process_cpu import CpuUsed
from sluice_contracts import TOPICS
from sluice_kit.config import Wiring
from sluice_kit.kafka import reader_config
from sluice_kit.places import Place

PRINCIPAL: Final = "admin"
TARGET: Final = 6_000
"""Payments a second from a backlog: the burst that the loop has to take."""
_PACED_PER_SECOND: Final = 3_000
_LOOK_SECONDS: Final = 0.1
_GIVE_UP_SECONDS: Final = 600.0
_POLICY: Final = "wait_seconds: 30\nseal_seconds: 2\n"
Say = Callable[[str], None]


def run(
    wiring: Wiring, wiring_file: Path, *, payments: int, repetitions: int, paced_seconds: int, say: Say
) -> dict[str, Any]:
    """Measure on a running substrate whose topics are applied and that nobody else uses."""
    bus = BusWriter(wiring)
    floors, ours = [], []
    with tempfile.TemporaryDirectory(prefix="sluice-log-bench-") as folder:
        for number in range(repetitions):
            say(f"writing {payments:,} chains")
            starts = _ends(wiring)
            bus.write(messages_of(hand_made(f"bench-{uuid.uuid4().hex[:12]}", payments)))
            say("a bare consumer")
            floors.append(_floor(wiring, starts))
            say("the decision log")
            ours.append(_backlog(wiring, wiring_file, Path(folder), payments, number))
            say(f"{ours[-1]['payments_per_second']:,.0f} payments/s")
        paced = None
        if paced_seconds:
            say(f"{_PACED_PER_SECOND:,} payments/s for {paced_seconds} s")
            paced = _paced(wiring, wiring_file, Path(folder), bus, paced_seconds)
    rate = statistics.median(one["payments_per_second"] for one in ours)
    per_payment = len(list(messages_of(hand_made("count", 1))))
    floor = statistics.median(rate for rate, _ in floors)
    floor_cpu = statistics.median(cpu for _, cpu in floors)
    return {
        "bench": "decision_log",
        "payments": payments,
        "repetitions": repetitions,
        "bus_records_per_payment": per_payment,
        "floor_records_per_second": round(floor),
        "floor_cpu_us_per_payment": round(floor_cpu * per_payment, 1),
        "ours": {
            "payments_per_second": _spread([one["payments_per_second"] for one in ours]),
            "records_per_second": round(rate * per_payment),
            "cpu_us_per_payment": {
                name: _spread([one["cpu_us_per_payment"][name] for one in ours])
                for name in ours[0]["cpu_us_per_payment"]
            },
            "rss_mib": _spread([one["rss_mib"] for one in ours]),
        },
        "ratio": round(rate * per_payment / floor, 3),
        "paced": paced,
        "target_payments_per_second": TARGET,
        "load_average": round(os.getloadavg()[0], 2),
        "passed": rate >= TARGET,
    }


def _floor(wiring: Wiring, starts: dict[Place, int]) -> tuple[float, float]:
    """Records a second, and CPU microseconds a record."""
    ends = _ends(wiring)
    wanted = sum(ends.values()) - sum(starts.values())
    consumer = Consumer(reader_config(wiring, PRINCIPAL, group="bench-floor"))
    begin, cpu = time.perf_counter(), time.process_time()
    consumer.assign([TopicPartition(topic, number, offset) for (topic, number), offset in starts.items()])
    count = size = 0
    while count < wanted:
        for message in consumer.consume(10_000, 0.1):
            count += 1
            size += len(message.value() or b"")
    seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
    consumer.close()
    return count / seconds, cpu / count * 1e6


def _backlog(wiring: Wiring, wiring_file: Path, folder: Path, payments: int, number: int) -> dict[str, Any]:
    service = LogProcess(wiring_file, folder, name=f"backlog-{number}", policy=_POLICY)
    try:
        process = psutil.Process(service.process.pid)
        service.wait_until_ready()
        cpu, begin = CpuUsed.now(process, wiring_file.parent), time.perf_counter()
        _wait_for(wiring, payments * (number + 1))
        seconds = time.perf_counter() - begin
        used = CpuUsed.now(process, wiring_file.parent).us_an_event(cpu, payments)
        rss = process.memory_info().rss
    finally:
        service.terminate()
    return {
        "payments_per_second": payments / seconds,
        "cpu_us_per_payment": used,
        "rss_mib": rss / 2**20,
    }


def _paced(wiring: Wiring, wiring_file: Path, folder: Path, bus: BusWriter, seconds: int) -> dict[str, Any]:
    """A steady flow: CPU of the service, and how long after the last write the last record is sealed."""
    service = LogProcess(wiring_file, folder, name="paced", policy=_POLICY)
    try:
        process = psutil.Process(service.process.pid)
        service.wait_until_ready()
        before = _leaves(wiring)
        chunk = _PACED_PER_SECOND // 2
        ready = [
            list(messages_of(hand_made(f"paced-{uuid.uuid4().hex[:12]}", chunk))) for _ in range(seconds * 2)
        ]
        cpu, begin = CpuUsed.now(process, wiring_file.parent), time.perf_counter()
        for number, messages in enumerate(ready):
            bus.write(messages)
            time.sleep(max(0.0, begin + (number + 1) / 2 - time.perf_counter()))
        written = time.perf_counter()
        _wait_for(wiring, before + chunk * len(ready))
        sealed = time.perf_counter()
        used = CpuUsed.now(process, wiring_file.parent).us_an_event(cpu, chunk * len(ready))
    finally:
        service.terminate()
    count = chunk * len(ready)
    incomplete = sql(wiring, "select sum(incomplete) as n from segment where first_leaf >= $1", before)
    return {
        "payments_per_second": round(count / (written - begin)),
        "cpu_us_per_payment": used,
        "sealed_after_seconds": round(sealed - written, 2),
        "incomplete": int(incomplete[0]["n"] or 0),
    }


def _leaves(wiring: Wiring) -> int:
    return int(sql(wiring, "select coalesce(max(size), 0) as size from head")[0]["size"])


def _wait_for(wiring: Wiring, leaves: int) -> None:
    give_up = time.monotonic() + _GIVE_UP_SECONDS
    while (found := _leaves(wiring)) < leaves:
        if time.monotonic() > give_up:
            raise TimeoutError(f"the log has {found} of {leaves} records after {_GIVE_UP_SECONDS:.0f} s")
        time.sleep(_LOOK_SECONDS)


def _ends(wiring: Wiring) -> dict[Place, int]:
    consumer = Consumer(reader_config(wiring, PRINCIPAL, group="bench-ends"))
    try:
        return {
            (topic, number): consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=20)[1]
            for topic in CONSUMES
            for number in range(TOPICS[topic].partitions)
        }
    finally:
        consumer.close()


def _spread(values: list[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(values), 1),
        "min": round(min(values), 1),
        "max": round(max(values), 1),
    }
