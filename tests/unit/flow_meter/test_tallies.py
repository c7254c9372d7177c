"""Tallies are written as the codec writes them."""

from hypothesis import given
from hypothesis import strategies as st

from services.flow_meter.tallies import TallyWriter
from sluice_contracts import contract_for

CONTRACT = contract_for("flow_tally", 1)
TEXTS = st.text(max_size=70)


@given(
    names=st.tuples(TEXTS, TEXTS, TEXTS),
    minute=st.integers(0, 2**57),
    events=st.integers(1, 2**40),
    amount=st.integers(0, 2**60),
)
def test_a_tally_is_written_as_by_the_codec(
    names: tuple[str, str, str], minute: int, events: int, amount: int
) -> None:
    tenant, run_id, event_id = names
    written = TallyWriter(tenant, run_id).write(
        minute, {"events": events, "amount": amount, "last": [minute, event_id]}
    )
    assert written.key == f"{tenant}|{run_id}|{minute}".encode()
    assert written.value == CONTRACT.encode(
        {
            "tenant": tenant,
            "run_id": run_id,
            "minute": minute,
            "events": events,
            "amount_minor_total": amount,
            "last_event_id": event_id,
        }
    )
