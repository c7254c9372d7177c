"""What a start took uncompared becomes a fact of the audit log, by way of the stage's own lane."""

from dataclasses import replace

import pytest

from services.ingestion_gate.memory_keys import MemoryKeys
from services.ingestion_gate.stage import GateStage
from services.ingestion_gate.state import GateState
from sluice_contracts import LANES, TOPICS, Decoded, decode
from sluice_kit.stage import ChainSpec
from sluice_kit.stage.uncompared import EVENT_TYPE, Start, Uncompared, audit_events, started_by
from sluice_kit.testing import TopologyDriver
from tests.unit.ingestion_gate.events import NOW

TAKEN = Uncompared("flow_meter", "old-rev", 1, 7, 7).extended(9)
START = Start("ingestion_gate", 0, "an-instance", "new-rev", "local", "here", NOW)


def decoded(value: bytes) -> Decoded:
    found = decode(value)
    assert isinstance(found, Decoded)
    assert not found.contract.check(found.fields)
    return found


def test_says_who_what_and_which_batches() -> None:
    (event,) = audit_events([TAKEN], START)
    fields = decoded(event.value).fields
    payload = fields["payload"]
    assert (event.topic, fields["producer"]) == ("ingress.ingestion_gate", "ingestion_gate")
    assert payload["actor"] == {
        "type": "service",
        "id": "ingestion_gate",
        "roles": [],
        "on_behalf_of": started_by(),
    }
    told = ("service", "shard", "from_code_rev", "to_code_rev", "batches", "first_batch_no", "last_batch_no")
    assert [payload[name] for name in told] == ["flow_meter", 0, "old-rev", "new-rev", 2, 7, 9]
    assert payload["scope"] == {"tenant": "default", "environment": "local", "region": "here"}


def test_nothing_taken_is_nothing_said() -> None:
    assert audit_events([], START) == []


def test_each_start_member_and_revision_is_an_event_of_its_own() -> None:
    other = [replace(TAKEN, service="ingestion_gate"), replace(TAKEN, code_rev="older-rev")]
    starts = [START, replace(START, instance="another"), replace(START, shard=1)]
    events = [event for start in starts for event in audit_events([TAKEN, *other], start)]
    assert len({decoded(event.value).fields["event_id"] for event in events}) == 9


def test_a_stage_without_such_a_lane_starts_all_the_same() -> None:
    assert audit_events([TAKEN], replace(START, principal="somebody")) == []
    assert audit_events([TAKEN], replace(START, principal="partner_acme")) == []


def test_every_stage_has_a_lane_for_it() -> None:
    stages = [name.removeprefix("basis.") for name, topic in TOPICS.items() if topic.cls == "basis"]
    assert stages
    for stage in stages:
        assert EVENT_TYPE in LANES[f"ingress.{stage}"].event_types, stage


@pytest.mark.parametrize("principal", ["ingestion_gate", "flow_meter"])
def test_the_gate_puts_it_into_the_audit_log(principal: str) -> None:
    driver = TopologyDriver(ChainSpec([GateStage(GateState(MemoryKeys()))]), now=NOW)
    (event,) = audit_events([TAKEN], replace(START, principal=principal))
    driver.pipe(event.topic, event.value)
    driver.step()
    (fact,) = driver.events("audit.governance")
    (receipt,) = driver.events("audit.receipt")
    assert fact == decoded(event.value).fields
    assert receipt["payload"]["decision"] == "ADMIT"  # type: ignore[index]
    assert receipt["payload"]["principal"] == principal  # type: ignore[index]
