"""Templates write what the codec writes, byte for byte, whatever is decided."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.decision_fabric.arrivals import Paid, Snapshot
from services.decision_fabric.batch_encoder import BatchEncoder
from services.decision_fabric.encoding import (
    Provenance,
    actions_of,
    decision_fields,
    intent_fields,
)
from services.decision_fabric.intake import Ready
from services.decision_fabric.model import HeldPosture
from sluice_contracts import contract_for
from sluice_decisions import Attribution, Decision, Mode, Outcome, SnapshotView
from sluice_decisions.postures import Posture
from tests.unit.decision_fabric.parts import policy
from tests.unit.ingestion_gate.events import payment

ids = st.text("abcXYZ019_.:-é\u4e16", min_size=1, max_size=130)
hashes = st.sampled_from(["a" * 64, "b" * 64])
times = st.integers(0, 253402300799999999)
longs = st.integers(0, 2**50)
attributions = st.builds(
    Attribution,
    st.sampled_from(["amount", "is_night"]),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-(10**9), 10**9),
)


@st.composite
def payments(draw: Any) -> tuple[Paid, int]:
    """With the deadline."""
    trace = draw(st.sampled_from([None, f"00-{'a' * 32}-{'b' * 16}-01"]))
    fields = payment(
        draw(ids),
        ts_utc=draw(times),
        tenant=draw(st.sampled_from(["default", "acme"])),
        run_id=draw(st.sampled_from(["run-1", "r\u00fcn"])),
        seed=draw(st.sampled_from([None, 0, -5, 2**40])),
        traceparent=trace,
    )
    fields["payload"] |= {
        "payment_id": draw(ids),
        "customer_id": draw(ids),
        "terminal_id": draw(ids),
        "amount_minor": draw(longs),
        "currency": draw(st.sampled_from(["EUR", "USD"])),
    }
    return Paid.of(fields, "traffic.payment", draw(st.integers(0, 3)), draw(longs)), draw(times)


@st.composite
def decisions(draw: Any) -> Decision:
    """With the bundle of the batch or, where a payment is broken, without."""
    used = draw(st.booleans())
    bundled = draw(st.booleans())
    return Decision(
        "e",
        draw(st.sampled_from(Outcome)),
        draw(st.sampled_from(Mode)),
        draw(st.sampled_from([("DEFAULT",), ("TERMINAL_RISK", "SCORE_DECLINE"), ("A", "TERMINAL_RISK")])),
        draw(st.none() | st.integers(0, 1_000_000)),
        tuple(draw(st.lists(attributions, max_size=3))),
        "payments" if bundled else None,
        "b1" if bundled else None,
        "c" * 64 if bundled else None,
        "rules-1" if bundled else "built-in",
        draw(hashes) if used else None,
        draw(st.none() | st.integers(-1, 2**40)) if used else None,
        Posture.NORMAL,
        0,
    )


@given(
    st.lists(st.tuples(payments(), decisions(), st.none() | hashes), min_size=1, max_size=6),
    st.sampled_from([None, HeldPosture("p1", "NORMAL", [], 0)]),
    st.sampled_from(Posture),
    times,
    st.none() | hashes,
)
def test_they_write_what_the_codec_writes(
    cases: list[tuple[tuple[Paid, int], Decision, str | None]],
    held: HeldPosture | None,
    posture: Posture,
    now: int,
    served: str | None,
) -> None:
    provenance, going_by = Provenance(held, served, "f" * 64), policy()
    encoder = BatchEncoder(provenance, going_by)
    ready = [
        Ready(payment, deadline, Snapshot(payment.key, SnapshotView((), (), "", ""), graph_basis))
        for (payment, deadline), _, graph_basis in cases
    ]
    decided = [decision._replace(posture=posture, decided_at=now) for _, decision, _ in cases]
    for one, decision, (value, intents) in zip(ready, decided, encoder.written(ready, decided), strict=True):
        assert value == contract_for("decision").encode(decision_fields(one, decision, provenance))
        assert intents == [
            contract_for("action_intent").encode(
                intent_fields(one.payment, decision, action, entry, going_by.revision)
            )
            for action, entry in actions_of(one.payment, decision, going_by)
        ]
