"""The decision loop chained in one process or each stage apart: the same records."""

from hypothesis import given, settings

from sluice_kit.artifacts import ArtifactStore
from tests.unit.loop.chain import (
    CONTEXT,
    DECISION,
    HEARTBEAT,
    INTENT,
    LABEL,
    PAYMENT,
    POSTURE,
    SNAPSHOT,
    apart,
    chained,
    told,
)
from tests.unit.loop.history import Batches, histories
from tests.unit.stage.test_topologies_agree import receipts

STEERING = ("control.bundle", "control.list", "control.run", "control.policy", "audit.governance")
COMPARED = (PAYMENT, LABEL, CONTEXT, SNAPSHOT, DECISION, INTENT, POSTURE, *STEERING)


@settings(deadline=None, max_examples=10)
@given(batches=histories)
def test_chained_and_apart_write_the_same_records(store: ArtifactStore, batches: Batches) -> None:
    together, separate = chained(store, batches), apart(store, batches)

    for topic in COMPARED:
        assert told(together, topic) == told(separate, topic), topic
    # Who speaks first in a second is the chain's order here and that of the lanes there.
    assert sorted(map(repr, told(together, HEARTBEAT))) == sorted(map(repr, told(separate, HEARTBEAT)))
    assert receipts(together) == receipts(separate)


@settings(deadline=None, max_examples=6)
@given(batches=histories)
def test_what_comes_later_than_its_payment_changes_no_decision(
    store: ArtifactStore, batches: Batches
) -> None:
    """Apart, a stage may read a payment in one batch and its context or snapshot in the next."""
    together, separate = chained(store, batches), apart(store, batches, payments_first=True)
    assert told(together, PAYMENT) == told(separate, PAYMENT)
    assert sorted(map(repr, told(together, DECISION, "input_basis"))) == sorted(
        map(repr, told(separate, DECISION, "input_basis"))
    )
    assert sorted(map(repr, told(together, INTENT))) == sorted(map(repr, told(separate, INTENT)))
