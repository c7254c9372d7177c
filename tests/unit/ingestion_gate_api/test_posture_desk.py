"""Orders to the ladder: audited under the operator's name, once for each key, refused with a reason."""

from collections.abc import Iterator
from typing import Any, cast

import pytest
from fastapi.testclient import TestClient

from services.ingestion_gate.operator_lane import Action, OperatorLane, OperatorLaneAwayError
from services.ingestion_gate.posture_api import posture_router
from services.ingestion_gate.posture_desk import PostureDesk
from sluice_decisions.posture_orders import target_of
from sluice_kit.receipts import ReceiptView
from tests.unit.ingestion_gate_api.operator_http import RECEIPT, operator_client


class Lane:
    """Remembers what was put on it; `answers` is whether the gate decides in time."""

    def __init__(self) -> None:
        self.sent: list[Action] = []
        self.answers = True
        self.away = False

    def event(self, action: Action) -> bytes:
        self.sent.append(action)
        return b"event"

    def receipt(self, action_id: str) -> ReceiptView | None:
        known = self.answers and action_id in {action.action_id for action in self.sent}
        return RECEIPT if known else None

    def put(self, action_id: str, value: bytes) -> ReceiptView | None:
        assert value == b"event"
        if self.away:
            raise OperatorLaneAwayError("no answer in time")
        return self.receipt(action_id)


@pytest.fixture
def lane() -> Lane:
    return Lane()


@pytest.fixture
def client(lane: Lane) -> Iterator[TestClient]:
    desk = PostureDesk(cast("OperatorLane", lane), lambda: {"default", "acme"})
    with operator_client(posture_router(desk)) as made:
        yield made


def post(client: TestClient, verb: str, key: str = "k1", **body: Any) -> Any:
    asked = {"reason": "drill"} | body
    return client.post(f"/v1/posture/{verb}", json=asked, headers={"Idempotency-Key": key})


def test_a_force_is_an_action_of_the_caller_with_rung_scope_and_reason(
    client: TestClient, lane: Lane
) -> None:
    answer = post(client, "force", posture="DEGRADED_2")
    assert answer.status_code == 200
    (action,) = lane.sent
    assert (action.kind, action.reason, action.actor.id) == ("posture_force", "drill", "olga")
    assert target_of(action.target) == ("all", "DEGRADED_2")
    assert (action.subject, action.tenant) == ("posture:all", "default")
    assert answer.json()["receipt"]["decision"] == "ADMIT"
    assert answer.json()["action_id"] == action.action_id


def test_an_override_and_a_release_are_kinds_of_their_own(client: TestClient, lane: Lane) -> None:
    post(client, "force", posture="NORMAL", override=True, scope="tenant:acme")
    post(client, "release", scope="tenant:acme")
    assert [(one.kind, one.target, one.tenant) for one in lane.sent] == [
        ("posture_override", "tenant:acme=NORMAL", "acme"),
        ("posture_release", "tenant:acme", "acme"),
    ]


def test_a_retry_gets_the_first_receipt_and_sends_nothing(client: TestClient, lane: Lane) -> None:
    first = post(client, "force", posture="NORMAL").json()
    assert post(client, "force", posture="NORMAL").json() == first
    assert len(lane.sent) == 1
    post(client, "force", key="k2", posture="NORMAL")
    assert len(lane.sent) == 2


def test_a_dry_run_sends_nothing(client: TestClient, lane: Lane) -> None:
    answer = post(client, "force", posture="FAIL_CLOSED", dry_run=True)
    assert (answer.status_code, answer.json()["receipt"]) == (200, None)
    assert not lane.sent


def test_not_decided_in_time_is_202_with_a_link(client: TestClient, lane: Lane) -> None:
    lane.answers = False
    answer = post(client, "release")
    assert answer.status_code == 202
    assert answer.json()["links"]["receipt"].endswith(answer.json()["action_id"])


@pytest.mark.parametrize(
    "body",
    [
        {"posture": "SIDEWAYS"},
        {"posture": "NORMAL", "reason": ""},
        {"posture": "NORMAL", "scope": "acme"},
        {},
    ],
)
def test_what_is_no_order_is_refused(client: TestClient, lane: Lane, body: dict[str, Any]) -> None:
    assert post(client, "force", **body).status_code == 422
    assert not lane.sent


def test_a_key_is_demanded(client: TestClient, lane: Lane) -> None:
    answer = client.post("/v1/posture/release", json={"reason": "drill"})
    assert answer.status_code == 400
    assert answer.json()["code"] == "IDEMPOTENCY_KEY_REQUIRED"
    assert not lane.sent


def test_an_unknown_tenant_and_an_away_lane_are_told(client: TestClient, lane: Lane) -> None:
    refused = post(client, "release", scope="tenant:none")
    assert (refused.status_code, refused.json()["code"]) == (409, "NO_SUCH_TENANT")
    assert "acme, default" in refused.json()["detail"]
    lane.away = True
    away = post(client, "release")
    assert (away.status_code, away.json()["code"]) == (503, "BROKER_AWAY")
