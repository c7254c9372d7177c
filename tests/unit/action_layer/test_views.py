"""What people see of an action."""

from services.action_layer.core import Action, State
from services.action_layer.lookups import Attempt, KnownAction
from services.action_layer.views import action_view
from sluice_contracts import encode
from tests.unit.action_layer.builders import intent

SECOND = 1_000_000


def test_times_are_readable_and_what_is_not_known_is_left_out() -> None:
    action = Action(State.PENDING, attempts=1, next_at=3 * SECOND)
    value = encode("action_intent", 1, intent(effector="webhook"))
    calls = (Attempt(1, SECOND, None, None),)
    view = action_view(
        KnownAction("k-1", "default", "e-1", "webhook", SECOND // 2, value, action, attempts=calls)
    )
    assert (view.started_at, view.next_at, view.not_after) == (
        "1970-01-01T00:00:00.500000Z",
        "1970-01-01T00:00:03.000000Z",
        None,
    )
    assert (view.calls[0].started_at, view.calls[0].ended_at) == ("1970-01-01T00:00:01.000000Z", None)
