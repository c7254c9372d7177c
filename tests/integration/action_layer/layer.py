"""The action layer and a webhook target as processes, as the tests of this folder see them."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import orjson
from confluent_kafka import Consumer, Producer, TopicPartition

from services.action_layer.app import effects_folder
from services.action_layer.documents import LANE, SERVICE
from services.action_layer.settings import INTENTS
from sluice_contracts import NO_PINS, TOPICS, Decoded, decode, encode
from sluice_kit.config import Wiring
from sluice_kit.kafka import client_config
from sluice_kit.kafka.messages import arrived
from sluice_kit.testing.service_process import ServiceProcess
from sluice_kit.testing.waiting import until
from sluice_kit.workflow.testing_sql import run_sql

sql = partial(run_sql, SERVICE)

SECRET = "a-test's-own"
POLICY = """
revision: test-actions
effectors:
  log: {{kind: log, roll_bytes: {roll_bytes}}}
  list: {{kind: list, operations: {{block_terminal: ADD}}}}
  webhook:
    kind: webhook
    timeout_ms: {timeout_ms}
    max_attempts: {max_attempts}
    backoff_first_ms: 20
    backoff_longest_ms: 100
    reconcile: {{by: {reconcile}, wait_ms: {wait_ms}, looks: 5}}
allowed:
  - {{effector: log, actions: [allow], domains: [payment_response], outcomes: [ALLOW], tenants: ["*"]}}
  - {{effector: webhook, actions: [{called}], domains: ["*"], outcomes: [DECLINE], tenants: ["*"]}}
  - {{effector: list, actions: [block_terminal, forgotten], domains: ["*"], outcomes: ["*"], tenants: ["*"]}}
"""


class TargetProcess:
    """`python -m services.action_layer.testing_target` and what it counted."""

    def __init__(self, folder: Path, *, honours: bool = True, port: int = 0) -> None:
        self.folder = folder
        (folder / "port").unlink(missing_ok=True)
        command = [sys.executable, "-m", "services.action_layer.testing_target"]
        command += ["--folder", str(folder), "--secret", SECRET, "--port", str(port)]
        self.process = subprocess.Popen([*command, *([] if honours else ["--forgets-keys"])])
        self.port = until(self._port, "the target to listen")

    def _port(self) -> str | None:
        path = self.folder / "port"
        return path.read_text(encoding="utf-8") if path.is_file() else None

    def effects(self) -> Counter[str]:
        """How often each key had its effect."""
        return Counter(line["key"] for line in _lines(self.folder / "effects.ndjson"))

    def requests(self, key: str, method: str = "POST") -> int:
        """How often a key was asked for."""
        lines = _lines(self.folder / "requests.ndjson")
        return sum(line["key"] == key and line["method"] == method for line in lines)

    def close(self) -> None:
        self.process.kill()
        self.process.wait(10)


class LayerProcess(ServiceProcess):
    """`python -m services.action_layer` with a policy; its log is `folder/<name>.log`.

    ``target``: a process, or the port of one that is away. ``called``: the action that the policy lets it do.
    """

    def __init__(
        self,
        wiring_file: Path,
        folder: Path,
        *,
        target: TargetProcess | int | None = None,
        reconcile: str = "retry",
        wait_ms: int = 100,
        roll_bytes: int = 100_000_000,
        timeout_ms: int = 400,
        max_attempts: int = 4,
        called: str = "decline",
    ) -> None:
        folder.mkdir(exist_ok=True)
        policy = folder / "policy.yaml"
        rules = POLICY.format(
            reconcile=reconcile,
            wait_ms=wait_ms,
            roll_bytes=roll_bytes,
            timeout_ms=timeout_ms,
            max_attempts=max_attempts,
            called=called,
        )
        policy.write_text(rules, encoding="utf-8")
        environment = {"SLUICE_SECRET_WEBHOOK_SIGNING": SECRET}
        if target is not None:
            base = f"http://127.0.0.1:{target if isinstance(target, int) else target.port}"
            environment["SLUICE_WEBHOOKS__WEBHOOK__URL"] = f"{base}/actions"
            environment["SLUICE_WEBHOOKS__WEBHOOK__STATUS_URL"] = base + "/actions/{key}"
            environment["SLUICE_WEBHOOKS__WEBHOOK__HONOURS_KEY"] = str(reconcile == "retry").lower()
        super().__init__(
            "services.action_layer",
            wiring_file,
            folder / f"layer-{uuid.uuid4().hex[:6]}.log",
            arguments=["--policy", str(policy)],
            environment=environment,
        )

    def action(self, key: str) -> dict[str, Any] | None:
        """GET of one action, None while it is unknown."""
        answer = self.client.get(f"/v1/actions/{key}")
        if answer.status_code in {404, 503}:
            return None
        found: dict[str, Any] = answer.raise_for_status().json()
        return found

    def wait_for(self, key: str, *states: str) -> dict[str, Any]:
        """Wait until an action is in one of the states."""

        def reached() -> dict[str, Any] | None:
            found = self.action(key)
            return found if found is not None and found["state"] in states else None

        return until(reached, f"{key} to be {states}", 30)

    def resolve(self, key: str, outcome: str, reason: str = "asked the target") -> httpx.Response:
        """Settle an action by hand."""
        body = {"outcome": outcome, "reason": reason}
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        return self.client.post(f"/v1/actions/{key}/resolve", json=body, headers=headers)


Layers = Callable[..., LayerProcess]
"""Starts action layers with these options."""


def intent(effector: str = "log", payment_id: str = "p", **changes: Any) -> dict[str, Any]:
    """An intent with a key of its own; ``changes`` are of its payload."""
    key = changes.pop("idempotency_key", uuid.uuid4().hex * 2)
    actions = {"log": ("allow", "ALLOW"), "webhook": ("decline", "DECLINE")}
    action, outcome = actions.get(effector, ("block_terminal", "DECLINE"))
    payload = {
        "idempotency_key": key,
        "decision_id": f"d-{key[:16]}",
        "subject_event_id": f"e-{key[:16]}",
        "customer_id": f"c-{key[:8]}",
        "domain": "payment_response",
        "effector": effector,
        "action": action,
        "payment_id": f"{payment_id}-{key[:8]}",
        "amount_minor": 1_250,
        "currency": "EUR",
        "reason_code": "A",
        "list": "blocked_terminals" if effector == "list" else None,
        "entry": "t-1" if effector == "list" else None,
        "outcome": outcome,
        "not_after": None,
        "policy_revision": "decisions-1",
    }
    return {
        "event_id": key,
        "event_type": "action_intent",
        "ts_utc": 1_767_225_600_000_000,
        "schema_version": 1,
        "manifest_fingerprint": NO_PINS,
        "tenant": "default",
        "parameter_hash": NO_PINS,
        "scenario_id": "baseline",
        "run_id": "run-1",
        "seed": 42,
        "emitted_at_utc": None,
        "producer": "decision_fabric",
        "parent_event_id": f"d-{key[:16]}",
        "traceparent": None,
        "payload": payload | changes,
    }


def key_of(fields: dict[str, Any]) -> str:
    """The idempotency key of an intent."""
    key: str = fields["payload"]["idempotency_key"]
    return key


def publish(wiring: Wiring, intents: Iterable[dict[str, Any]]) -> None:
    """Put intents on their topic as the super user: the gate is not part of these tests."""
    producer = Producer(client_config(wiring, "admin") | {"linger.ms": 5})
    for fields in intents:
        key = fields["payload"]["customer_id"].encode()
        producer.produce(INTENTS, encode("action_intent", 1, fields), key)
        producer.poll(0)
    assert producer.flush(30) == 0


class LaneReader:
    """What the action layer put on its lane, read on each time it is asked; close it."""

    def __init__(self, wiring: Wiring) -> None:
        self._consumer = Consumer(client_config(wiring, "admin") | {"group.id": uuid.uuid4().hex})
        self._partitions = [TopicPartition(LANE, number) for number in range(TOPICS[LANE].partitions)]
        self._at = {
            partition.partition: self._consumer.get_watermark_offsets(partition, timeout=30)[0]
            for partition in self._partitions
        }
        self._consumer.assign([TopicPartition(LANE, number, low) for number, low in self._at.items()])
        self._events: dict[str, dict[str, Any]] = {}

    def events(self, event_type: str, keys: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
        """By key, in lane order, each event once."""
        self._read_on()
        found: dict[str, list[dict[str, Any]]] = {key: [] for key in keys}
        for fields in self._events.values():
            payload = fields["payload"]
            key = payload.get("idempotency_key") or payload.get("cause_event_id")
            if fields["event_type"] == event_type and key in found:
                found[key].append(fields)
        return found

    def last_signal(self) -> dict[str, int]:
        """The values of the newest service_signal."""
        self._read_on()
        signals = [one for one in self._events.values() if one["event_type"] == "service_signal"]
        values: dict[str, int] = max(signals, key=lambda one: int(one["ts_utc"]))["payload"]["values"]
        return values

    def _read_on(self) -> None:
        ends = {
            partition.partition: self._consumer.get_watermark_offsets(partition, timeout=30)[1]
            for partition in self._partitions
        }
        while any(self._at[number] < end for number, end in ends.items()):
            for message in arrived(self._consumer, 5_000, 0.02):
                partition, offset, value = message.partition(), message.offset(), message.value()
                assert partition is not None
                assert offset is not None
                assert value is not None
                self._at[partition] = offset + 1
                content = decode(value)
                assert isinstance(content, Decoded)
                self._events.setdefault(content.fields["event_id"], dict(content.fields))

    def close(self) -> None:
        self._consumer.close()


def logged_effects(wiring: Wiring) -> Counter[str]:
    """How often each key is in the effect log."""
    files = sorted(effects_folder(wiring.state_dir).glob("*.ndjson"))
    return Counter(line["idempotency_key"] for path in files for line in _lines(path))


def _lines(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()] if path.is_file() else []
