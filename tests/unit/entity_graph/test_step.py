"""The stage: contexts in the order of event time, versions, basis, late events, signals, replay."""

import hashlib
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.entity_graph.core import CONTEXT, LANE, PAYMENTS
from services.entity_graph.settings import load_policy
from services.entity_graph.stage import EntityGraphStage
from sluice_contracts import contract_for
from sluice_kit.artifacts import ArtifactError
from sluice_kit.columnar.reader import FEWEST_ROWS
from sluice_kit.config import PolicyError
from sluice_kit.stage import ChainSpec
from sluice_kit.stage.keyed_state import KeyedState
from sluice_kit.stage.watermark import RunningWatermark, advance_watermark
from sluice_kit.testing import TopologyDriver
from tests.unit.entity_graph.events import POLICY, SECOND, START, GraphDriver
from tests.unit.graph.histories import RULES

CONTRACT = contract_for("graph_context", 1)


def test_a_device_is_shared_from_the_second_customers_first_payment_on() -> None:
    graph = GraphDriver.fresh()
    graph.pay("e1", 1, customer="C1", device="D1")
    graph.pay("e2", 2, customer="C2", device="D1")
    graph.pay("e3", 3, customer="C1", device="D1")
    graph.step()
    found = graph.contexts()
    assert [found[name]["shared_device_degree"] for name in ("e1", "e2", "e3")] == [0, 1, 1]
    assert [found[name]["component_size"] for name in ("e1", "e2", "e3")] == [2, 3, 3]
    assert all(not CONTRACT.check(context) for context in found.values())


def test_fraud_is_seen_over_a_shared_device_and_is_gone_with_its_correction() -> None:
    graph = GraphDriver.fresh()
    graph.pay("e1", 1, customer="C1", card="K1", device="D1")
    graph.pay("e2", 2, customer="C2", device="D1")
    graph.label("l1", "P-e1", "FRAUD", 3, customer="C1", card="K1")
    graph.pay("e3", 3, customer="C2", card="K2")  # the label of the same moment comes first
    graph.step()
    graph.label("l2", "P-e1", "LEGIT", 4, customer="C1", card="K1")
    graph.pay("e4", 5, customer="C2", card="K2")
    graph.step()
    distances = {name: context["fraud_distance"] for name, context in graph.contexts().items()}
    assert distances == {"e1": None, "e2": None, "e3": 2, "e4": None}


def test_a_card_of_two_customers_degrades_what_it_touches_and_nothing_else() -> None:
    graph = GraphDriver.fresh()
    graph.pay("e1", 1, customer="C1", card="K1")
    graph.pay("e2", 2, customer="C2", card="K1")
    graph.pay("e3", 3, customer="C1", card="K9")
    graph.pay("e4", 4, customer="C3", card="K3")
    graph.step()
    said = {name: (context["integrity"], context["conflicts"]) for name, context in graph.contexts().items()}
    assert said == {"e1": ("CLEAN", 0), "e2": ("DEGRADED", 1), "e3": ("DEGRADED", 1), "e4": ("CLEAN", 0)}


def test_two_runs_and_two_tenants_share_nothing() -> None:
    graph = GraphDriver.fresh()
    graph.pay("e1", 1, customer="C1", card="K1", device="D1")
    graph.pay("e2", 2, customer="C2", card="K1", device="D1", pins={"run_id": "run-2"})
    graph.pay("e3", 3, customer="C3", card="K1", device="D1", pins={"tenant": "acme"})
    graph.step()
    for context in graph.contexts().values():
        assert (context["shared_device_degree"], context["component_size"], context["conflicts"]) == (0, 3, 0)


def test_the_version_is_the_watermark_with_the_event_and_never_goes_back() -> None:
    graph = GraphDriver.fresh()
    for partition in range(4):
        graph.pay(f"e{partition}", partition, partition=partition)
    graph.step()
    graph.pay("e4", 10, partition=0)
    graph.pay("late", -5, partition=1)
    graph.step()
    found = graph.contexts()
    assert [found[f"e{n}"]["graph_version"] for n in range(5)] == [-1, -1, -1, START, START + SECOND]
    assert found["late"]["graph_version"] == START


def test_an_idle_partition_no_longer_holds_the_version_back() -> None:
    graph = GraphDriver.fresh()
    graph.pay("e1", 1)
    graph.step()
    graph.advance(6)
    graph.pay("e2", 2)
    graph.step()
    assert graph.contexts()["e2"]["graph_version"] == START + 2 * SECOND


def test_the_basis_is_the_input_before_the_batch() -> None:
    graph = GraphDriver.fresh()
    graph.pay("e1", 1)
    graph.pay("e2", 2)
    graph.step()
    graph.pay("e3", 3, partition=2)
    graph.step()
    graph.pay("e4", 4)
    graph.step()
    positions = [[], [], [[PAYMENTS, 0, 2]], [[PAYMENTS, 0, 2], [PAYMENTS, 2, 1]]]
    expected = [hashlib.sha256(orjson.dumps(each)).hexdigest() for each in positions]
    found = graph.contexts()
    assert [found[f"e{number}"]["graph_basis"] for number in range(1, 5)] == expected


def test_a_signal_a_second_counts_what_came() -> None:
    graph = GraphDriver.fresh()
    graph.pay("e1", 1)
    graph.pipe(PAYMENTS, b"junk", partition=0)
    graph.step()
    graph.advance(0.5)
    assert graph.events(LANE) == []
    graph.advance(0.5)
    graph.advance(0.9)
    (signal,) = graph.events(LANE)
    payload = signal["payload"]
    assert isinstance(payload, dict)
    values = payload["values"]
    assert (values["events"], values["errors"], values["entities"]) == (1, 1, 2)
    assert not {"degraded", "waiting", "oldest_wait_ms"} & values.keys(), "it holds no payment back"
    assert payload["status"] == "degraded", "a record could not be read"
    assert (payload["window_start"], payload["window_end"]) == (START, START + SECOND)
    assert not contract_for("service_signal", 1).check(signal)


def test_the_watermark_lags_once_there_is_one() -> None:
    graph = GraphDriver.fresh()
    for partition in range(4):
        graph.advance(1)
        graph.pay(f"e{partition}", 2 * partition, partition=partition)
        graph.step()
    graph.advance(1)
    said: list[Any] = [event["payload"] for event in graph.events(LANE)]
    assert [one["values"]["watermark_lag_ms"] for one in said] == [0, 0, 0, 6_000]
    assert {one["status"] for one in said} == {"ok"}


def test_a_run_that_is_long_over_is_forgotten() -> None:
    graph = GraphDriver.fresh()
    graph.pay("e1", 1)
    graph.step()
    graph.advance(30 * 86_400 + 1)
    assert graph.stage.state.size().entities == 0
    graph.pay("e2", 2)
    graph.step()
    assert graph.contexts()["e2"]["component_size"] == 1
    assert graph.stage.state.graph(("default", "run-1")).number == 1  # type: ignore[union-attr]


def test_a_poisoned_record_is_refused_and_the_rest_is_taken() -> None:
    graph = GraphDriver.fresh()
    graph.pay("e1", 1)
    graph.pay("e2", 2)
    records, graph._waiting = graph._waiting, []
    (run,) = graph.step_records(records, {0: "it raised"})
    assert run.quarantined == {"POISON": 1}
    assert list(graph.contexts()) == ["e2"]


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_what_is_said_does_not_depend_on_batches(data: st.DataObject) -> None:
    """But for version and basis, which say where a batch began; columns or one by one."""
    count = data.draw(st.sampled_from([12, FEWEST_ROWS * 2]))
    choice = st.integers(0, 5)
    drawn = [data.draw(st.tuples(choice, choice, choice, st.booleans())) for _ in range(count)]
    said = []
    for size in (count, data.draw(st.integers(1, 9))):
        graph = GraphDriver.fresh()
        for number, (customer, card, device, fraud) in enumerate(drawn):
            graph.pay(
                f"e{number:03}",
                number,
                customer=f"C{customer}",
                card=f"K{card}",
                device=f"D{device}",
                partition=card % 4,
            )
            if fraud:
                graph.label(f"l{number}", f"P-e{number}", "FRAUD", number, customer=f"C{customer}")
            if number % size == size - 1:
                graph.step()
        graph.step()
        said.append(
            {
                name: {key: context[key] for key in context if key != "graph_basis"}
                for name, context in graph.contexts().items()
            }
        )
    assert said[0] == said[1]
    assert len(said[0]) == count


def test_a_restart_from_a_checkpoint_goes_on_with_the_same_bytes(tmp_path: Path) -> None:
    graph = GraphDriver.fresh()
    for number in range(300):
        graph.pay(
            f"e{number}", number, customer=f"C{number % 40}", card=f"K{number % 37}", device=f"D{number % 23}"
        )
        if number % 10 == 9:
            graph.label(f"l{number}", f"P-e{number}", "FRAUD", number, customer=f"C{number % 40}")
            graph.step()
            files = graph.stage.state.freeze().write(tmp_path)
    assert len(files) < 20
    stage = EntityGraphStage(POLICY)
    stage.state.load(files)
    assert stage.state.size()[:3] == graph.stage.state.size()[:3]
    restarted = TopologyDriver(
        ChainSpec([stage]), now=graph.now, logs={**graph.logs}, batch_no=graph.batch_no
    )
    fresh = GraphDriver.fresh()
    for number in range(300, 400):
        fresh.pay(
            f"e{number}", number, customer=f"C{number % 40}", card=f"K{number % 37}", device=f"D{number % 23}"
        )
    records = [record._replace(offset=record.offset + 300) for record in fresh._waiting]
    facts = [driver.step_records(records)[0].facts for driver in (graph, restarted)]
    assert len(facts[0]) == 100
    assert facts[0] == facts[1]
    assert all(fact.topic == CONTEXT for fact in facts[0])


def test_what_could_not_be_sealed_goes_with_the_next_checkpoint(tmp_path: Path) -> None:
    graph = GraphDriver.fresh()
    graph.pay("e1", 1, customer="C1", device="D1")
    graph.step()
    with pytest.raises(OSError, match="gone"):
        graph.stage.state.freeze().write(tmp_path / "gone")
    graph.pay("e2", 2, customer="C2", device="D1")
    graph.step()
    stage = EntityGraphStage(POLICY)
    stage.state.load(graph.stage.state.freeze().write(tmp_path))
    assert stage.state.size()[:3] == graph.stage.state.size()[:3] == (1, 4, 4)


@pytest.mark.parametrize(
    ("name", "found", "damaged"),
    [
        (".graph", b'"format":1', b'"format":0'),
        (".graph", b'"marks"', b'"marke"'),
        (".graph", b'"lengths"', b'"lengthz"'),
        (".json", b"{", b"["),
    ],
)
def test_a_damaged_checkpoint_is_named_and_changes_nothing(
    tmp_path: Path, name: str, found: bytes, damaged: bytes
) -> None:
    graph = GraphDriver.fresh()
    graph.pay("e1", 1)
    graph.step()
    files = graph.stage.state.freeze().write(tmp_path)
    (sealed,) = [path for path in files if path.suffix == name]
    sealed.write_bytes(sealed.read_bytes().replace(found, damaged, 1))
    state = EntityGraphStage(POLICY).state
    with pytest.raises(ArtifactError, match=sealed.name):
        state.load(files)
    assert (dict(state.notes), state.size().runs) == ({}, 0)


def test_a_run_without_entities_goes_on_in_its_own_graph() -> None:
    graph = GraphDriver.fresh()
    graph.label("l1", "P-e1", "LEGIT", 1)  # nobody called it fraud, so nothing of it is kept
    graph.step()
    state, run = graph.stage.state, ("default", "run-1")
    assert state.size()[:2] == (1, 0)
    assert state.overlay().draft(run, graph.now).graph.graph is state.graph(run)


@given(st.lists(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30)), max_size=5), max_size=8))
def test_a_running_watermark_is_the_kits_record_by_record(batches: list[list[tuple[int, int]]]) -> None:
    rules = {"partitions": 4, "idle_after": 2}
    one, other = KeyedState("one"), KeyedState("other")
    for number, batch in enumerate(batches):
        now = number * 2
        left, right = one.overlay(), other.overlay()
        advance_watermark(left, "run", {}, now=now, **rules)
        expected = [advance_watermark(left, "run", {p: ts}, now=now, **rules) for p, ts in batch]
        running = RunningWatermark(right, "run", now=now, **rules)
        assert [running.note(partition, ts) for partition, ts in batch] == expected
        running.close()
        one.apply(left, (), number)
        other.apply(right, (), number)
        assert one.values == other.values


def test_a_policy_that_is_wrong_names_the_file_and_the_key(tmp_path: Path) -> None:
    wrong = RULES | {"edges": RULES["edges"] | {"customer_terminal": {"kept": [3, 3], "joining": [1, 1]}}}
    (tmp_path / "entity_graph.yaml").write_bytes(orjson.dumps(wrong))
    with pytest.raises(
        PolicyError, match=r"entity_graph\.yaml: edges: .*customer_terminal is no identity edge"
    ):
        load_policy(tmp_path)


def test_a_changed_rule_changes_the_revision_of_the_stage() -> None:
    policy = POLICY
    changed = policy.model_copy(update={"fraud_radius": 2})
    assert EntityGraphStage(policy).revision != EntityGraphStage(changed).revision


def test_a_closed_run_is_forgotten_once_nothing_has_come_of_it_for_long_enough(tmp_path: Path) -> None:
    """The closing stands on another topic and may be read ahead of the run's last payments."""
    graph = GraphDriver.fresh()
    graph.pay("e1", 1, device="D1")
    graph.close("run-1")
    graph.close("run-without-payments")
    graph.step()
    graph.advance(20 * 3_600)
    graph.pay("e2", 2)
    graph.step()
    assert graph.contexts()["e2"]["component_size"] == 2
    graph.advance(23 * 3_600)
    files = graph.stage.state.freeze().write(tmp_path)
    assert graph.stage.state.size().runs == 1

    restored = GraphDriver.fresh()
    restored.stage.state.load(files)
    restored.now = graph.now
    for one in (graph, restored):
        one.advance(3_600 + 1)
        assert (one.stage.state.size().runs, one.stage.state.size().entities) == (0, 0)
        kept = [key for key in one.stage.state.notes if "run-" in key]
        assert kept == []
