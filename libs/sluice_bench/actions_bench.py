"""The action layer at full speed: intents that wait on their topic, until the last outcome is on the lane.

A share goes to a webhook target in a process of its own, the rest to the effect log. The floor
is Postgres alone: the same number of outcomes as rows of one table, a batch a transaction.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import asyncpg
import orjson
import psutil
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from services.action_layer.app import effects_folder
from services.action_layer.documents import LANE
from services.action_layer.settings import INTENTS
from sluice_bench.copy_loop import PRINCIPAL
from sluice_bench.process_cpu import CpuUsed
from sluice_bench.watching import committed_ends, total
from sluice_bench.webhook_target import SECRET, webhook_target
from sluice_contracts import NO_PINS, contract_for, decision_id, derived_id, intent_id
from sluice_kit.config import Wiring, load_wiring
from sluice_kit.kafka import client_config
from sluice_kit.workflow import DatabaseAddress

Tell = Callable[[str], None]
TARGET_RATE: Final = 3_000
_SECONDS: Final = 600.0
_LOOK: Final = 0.05
_FLOOR_BATCH: Final = 500
_CHUNKS: Final = 10
"""Of a second of the steady flow."""


def run(
    home: Path, tell: Tell, *, intents: int = 60_000, webhook_share: float = 0.05, paced_seconds: int = 10
) -> dict[str, Any]:
    """Measure once on the stack under `home`. Raises RuntimeError at the deadline."""
    wiring = load_wiring(home / "wiring.yaml")
    floor = asyncio.run(_floor(wiring, intents))
    tell(f"floor: {floor:,.0f} rows a second")
    webhooks = int(intents * webhook_share)
    keys = _publish(wiring, intents, webhooks)
    tell(f"{intents:,} intents wait, {webhooks:,} of them for the webhook")
    admin = AdminClient(client_config(wiring, PRINCIPAL))
    with webhook_target(home / "bench-target") as port, _layer(home, port) as layer:
        begin = _first_outcome(admin)
        before, counted = CpuUsed.now(layer, home), intents - _taken(wiring)
        _wait_for_effects(wiring, home, intents, webhooks)
        seconds = time.monotonic() - begin
        used = CpuUsed.now(layer, home).us_an_event(before, counted)
        tell(f"{counted / seconds:,.0f} intents a second")
        paced = None
        if paced_seconds:
            tell(f"{TARGET_RATE:,} intents a second for {paced_seconds} s, all for the effect log")
            paced = _paced(wiring, home, layer, intents, paced_seconds)
            keys += paced.pop("keys")
        found = _count(wiring, home)
    rate = counted / seconds
    return {
        "bench": "actions",
        "intents": intents,
        "webhooks": webhooks,
        "counted": counted,
        "seconds": round(seconds, 2),
        "events_per_second": round(rate),
        "cpu_us_per_event": used,
        "paced": paced,
        "load_average": round(os.getloadavg()[0], 2),
        "floor_rows_per_second": round(floor),
        "ratio": round(rate / floor, 3),
        "target": TARGET_RATE,
        "passed": rate >= TARGET_RATE and found == Counter(dict.fromkeys(keys, 1)),
        "effects": found.total(),
        "keys_with_one_effect": sum(found[key] == 1 for key in keys),
    }


async def _floor(wiring: Wiring, rows: int) -> float:
    address = DatabaseAddress.from_wiring(wiring)
    connection = await asyncpg.connect(address.dsn, password=address.password)
    name = f"bench_{uuid.uuid4().hex[:8]}"
    value = b"." * 650
    await connection.execute(f"create table {name} (key text primary key, value bytea)")
    insert = f"insert into {name} select * from unnest($1::text[], $2::bytea[])"  # noqa: S608
    try:
        begin = time.monotonic()
        for start in range(0, rows, _FLOOR_BATCH):
            keys = [derived_id(name, number) for number in range(start, min(start + _FLOOR_BATCH, rows))]
            await connection.execute(insert, keys, [value] * len(keys))
        return rows / (time.monotonic() - begin)
    finally:
        await connection.execute(f"drop table {name}")
        await connection.close()


def _publish(wiring: Wiring, intents: int, webhooks: int) -> list[str]:
    """Put intents on their topic, those for the webhook evenly among the others; returns their keys."""
    made = _made(intents, webhooks)
    _write(_producer(wiring), made)
    return [key for key, _, _ in made]


def _made(intents: int, webhooks: int) -> list[tuple[str, bytes, bytes]]:
    """Key, customer and message of some intents."""
    mark, contract, made = uuid.uuid4().hex[:12], contract_for("action_intent"), []
    every = intents // webhooks if webhooks else intents + 1
    for number in range(intents):
        fields = _intent(mark, number, webhook=bool(webhooks) and number % every == 0)
        made.append((fields["event_id"], fields["payload"]["customer_id"].encode(), contract.encode(fields)))
    return made


def _producer(wiring: Wiring) -> Producer:
    return Producer(client_config(wiring, PRINCIPAL) | {"linger.ms": 20, "acks": "all"})


def _write(producer: Producer, made: Sequence[tuple[str, bytes, bytes]]) -> None:
    for number, (_, customer, value) in enumerate(made):
        producer.produce(INTENTS, value, customer)
        if number % 10_000 == 0:
            producer.flush(60)
    if producer.flush(60):
        raise RuntimeError(f"{INTENTS} does not take intents")


def _paced(wiring: Wiring, home: Path, layer: psutil.Process, before: int, seconds: int) -> dict[str, Any]:
    """A steady flow after `before` intents: what it costs, and how long after the last write all is done."""
    chunk, producer = TARGET_RATE // _CHUNKS, _producer(wiring)
    chunks = [_made(chunk, 0) for _ in range(seconds * _CHUNKS)]
    cpu, begin = CpuUsed.now(layer, home), time.monotonic()
    for number, made in enumerate(chunks, 1):
        _write(producer, made)
        time.sleep(max(0.0, begin + number / _CHUNKS - time.monotonic()))
    written, count = time.monotonic(), chunk * len(chunks)
    _wait_for_effects(wiring, home, before + count, 0)
    return {
        "intents_per_second": round(count / (written - begin)),
        "cpu_us_per_event": CpuUsed.now(layer, home).us_an_event(cpu, count),
        "done_after_seconds": round(time.monotonic() - written, 2),
        "keys": [key for made in chunks for key, _, _ in made],
    }


def _intent(mark: str, number: int, *, webhook: bool) -> dict[str, Any]:
    subject = derived_id("bench", mark, number)
    key = intent_id("default", mark, subject, "payment_response")
    payload = {
        "idempotency_key": key,
        "decision_id": decision_id("default", mark, subject),
        "subject_event_id": subject,
        "customer_id": f"c-{number % 5_000}",
        "domain": "payment_response",
        "effector": "webhook" if webhook else "log",
        "action": "decline" if webhook else "allow",
        "payment_id": f"p-{number}",
        "amount_minor": 1_999,
        "currency": "EUR",
        "reason_code": "DEFAULT",
        "list": None,
        "entry": None,
        "outcome": "DECLINE" if webhook else "ALLOW",
        "not_after": None,
        "policy_revision": "bench",
    }
    return {
        "event_id": key,
        "event_type": "action_intent",
        "ts_utc": 1_767_225_600_000_000 + number,
        "schema_version": 1,
        "manifest_fingerprint": NO_PINS,
        "tenant": "default",
        "parameter_hash": NO_PINS,
        "scenario_id": "bench",
        "run_id": f"bench-{mark}",
        "seed": None,
        "emitted_at_utc": None,
        "producer": "bench",
        "parent_event_id": payload["decision_id"],
        "traceparent": None,
        "payload": payload,
    }


@contextmanager
def _layer(home: Path, port: int) -> Iterator[psutil.Process]:
    environment = os.environ | {
        "SLUICE_SECRET_WEBHOOK_SIGNING": SECRET,
        "SLUICE_WEBHOOKS__WEBHOOK__URL": f"http://127.0.0.1:{port}/actions",
        "SLUICE_WEBHOOKS__WEBHOOK__HONOURS_KEY": "true",
    }
    command = [sys.executable, "-m", "services.action_layer", "--wiring", str(home / "wiring.yaml")]
    with (home / "bench-action-layer.log").open("ab") as log:
        process = subprocess.Popen([*command, "--http-port", "0"], env=environment, stdout=log, stderr=log)
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


def _first_outcome(admin: AdminClient) -> float:
    """When the first event was on the lane."""
    base, deadline = total(committed_ends(admin, LANE)), time.monotonic() + 60
    while total(committed_ends(admin, LANE)) == base:
        _within(deadline, "the action layer says nothing")
    return time.monotonic()


def _taken(wiring: Wiring) -> int:
    """Intents that were taken in before the clock began."""

    async def ask() -> int:
        address = DatabaseAddress.from_wiring(wiring)
        settings = {"search_path": "action_layer"}
        connection = await asyncpg.connect(address.dsn, password=address.password, server_settings=settings)
        try:
            return int(await connection.fetchval("select sum(next_offset) from inbox_position"))
        finally:
            await connection.close()

    return asyncio.run(ask())


def _wait_for_effects(wiring: Wiring, home: Path, intents: int, webhooks: int) -> None:
    """Wait until every action is settled and the outbox is empty."""

    async def wait() -> None:
        address = DatabaseAddress.from_wiring(wiring)
        settings = {"search_path": "action_layer"}
        connection = await asyncpg.connect(address.dsn, password=address.password, server_settings=settings)
        deadline = time.monotonic() + _SECONDS
        logged = b"%d" % (intents - webhooks)
        try:
            while True:
                settled = await connection.fetchval(
                    "select (select coalesce(sum(next_offset), 0) from inbox_position) >= $1 and"
                    " not exists (select from action where state in ('PENDING', 'ATTEMPTING', 'UNCERTAIN'))"
                    " and not exists (select from outbox)",
                    intents,
                )
                if settled:
                    return
                _within(deadline, f"not all of {logged.decode()} effects are there under {home}")
        finally:
            await connection.close()

    asyncio.run(wait())


def _count(wiring: Wiring, home: Path) -> Counter[str]:
    """Effects by key: what the effect log and the target's own log say."""
    logs = sorted(effects_folder(wiring.state_dir).glob("*.ndjson"))
    lines = (orjson.loads(line) for path in logs for line in path.read_bytes().splitlines())
    found = Counter(line["idempotency_key"] for line in lines)
    called = home / "bench-target" / "effects.ndjson"
    if called.is_file():
        found.update(orjson.loads(line)["key"] for line in called.read_bytes().splitlines())
    return found


def _within(deadline: float, problem: str) -> None:
    if time.monotonic() > deadline:
        raise RuntimeError(problem)
    time.sleep(_LOOK)
