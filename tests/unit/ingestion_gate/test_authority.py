"""Who may say what: lanes, principals, tenants, and the policy that names them."""

from services.ingestion_gate.policy import PublisherPolicy, TenantPolicy
from sluice_kit.testing import TopologyDriver
from tests.unit.ingestion_gate.events import (
    EDGE,
    OPERATOR,
    PARTNER,
    Receipts,
    framed,
    of,
    only,
    policy_event,
    standing_payment,
)


def test_the_edge_publishes_only_for_principals_that_the_policy_names(
    gate: TopologyDriver, receipts: Receipts
) -> None:
    principal = [("sluice-principal", b"partner_acme")]
    gate.pipe(EDGE, framed(standing_payment("e1")), headers=principal)
    gate.step()
    assert only(receipts, "e1")["reason_codes"] == ["NOT_AUTHORISED"]

    gate.pipe(OPERATOR, framed(policy_event(publishers={"partner_acme": PublisherPolicy()})))
    gate.pipe(EDGE, framed(standing_payment("e2")), headers=principal)
    gate.pipe(EDGE, framed(standing_payment("e3")), headers=[("sluice-principal", b"stranger")])
    gate.step()
    assert only(receipts, "e2")["decision"] == "ADMIT"
    assert only(receipts, "e2")["policy_revision"] == "r2"
    assert only(receipts, "e3")["reason_codes"] == ["NOT_AUTHORISED"]


def test_the_principal_header_counts_on_the_edge_lane_only(gate: TopologyDriver, receipts: Receipts) -> None:
    gate.pipe(
        PARTNER,
        framed(standing_payment("e1")),
        headers=[("sluice-principal", b"somebody_else")],
    )
    gate.step()
    assert only(receipts, "e1")["principal"] == "partner_acme"


def test_a_policy_that_cannot_be_used_leaves_the_old_one_in_force(
    gate: TopologyDriver, receipts: Receipts
) -> None:
    broken = policy_event("policy-x")
    broken["payload"]["policy"] = '{"revision": "r2"}'
    gate.pipe(OPERATOR, framed(broken))
    gate.pipe(PARTNER, framed(standing_payment("e1")))
    gate.step()
    assert only(receipts, "policy-x")["reason_codes"] == ["POLICY_INVALID"]
    assert only(receipts, "e1")["policy_revision"] == "built-in"


def test_a_second_tenant_never_shares_a_key_with_the_first(gate: TopologyDriver, receipts: Receipts) -> None:
    tenants = {
        "default": TenantPolicy(standing_run="standing"),
        "other": TenantPolicy(standing_run="standing"),
    }
    gate.pipe(OPERATOR, framed(policy_event(tenants=tenants)))
    gate.pipe(PARTNER, framed(standing_payment("e1")))
    gate.pipe(PARTNER, framed(standing_payment("e1", tenant="other")))
    gate.step()
    assert [receipt["decision"] for receipt in of(receipts, "e1")] == ["ADMIT", "ADMIT"]
