"""Whatever comes in whatever batches: the engine says what the slow way says."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from sluice_graph import KINDS, EventContext, GraphPolicy, GraphState, Label, Payments
from sluice_graph.observing import ScopeDraft
from sluice_graph.scope_graph import FAR
from tests.unit.graph.by_hand import HandGraph
from tests.unit.graph.histories import Payment, events, policy

SCOPE = ("default", "r1")
Event = Payment | Label

EXAMPLES = settings(max_examples=60, deadline=None)


def step(
    state: GraphState, batch: Sequence[Event], start: int, scope: tuple[str, str] = SCOPE
) -> list[EventContext]:
    """Step events and commit them; the time of an event is its place."""
    overlay = state.overlay()
    contexts = observe(overlay.draft(scope, 0), batch, start)
    state.apply(overlay, (), start)
    return contexts


def observe(draft: ScopeDraft, batch: Sequence[Event], start: int) -> list[EventContext]:
    rows: list[Payment] = []
    times, labels = [], []
    for place, event in enumerate(batch, start=start):
        if isinstance(event, Label):
            labels.append((len(rows), event))
        else:
            rows.append(event)
            times.append(place)
    keys = list(zip(*rows, strict=True)) if rows else [() for _ in KINDS]
    return draft.observe(Payments(times, keys), labels)


def by_hand(rules: GraphPolicy, history: Sequence[Event]) -> tuple[HandGraph, list[EventContext]]:
    graph = HandGraph(rules)
    contexts = []
    for place, event in enumerate(history):
        if isinstance(event, Label):
            graph.label(event)
        else:
            contexts.append(graph.pay(event, place))
    return graph, contexts


def assert_same(state: GraphState, hand: HandGraph, scope: tuple[str, str] = SCOPE) -> None:
    """Everything that is committed: entities in order, edges, components, distances, counts, conflicts."""
    graph = state.graph(scope)
    if graph is None:
        assert not hand.entities
        return
    named = [(KINDS[kind], name) for kind, name in zip(graph.kinds, graph.names, strict=True)]
    assert named == hand.entities
    assert graph.edges == len(hand.edges)
    for number, entity in enumerate(named):
        assert [named[other] for other, _ in graph.neighbours(number)][::-1] == hand.neighbours(entity)
        assert {named[member] for member in graph.component(number)} == hand.component(entity)
        root = graph.root(number)
        assert -graph.links[root] == len(hand.component(entity))
        assert named[graph.oldest[root]] == min(hand.component(entity), key=named.index)
        distance = graph.distances[number]
        assert (None if distance == FAR else distance) == hand.distance(entity)
        assert graph.disputes.get(number, 0) == len(hand.conflicts_at(entity))
        disputed = [
            e for e in hand.component(entity) if e[0] in hand.policy.exclusive and hand.conflicts_at(e)
        ]
        assert graph.component_disputes.get(root, 0) == len(disputed)
        seen = hand.events.get(entity, [])
        counters = graph.counters
        assert counters.events[number] == len(seen) if number < len(counters.events) else not seen
        if seen:
            assert (counters.first[number], counters.last[number]) == (min(seen), max(seen))


@given(events, st.data())
@EXAMPLES
def test_contexts_and_state_do_not_depend_on_batches(history: list[Event], data: st.DataObject) -> None:
    rules = policy()
    hand, expected = by_hand(rules, history)
    state = GraphState("graph", rules)
    found, at = [], 0
    while at < len(history):
        size = data.draw(st.integers(1, len(history) - at))
        found += step(state, history[at : at + size], at)
        at += size
    assert found == expected
    assert_same(state, hand)


@given(events, st.integers(0, 40))
@EXAMPLES
def test_a_run_that_is_full_takes_nothing_more_in_and_says_so(history: list[Event], room: int) -> None:
    rules = policy(max_entities=room + 1)
    hand, expected = by_hand(rules, history)
    state = GraphState("graph", rules)
    assert step(state, history, 0) == expected
    assert_same(state, hand)


@given(events, st.data())
@EXAMPLES
def test_a_restored_state_goes_on_as_if_nothing_had_been(history: list[Event], data: st.DataObject) -> None:
    rules = policy()
    hand, expected = by_hand(rules, history)
    with TemporaryDirectory() as name:
        folder = Path(name)
        state, found, at = GraphState("graph", rules), [], 0
        while at < len(history):
            size = data.draw(st.integers(1, min(4, len(history) - at)))
            found += step(state, history[at : at + size], at)
            at += size
            paths = state.freeze().write(folder)
            if data.draw(st.booleans()):
                state = GraphState("graph", rules)
                state.load(paths)
        assert found == expected
        assert_same(state, hand)


@given(events, events, events)
@EXAMPLES
def test_a_dropped_overlay_leaves_nothing(
    before: list[Event], dropped: list[Event], after: list[Event]
) -> None:
    rules = policy()
    hand, _ = by_hand(rules, [*before, *after])
    state = GraphState("graph", rules)
    step(state, before, 0)
    observe(state.overlay().draft(SCOPE, 0), dropped, 100)
    step(state, after, len(before))
    assert_same(state, hand)


@given(events, events)
@EXAMPLES
def test_two_runs_never_share_an_entity(first: list[Event], second: list[Event]) -> None:
    rules = policy()
    state = GraphState("graph", rules)
    overlay = state.overlay()
    observe(overlay.draft(("default", "r1"), 0), first, 0)
    observe(overlay.draft(("other", "r1"), 0), second, 0)
    state.apply(overlay, (), 0)
    step(state, second, 0, ("default", "r2"))
    assert_same(state, by_hand(rules, first)[0], ("default", "r1"))
    assert_same(state, by_hand(rules, second)[0], ("other", "r1"))
    assert_same(state, by_hand(rules, second)[0], ("default", "r2"))
