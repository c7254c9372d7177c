"""An operator brings a quarantined original before the gate again."""

from services.ingestion_gate.policy import BUILT_IN
from sluice_kit.testing import TopologyDriver
from tests.unit.ingestion_gate.events import (
    EDGE,
    OPERATOR,
    OWN,
    SR,
    WSP,
    Receipts,
    evidence,
    framed,
    of,
    only,
    open_run,
    payment,
    release,
    run_ready,
    standing_payment,
)


def test_a_released_event_goes_through_admission_again(gate: TopologyDriver, receipts: Receipts) -> None:
    early = framed(payment("e1"))
    gate.pipe(WSP, early)
    gate.step()
    open_run(gate)
    gate.pipe(OPERATOR, framed(release(early, WSP)))
    gate.step()

    released = [receipt for receipt in of(receipts, "e1") if receipt["origin"] == "released"]
    assert [receipt["decision"] for receipt in released] == ["ADMIT"]
    assert released[0]["lane_topic"] is None
    assert only(receipts, "g1")["decision"] == "ADMIT"


def test_a_released_edge_event_stands_on_the_operators_authority(
    gate: TopologyDriver, receipts: Receipts
) -> None:
    value = framed(standing_payment("e1"))
    gate.pipe(EDGE, value, headers=[("sluice-principal", b"stranger")])
    gate.step()
    assert only(receipts, "e1")["reason_codes"] == ["NOT_AUTHORISED"]
    gate.pipe(OPERATOR, framed(release(value, EDGE)))
    gate.step()
    (released,) = [receipt for receipt in of(receipts, "e1") if receipt["origin"] == "released"]
    assert (released["decision"], released["principal"]) == ("ADMIT", "operator")


def test_a_released_ready_waits_for_its_evidence_as_released(
    gate: TopologyDriver, receipts: Receipts
) -> None:
    ready = framed(run_ready())
    gate.pipe(SR, ready)
    gate.step()
    gate.advance(BUILT_IN.limits.evidence_wait_seconds + 1)
    gate.pipe(OPERATOR, framed(release(ready, SR)))
    gate.step()
    gate.pipe(OWN, framed(evidence()))
    gate.step()

    outcomes = [(r["decision"], r["origin"], r["lane_topic"]) for r in of(receipts, "ready-1")]
    assert sorted(outcomes) == [("ADMIT", "released", None), ("QUARANTINE", "lane", SR)]
