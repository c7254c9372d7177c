"""The gate's REST interface and its own evidence, with a real gate on a real broker."""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from typer.testing import CliRunner

from sluice_cli.demo_traffic import payment_fields
from sluice_cli.receipt_commands import quarantine_app, receipt_app
from sluice_contracts import encode
from sluice_fleet import Fleet
from sluice_kit.artifacts import Locator, open_artifacts, open_oracle
from sluice_kit.config import Wiring
from sluice_kit.http.calling import call
from sluice_kit.testing.waiting import until
from sluice_substrate import LocalStack
from tests.integration.fleets import apply_policy, running
from tests.integration.lane_producers import LaneProducers
from tests.integration.rest_access import assert_guarded

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("topics_applied")]
PINS = "0" * 64


class Gate:
    """Calls to the gate, and records put on lanes."""

    def __init__(self, fleet: Fleet, wiring: Wiring, token: str) -> None:
        self.fleet, self._token = fleet, token
        self._producers = LaneProducers(wiring)

    @property
    def url(self) -> str:
        return self.fleet.url("ingestion_gate")

    def get(self, path: str, **params: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self._token}"}
        return call("GET", self.url + path, params=params, headers=headers, timeout=30)

    def act(
        self, verb: str, quarantine_id: str, key: str, *, token: str | None = None, **body: Any
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token or self._token}", "Idempotency-Key": key}
        return call(
            "POST",
            f"{self.url}/v1/quarantine/{quarantine_id}/{verb}",
            json={"reason": "a test"} | body,
            headers=headers,
            timeout=30,
        )

    def put(self, principal: str, *values: bytes, lane: str | None = None, key: bytes = b"k") -> None:
        producer = self._producers.of(principal)
        errors: list[Any] = []
        for value in values:
            producer.produce(
                lane or f"ingress.{principal}", value, key, on_delivery=lambda error, _: errors.append(error)
            )
        assert producer.flush(30) == 0
        assert errors == [None] * len(values)

    def receipts(self, event_id: str, *, at_least: int = 1, **params: Any) -> list[dict[str, Any]]:
        def found() -> list[dict[str, Any]] | None:
            items = self.get(f"/v1/receipts/{event_id}", **params).json().get("receipts", [])
            return items if len(items) >= at_least else None

        return until(found)

    def quarantined(self, event_id: str, **params: Any) -> dict[str, Any]:
        self.receipts(event_id)
        items = self.get("/v1/quarantine", size=500, **params).json()["items"]
        return next(item for item in items if item["event_id"] == event_id)

    def run(self, run_id: str) -> dict[str, Any] | None:
        runs = self.get("/v1/runs").json()["runs"]
        return next((run for run in runs if run["run_id"] == run_id), None)


@pytest.fixture(scope="module")
def gate(stack: LocalStack, wiring: Wiring, wiring_file: Path, topics_applied: None) -> Iterator[Gate]:
    with running(stack, "ingestion_gate") as fleet:
        apply_policy(wiring_file)
        yield Gate(fleet, wiring, wiring.secret_source.get("token_operator"))


@pytest.fixture
def run_id() -> str:
    return f"r-{uuid.uuid4().hex}"


def payment(event_id: str, **changes: Any) -> bytes:
    return encode("payment", 1, payment_fields(event_id, 5, **changes))


def fresh() -> str:
    return f"e-{uuid.uuid4().hex}"


class TestAccess:
    def test_every_route_wants_a_token(self, gate: Gate, wiring: Wiring) -> None:
        asked = assert_guarded(gate.url, wiring)
        assert {"GET /v1/receipts/{event_id}", "GET /v1/quarantine/{quarantine_id}", "GET /v1/runs"} < asked
        assert {"POST /v1/quarantine/{quarantine_id}/release", "GET /v1/policy", "GET /metrics"} < asked

    def test_a_command_with_a_wrong_token_says_what_to_do(
        self, gate: Gate, wiring_file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SLUICE_OPERATOR_TOKEN", "wrong")
        listed = CliRunner().invoke(
            quarantine_app, ["list", "--wiring", str(wiring_file), "--gate-url", gate.url]
        )
        assert listed.exit_code == 2
        assert "UNAUTHENTICATED" in listed.output
        assert "Authorization: Bearer" in listed.output


class TestReceipts:
    def test_are_listed_in_the_order_in_which_they_were_written(self, gate: Gate) -> None:
        event_id = fresh()
        value = payment(event_id)
        gate.put("partner_acme", value, value, payment(event_id, ts_utc=1))
        found = gate.receipts(event_id, at_least=3)
        assert [item["decision"] for item in found] == ["ADMIT", "DUPLICATE", "QUARANTINE"]
        assert found[1]["event_bus"] == found[0]["event_bus"]
        assert found[2]["reason_codes"] == ["BEYOND_DEDUPE_HORIZON"]
        assert [item["coordinate"]["offset"] for item in found] == sorted(
            item["coordinate"]["offset"] for item in found
        )
        by_receipt_id = gate.receipts(found[1]["receipt_id"])
        assert [item["decision"] for item in by_receipt_id] == ["DUPLICATE"]

    def test_are_selected_by_tenant_and_run(self, gate: Gate, run_id: str) -> None:
        event_id = fresh()
        gate.put("partner_acme", payment(event_id), payment(event_id, run_id=run_id))
        gate.receipts(event_id, at_least=2)
        (unknown,) = gate.receipts(event_id, run=run_id)
        assert unknown["reason_codes"] == ["RUN_UNKNOWN"]
        assert len(gate.receipts(event_id, tenant="default", run="standing")) == 1
        assert gate.get(f"/v1/receipts/{event_id}", tenant="other").status_code == 404

    def test_of_an_unknown_event_are_a_problem(self, gate: Gate) -> None:
        answer = gate.get(f"/v1/receipts/{fresh()}")
        assert (answer.status_code, answer.json()["code"]) == (404, "NO_RECEIPT")

    def test_are_found_after_the_index_was_deleted(self, gate: Gate, wiring: Wiring) -> None:
        event_id = fresh()
        gate.put("partner_acme", payment(event_id))
        (before,) = gate.receipts(event_id)
        assert gate.fleet.stop() == []
        shutil.rmtree(wiring.state_dir / "ingestion_gate" / "0" / "receipt-index")
        gate.fleet.start()
        assert gate.receipts(event_id) == [before]

    def test_are_found_after_the_gate_was_killed(self, gate: Gate) -> None:
        event_id = fresh()
        gate.put("partner_acme", payment(event_id))
        before = gate.receipts(event_id)
        gate.fleet.kill("ingestion_gate")
        gate.fleet.start()
        assert gate.receipts(event_id) == before


class TestQuarantine:
    def test_shows_the_original_and_why(self, gate: Gate, run_id: str) -> None:
        event_id = fresh()
        gate.put("partner_acme", payment(event_id, run_id=run_id))
        item = gate.quarantined(event_id, reason="RUN_UNKNOWN", run=run_id, lane="ingress.partner_acme")
        shown = gate.get(f"/v1/quarantine/{item['quarantine_id']}").json()
        assert (shown["status"], shown["principal"]) == ("OPEN", "partner_acme")
        assert shown["evidence"]["source"] == "artifact"
        assert shown["evidence"]["fields"]["event_id"] == event_id
        assert [receipt["receipt_id"] for receipt in shown["receipts"]] == [shown["receipt_id"]]

    def test_shows_bytes_that_are_no_event(self, gate: Gate) -> None:
        garbage = b"\x07" + uuid.uuid4().bytes
        gate.put("partner_acme", garbage)

        def newest() -> dict[str, Any] | None:
            found = gate.get("/v1/quarantine", reason="WRONG_MAGIC", size=1).json()["items"]
            if not found:
                return None
            shown: dict[str, Any] = gate.get(f"/v1/quarantine/{found[0]['quarantine_id']}").json()
            return shown

        shown = until(newest)
        evidence = shown["evidence"]
        assert (shown["event_id"], evidence["fields"]) == (None, None)
        assert evidence["decode_problem"].startswith("WRONG_MAGIC")
        assert [receipt["decision"] for receipt in shown["receipts"]] == ["QUARANTINE"]

    def test_pages_hold_every_record_once_newest_first(self, gate: Gate, run_id: str) -> None:
        ids = [fresh() for _ in range(7)]
        gate.put("partner_acme", *(payment(event_id, run_id=run_id) for event_id in ids))
        for event_id in ids:
            gate.receipts(event_id)
        seen, page, pages = [], None, 0
        while pages < 50:
            answer = gate.get("/v1/quarantine", run=run_id, size=3, **({"page": page} if page else {})).json()
            seen += [item["event_id"] for item in answer["items"]]
            page, pages = answer["next_page"], pages + 1
            if page is None:
                break
        assert seen == ids[::-1]
        assert gate.get("/v1/quarantine", page="forged").status_code == 400

    def test_a_discard_is_recorded_once(self, gate: Gate, run_id: str) -> None:
        event_id = fresh()
        gate.put("partner_acme", payment(event_id, run_id=run_id))
        target = gate.quarantined(event_id)["quarantine_id"]
        dry = gate.act("discard", target, "k-1", dry_run=True).json()
        assert (dry["dry_run"], dry["status"], dry["receipt"]) == (True, "OPEN", None)
        first, again = (gate.act("discard", target, "k-1") for _ in range(2))
        assert (first.status_code, again.status_code) == (200, 200)
        assert first.json()["status"] == "DISCARDED"
        assert first.json()["receipt"] == again.json()["receipt"]
        other = gate.act("release", target, "k-2")
        assert (other.status_code, other.json()["code"]) == (409, "ALREADY_SETTLED")
        shown = gate.get(f"/v1/quarantine/{target}").json()
        assert [(entry["kind"], entry["actor"], entry["reason"]) for entry in shown["actions"]] == [
            ("quarantine_discard", "operator", "a test")
        ]

    def test_nothing_is_done_for_who_is_no_operator(self, gate: Gate, wiring: Wiring, run_id: str) -> None:
        event_id = fresh()
        gate.put("partner_acme", payment(event_id, run_id=run_id))
        target = gate.quarantined(event_id)["quarantine_id"]
        assert gate.act("release", target, "k", token="wrong").status_code == 401
        reader = wiring.secret_source.get("token_edge")
        assert gate.act("release", target, "k", token=reader).status_code == 403
        assert gate.act("release", "0" * 64, "k").status_code == 404
        assert gate.act("release", target, "k", reason="").status_code == 422
        assert gate.get(f"/v1/quarantine/{target}").json()["status"] == "OPEN"


class TestEvidence:
    """A READY opens its run only when its facts view and the gates' receipts bear it out."""

    def test_a_run_opens_and_what_waited_can_be_released(
        self, gate: Gate, wiring: Wiring, wiring_file: Path, run_id: str
    ) -> None:
        early = fresh()
        gate.put("partner_acme", payment(early, run_id=run_id))
        target = gate.quarantined(early)["quarantine_id"]
        gate.put("scenario_runner", ready(wiring, run_id))
        until(lambda: (gate.run(run_id) or {}).get("status") == "OPEN")
        done = gate.act("release", target, "k").json()
        assert (done["status"], done["receipt"]["decision"]) == ("RELEASED", "ADMIT")
        assert [(item["decision"], item["origin"]) for item in done["original"]] == [("ADMIT", "released")]
        show = CliRunner().invoke(receipt_app, ["show", early, "--wiring", str(wiring_file), "--json"])
        assert [item["decision"] for item in orjson.loads(show.output)["receipts"]] == ["QUARANTINE", "ADMIT"]
        listed = CliRunner().invoke(
            quarantine_app, ["list", "--run", run_id, "--wiring", str(wiring_file), "--json"]
        )
        assert [item["status"] for item in orjson.loads(listed.output)["items"]] == ["RELEASED"]

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"view": {"manifest_fingerprint": "other"}}, "manifest_fingerprint"),
            ({"view": {"expected_events": 4}}, "expected_events"),
            ({"view": {"traffic_delivery_mode": "pull"}}, "traffic_delivery_mode"),
            ({"verdict": "FAIL"}, "is FAIL, not PASS"),
            ({"receipt_verdict": "FAIL"}, "verdict FAIL"),
            ({"role": "truth"}, "has role truth"),
            ({"covers": ["other"]}, "no required gate covers"),
            ({"digest": "1" * 64}, "DigestMismatch"),
        ],
    )
    def test_a_ready_that_is_not_borne_out_is_refused(
        self, gate: Gate, wiring: Wiring, run_id: str, change: dict[str, Any], said: str
    ) -> None:
        gate.put("scenario_runner", ready(wiring, run_id, **change))
        (receipt,) = gate.receipts(f"ready-{run_id}")
        assert receipt["reason_codes"] == ["EVIDENCE_FAILED"]
        assert said in receipt["detail"]
        assert gate.run(run_id) is None

    def test_a_view_that_comes_late_is_waited_for(self, gate: Gate, wiring: Wiring, run_id: str) -> None:
        store = open_artifacts(wiring)
        value = ready(wiring, run_id)
        path = store.local_path(f"sr/run_facts_view/run_id={run_id}/run_facts_view.json")
        assert path is not None
        away = path.with_name("away")
        path.rename(away)
        gate.put("scenario_runner", value)
        until(lambda: (gate.run(run_id) or {}).get("status") == "HELD")
        until(lambda: "waits for its evidence" in gate.get("/health").text)
        away.rename(path)
        until(lambda: (gate.run(run_id) or {}).get("status") == "OPEN")


def ready(
    wiring: Wiring,
    run_id: str,
    *,
    view: dict[str, Any] | None = None,
    verdict: str = "PASS",
    receipt_verdict: str = "PASS",
    role: str = "business_traffic",
    covers: list[str] | None = None,
    digest: str | None = None,
) -> bytes:
    """A READY whose facts view is sealed, with one gate over one output of three rows."""
    proof = open_oracle(wiring).seal(
        f"worlds/{run_id}/receipts/engine/payments.integrity.json",
        orjson.dumps(
            {
                "gate_id": "payments.integrity",
                "verdict": receipt_verdict,
                "manifest_fingerprint": PINS,
            }
        ),
    )
    assert isinstance(proof, Locator)
    promised = {
        "equivalence_key": f"k-{run_id}",
        "traffic_delivery_mode": "push",
        "oracle_engine": "reference-1",
        "required_gates": ["payments.integrity"],
        "streamed_outputs": ["payments"],
        "expected_events": 3,
    }
    pins = {
        "tenant": "default",
        "run_id": run_id,
        "scenario_id": "standing",
        "manifest_fingerprint": PINS,
        "parameter_hash": PINS,
    }
    document = {
        **pins,
        **promised,
        "outputs": [{"output_id": "payments", "role": role, "rows": 3}],
        "withheld": ["other"],
        "gates": [
            {
                "gate_id": "payments.integrity",
                "verdict": verdict,
                "output_ids": covers or ["payments"],
                "receipt": proof.to_fields(),
            }
        ],
    } | (view or {})
    sealed = open_artifacts(wiring).seal(
        f"sr/run_facts_view/run_id={run_id}/run_facts_view.json", orjson.dumps(document)
    )
    assert isinstance(sealed, Locator)
    locator = sealed.to_fields()
    if digest is not None:
        locator["digest"]["hash"] = digest
    return encode(
        "run_ready",
        1,
        {
            "event_id": f"ready-{run_id}",
            "event_type": "run_ready",
            "ts_utc": time.time_ns() // 1_000,
            "schema_version": 1,
            **pins,
            "producer": "scenario_runner",
            "payload": promised | {"facts_view": locator},
        },
    )
