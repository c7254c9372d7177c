"""Contexts are written as the codec writes them."""

from hypothesis import given
from hypothesis import strategies as st

from services.entity_graph.context_writer import ContextWriter
from sluice_contracts import contract_for
from sluice_graph.observing import EventContext

CONTRACT = contract_for("graph_context", 1)
TEXTS = st.text(max_size=70)
BASES = st.text("0123456789abcdef", min_size=64, max_size=64)
COUNTS = st.none() | st.integers(0, 2**40)
TIMES = st.integers(-1, 2**57)


@given(
    names=st.tuples(TEXTS, TEXTS, BASES, TEXTS),
    times=st.tuples(TIMES, TIMES),
    context=st.builds(EventContext, COUNTS, COUNTS, COUNTS, st.integers(0, 2**31 - 1), st.booleans()),
)
def test_a_context_is_written_as_by_the_codec(
    names: tuple[str, str, str, str], times: tuple[int, int], context: EventContext
) -> None:
    tenant, run_id, basis, event_id = names
    ts_utc, version = times
    assert ContextWriter(tenant, run_id, basis).write(event_id, ts_utc, context, version) == CONTRACT.encode(
        {
            "tenant": tenant,
            "run_id": run_id,
            "event_id": event_id,
            "ts_utc": ts_utc,
            "component_size": context.component_size,
            "shared_device_degree": context.shared_device_degree,
            "fraud_distance": context.fraud_distance,
            "graph_version": version,
            "graph_basis": basis,
            "integrity": "CLEAN" if context.clean else "DEGRADED",
            "conflicts": context.conflicts,
        }
    )
