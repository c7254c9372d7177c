"""Changes of lists: audited under the operator's name, each causing one change, also when a try broke off."""

from collections.abc import Iterator
from typing import Any, cast

import pytest
from fastapi.testclient import TestClient

from services.ingestion_gate.list_api import list_router
from services.ingestion_gate.list_desk import ListDesk
from services.ingestion_gate.operator_lane import Action, OperatorLane, OperatorLaneAwayError
from sluice_contracts import Decoded, decode
from sluice_kit.receipts import ReceiptView
from tests.unit.ingestion_gate_api.operator_http import RECEIPT, operator_client

KEY = "k1"


class Lane:
    """Remembers what was put on it, in order; the gate answers each with `decision`, None: not in time."""

    def __init__(self) -> None:
        self.actions: list[Action] = []
        self.changes: list[dict[str, Any]] = []
        self.receipts: dict[str, ReceiptView] = {}
        self.decision: str | None = "ADMIT"
        self.breaks_at_change = False

    def event(self, action: Action) -> bytes:
        self.actions.append(action)
        return b"action"

    def receipt(self, event_id: str) -> ReceiptView | None:
        return self.receipts.get(event_id)

    def put(self, event_id: str, value: bytes) -> ReceiptView | None:
        if value != b"action":
            if self.breaks_at_change:
                raise OperatorLaneAwayError("no answer in time")
            found = decode(value)
            assert isinstance(found, Decoded), found
            assert found.fields["event_id"] == event_id
            self.changes.append(dict(found.fields))
        if self.decision is not None:
            self.receipts[event_id] = receipt_of(event_id, self.decision)
        return self.receipts.get(event_id)


def receipt_of(receipt_id: str, decision: str) -> ReceiptView:
    return RECEIPT.model_copy(update={"receipt_id": receipt_id, "decision": decision})


@pytest.fixture
def lane() -> Lane:
    return Lane()


@pytest.fixture
def client(lane: Lane) -> Iterator[TestClient]:
    desk = ListDesk(cast("OperatorLane", lane), lambda: {"default", "acme"})
    with operator_client(list_router(desk)) as made:
        yield made


def post(client: TestClient, verb: str, name: str = "blocked_customers", key: str = KEY, **body: Any) -> Any:
    asked = {"entry": "C-7", "reason": "case 4711"} | body
    return client.post(f"/v1/lists/{name}/{verb}", json=asked, headers={"Idempotency-Key": key})


def test_a_change_says_who_did_it_and_names_the_action_that_caused_it(client: TestClient, lane: Lane) -> None:
    answer = post(client, "add", tenant="acme")
    assert answer.status_code == 200
    (action,), (change,) = lane.actions, lane.changes
    assert (action.kind, action.subject, action.target) == (
        "list_add",
        "list:blocked_customers",
        "blocked_customers=C-7",
    )
    assert (action.actor.id, action.reason, action.tenant) == ("olga", "case 4711", "acme")
    assert change["payload"] == {
        "list": "blocked_customers",
        "entry": "C-7",
        "operation": "ADD",
        "cause_event_id": action.action_id,
        "reason": "case 4711",
    }
    assert (change["tenant"], change["run_id"], change["parent_event_id"]) == (
        "acme",
        "standing",
        action.action_id,
    )
    assert answer.json()["receipt"]["receipt_id"] == answer.json()["change_id"] == change["event_id"]


def test_taking_off_is_a_removal(client: TestClient, lane: Lane) -> None:
    post(client, "remove")
    assert [one.kind for one in lane.actions] == ["list_remove"]
    assert [one["payload"]["operation"] for one in lane.changes] == ["REMOVE"]


def test_a_retry_gets_the_first_receipt_and_sends_nothing(client: TestClient, lane: Lane) -> None:
    first = post(client, "add").json()
    assert post(client, "add").json() == first
    assert (len(lane.actions), len(lane.changes)) == (1, 1)
    post(client, "add", key="k2")
    post(client, "add", tenant="acme")
    assert len({one["event_id"] for one in lane.changes}) == 3


def test_a_retry_finishes_what_broke_off_between_action_and_change(client: TestClient, lane: Lane) -> None:
    lane.breaks_at_change = True
    away = post(client, "add")
    assert (away.status_code, away.json()["code"]) == (503, "BROKER_AWAY")
    lane.breaks_at_change = False
    assert post(client, "add").status_code == 200
    assert (len(lane.actions), len(lane.changes)) == (1, 1)


def test_without_an_admitted_action_nothing_changes(client: TestClient, lane: Lane) -> None:
    lane.decision = "QUARANTINE"
    assert post(client, "add").json()["receipt"]["decision"] == "QUARANTINE"
    lane.decision = None
    waiting = post(client, "add", key="k2")
    assert (waiting.status_code, waiting.json()["receipt"]) == (202, None)
    assert lane.changes == []


def test_a_dry_run_sends_nothing(client: TestClient, lane: Lane) -> None:
    answer = post(client, "add", dry_run=True)
    assert (answer.status_code, answer.json()["receipt"]) == (200, None)
    assert (lane.actions, lane.changes) == ([], [])


@pytest.mark.parametrize("body", [{"entry": ""}, {"reason": ""}, {"reason": "x" * 513}, {"name": "No-List"}])
def test_what_is_no_order_is_refused(client: TestClient, lane: Lane, body: dict[str, Any]) -> None:
    assert post(client, "add", **body).status_code == 422
    assert lane.actions == []


def test_a_key_and_a_known_tenant_are_demanded(client: TestClient, lane: Lane) -> None:
    keyless = client.post("/v1/lists/blocked_customers/add", json={"entry": "C-7", "reason": "r"})
    assert (keyless.status_code, keyless.json()["code"]) == (400, "IDEMPOTENCY_KEY_REQUIRED")
    unknown = post(client, "add", tenant="none")
    assert (unknown.status_code, unknown.json()["code"]) == (409, "NO_SUCH_TENANT")
    assert "acme, default" in unknown.json()["detail"]
    assert lane.actions == []
