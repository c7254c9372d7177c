"""A payment on a real broker: admitted by the gate, decided by the fabric, decided once through a kill."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from services.decision_fabric.policy_files import binding_of, read_feature_set
from sluice_bench.decision_bench import seal_drawn_bundle
from sluice_cli.bundle_commands import bundle_app
from sluice_cli.decision_commands import decision_app
from sluice_cli.demo_traffic import payment_fields
from sluice_cli.list_commands import list_app
from sluice_contracts import derived_id, encode
from sluice_fleet import Fleet
from sluice_kit.artifacts import open_artifacts
from sluice_kit.config import Wiring
from sluice_kit.http.calling import call
from sluice_kit.testing.waiting import until
from sluice_substrate import LocalStack
from tests.integration.fleets import apply_policy, running
from tests.integration.lane_producers import LaneProducers
from tests.integration.rest_access import assert_guarded

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("topics_applied")]
PINS = "0" * 64
BINDING = binding_of(read_feature_set())


class Loop:
    """Gate and fabric as processes; posture and snapshots come from the test."""

    def __init__(self, fleet: Fleet, wiring: Wiring, wiring_file: Path) -> None:
        self.fleet, self.file = fleet, wiring_file
        self._producers = LaneProducers(wiring)
        self._token = wiring.secret_source.get("token_operator")

    def put(self, principal: str, topic: str, value: bytes, key: str = "k") -> None:
        errors: list[Any] = []
        producer = self._producers.of(principal)
        producer.produce(topic, value, key.encode(), on_delivery=lambda error, _: errors.append(error))
        assert producer.flush(30) == 0
        assert errors == [None]

    def pay(self, event_id: str, *, with_snapshot: bool = True) -> None:
        """The snapshot first: it waits for its payment, so no deadline is in a hurry."""
        if with_snapshot:
            value = encode("feature_snapshot", 1, snapshot(event_id))
            self.put("online_features", "state.online_features.snapshot", value, event_id)
        self.put("partner_acme", "ingress.partner_acme", encode("payment", 1, payment_fields(event_id, 5)))

    def decision(self, event_id: str) -> dict[str, Any]:
        def found() -> dict[str, Any] | None:
            answer = self.get(f"/v1/decisions/{event_id}")
            return answer.json() if answer.status_code == 200 else None

        return until(found, f"the decision about {event_id}")

    def get(self, path: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self._token}"}
        return call("GET", self.fleet.url("decision_fabric") + path, headers=headers, timeout=30)

    def command(self, app: Any, *arguments: str) -> Any:
        result = CliRunner().invoke(app, [*arguments, "--wiring", str(self.file), "--json"])
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout.strip().splitlines()[-1])


@pytest.fixture(scope="module")
def loop(stack: LocalStack, wiring: Wiring, wiring_file: Path, topics_applied: None) -> Iterator[Loop]:
    with running(stack, "ingestion_gate", "decision_fabric") as fleet:
        apply_policy(wiring_file)
        made = Loop(fleet, wiring, wiring_file)
        manifest = seal_drawn_bundle(open_artifacts(wiring), BINDING, trees=5)
        activated = made.command(bundle_app, "activate", manifest.uri, "--reason", "a test")
        assert activated["receipt"]["decision"] == "ADMIT"
        made.put("degrade_ladder", "ingress.degrade_ladder", posture("NORMAL"), "standing")
        until(lambda: made.get("/v1/bundles/active").json()["bundles"] or None, "the activation")
        yield made


def test_rest_wants_a_token(loop: Loop, wiring: Wiring) -> None:
    asked = assert_guarded(loop.fleet.url("decision_fabric"), wiring)
    assert {"GET /v1/decisions/{event_id}", "GET /v1/bundles/active", "GET /v1/lists/{name}"} < asked
    assert {"POST /v1/lists/{name}/add", "POST /v1/lists/{name}/remove"} < assert_guarded(
        loop.fleet.url("ingestion_gate"), wiring
    )


def test_a_payment_is_decided_by_the_active_bundle(loop: Loop) -> None:
    event_id = fresh()
    loop.pay(event_id)
    decided = loop.decision(event_id)
    assert (decided["mode"], decided["bundle"]["id"], decided["posture"]) == ("MODEL", "payments", "NORMAL")
    shown = loop.command(decision_app, "show", event_id)
    assert shown == decided
    receipt = until(lambda: receipts(loop, decided["decision_id"]), "the gate's receipt of the decision")
    assert (receipt["decision"], receipt["event_bus"]["topic"]) == ("ADMIT", "traffic.decision")
    intent = derived_id("sluice.action_intent.v1", "default", "standing", event_id, "payment_response")
    assert until(lambda: receipts(loop, intent), "the intent's receipt")["decision"] == "ADMIT"


def test_a_payment_without_a_snapshot_is_a_fallback(loop: Loop) -> None:
    event_id = fresh()
    loop.pay(event_id, with_snapshot=False)
    decided = loop.decision(event_id)
    assert (decided["mode"], decided["outcome"]) == ("FALLBACK", "REVIEW")
    assert decided["reason_codes"][0] == "SNAPSHOT_MISSING"


def test_a_customer_on_the_list_is_declined_until_an_operator_takes_it_off(loop: Loop) -> None:
    """`payment_fields` makes the customer of the last four characters of the event's id."""
    before, blocked, after = (f"{fresh()}-list" for _ in range(3))
    change = "blocked_customers", "C-list", "--reason", "case 4711"
    loop.pay(before)
    usual = loop.decision(before)["outcome"]
    assert usual != "DECLINE"

    tried = loop.command(list_app, "add", *change, "--dry-run")
    assert (tried["dry_run"], loop.command(list_app, "show", "blocked_customers")["entries"]) == (True, 0)

    added = loop.command(list_app, "add", *change, "--key", "k1")
    assert (added["receipt"]["decision"], added["followed"]) == ("ADMIT", True)
    assert loop.command(list_app, "add", *change, "--key", "k1")["receipt"] == added["receipt"]
    audited = receipts(loop, added["action_id"])
    assert audited is not None
    assert audited["event_bus"]["topic"] == "audit.governance"
    (shown,) = loop.command(list_app, "show", "blocked_customers")["page"]
    assert shown == {"entry": "C-list", "change_id": added["change_id"]}
    loop.pay(blocked)
    declined = loop.decision(blocked)
    assert (declined["outcome"], declined["reason_codes"][0]) == ("DECLINE", "CUSTOMER_BLOCKED")

    removed = loop.command(list_app, "remove", *change)
    assert (removed["receipt"]["decision"], removed["followed"]) == ("ADMIT", True)
    loop.pay(after)
    again = loop.decision(after)
    assert (again["outcome"], again["mode"]) == (usual, "MODEL")
    assert "CUSTOMER_BLOCKED" not in again["reason_codes"]


def test_a_list_that_no_rule_reads_is_refused_before_anything_is_sent(loop: Loop) -> None:
    arguments = ["add", "blokced_customers", "C-1", "--reason", "a typo", "--wiring", str(loop.file)]
    result = CliRunner().invoke(list_app, arguments)
    assert (result.exit_code, "NO_SUCH_LIST" in result.stderr) == (2, True)
    assert "blocked_customers, blocked_terminals" in result.stderr


def test_a_killed_fabric_goes_on_with_bundle_and_posture_and_decides_nothing_twice(loop: Loop) -> None:
    before, after = fresh(), fresh()
    loop.pay(before)
    first = loop.decision(before)
    loop.fleet.kill("decision_fabric")
    loop.pay(after)
    loop.fleet.start()
    assert loop.decision(after)["mode"] == "MODEL"
    assert len(all_receipts(loop, first["decision_id"])) == 1


def fresh() -> str:
    return f"e-{uuid.uuid4().hex}"


def receipts(loop: Loop, event_id: str) -> dict[str, Any] | None:
    return next(iter(all_receipts(loop, event_id)), None)


def all_receipts(loop: Loop, event_id: str) -> list[dict[str, Any]]:
    headers = {"Authorization": f"Bearer {loop._token}"}
    url = f"{loop.fleet.url('ingestion_gate')}/v1/receipts/{event_id}"
    found: list[dict[str, Any]] = call("GET", url, headers=headers, timeout=30).json().get("receipts", [])
    return found


def snapshot(event_id: str) -> dict[str, Any]:
    return {
        "tenant": "default",
        "run_id": "standing",
        "event_id": event_id,
        "as_of": time.time_ns() // 1_000,
        "feature_set": {"name": BINDING.name, "revision": BINDING.revision, "hash": BINDING.hash},
        "values": [1] * len(BINDING.features),
        "missing": [],
        "freshness": [],
        "input_basis": PINS,
        "payment": {"topic": "traffic.payment", "partition": 0, "offset": 0},
        "snapshot_hash": derived_id("snapshot", event_id),
    }


def posture(rung: str) -> bytes:
    now = time.time_ns() // 1_000
    payload = {
        "scope": "all",
        "posture": rung,
        "capabilities": ["attributions", "graph_features", "model", "rules"],
        "sequence": 0,
        "since": now,
        "valid_until": now + 3_600_000_000,
        "previous": None,
        "causes": [],
        "forced_by": None,
        "signals": [],
        "policy_revision": "tests",
    }
    fields = {
        "event_id": f"p-{uuid.uuid4().hex}",
        "event_type": "posture",
        "ts_utc": int(datetime.now(UTC).timestamp()) * 1_000_000,
        "schema_version": 1,
        "manifest_fingerprint": PINS,
        "tenant": "default",
        "parameter_hash": PINS,
        "scenario_id": "standing",
        "run_id": "standing",
        "producer": "degrade_ladder",
        "payload": payload,
    }
    return encode("posture", 1, fields)
