from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from services.scenario_runner.core import (
    FileFacts,
    GateFacts,
    OutputFacts,
    Ref,
    RunState,
    Submission,
    WorldFacts,
    WorldUnreadable,
    may_become,
    plan_run,
)


def ref(name: str) -> Ref:
    return Ref(f"oracle://worlds/w/{name}", "sha256", name.encode().hex().ljust(64, "0")[:64], 10)


def output(output_id: str, role: str = "business_traffic", rows: int = 5) -> OutputFacts:
    files = (FileFacts(ref(f"{output_id}.parquet"), rows, 1, 2),)
    return OutputFacts(output_id, role, "payment", "payment_id", 1, rows, files)


WORLD = WorldFacts(
    manifest=ref("manifest.json"),
    engine="reference-1",
    manifest_fingerprint="f" * 64,
    parameter_hash="a" * 64,
    seed=7,
    scenario_id="baseline",
    outputs=(output("payments"), output("refunds"), output("labels", role="truth")),
    gates=(
        GateFacts("payments.integrity", "PASS", ("payments",), ref("g1")),
        GateFacts("refunds.integrity", "PASS", ("refunds",), ref("g2")),
        GateFacts("labels.integrity", "PASS", ("labels",), ref("g3")),
    ),
)
ASKED = Submission("default", "oracle://worlds/w")


def test_what_is_left_out_comes_from_the_world() -> None:
    plan = plan_run(ASKED, WORLD)
    assert plan.streamed_outputs == ("payments", "refunds")
    assert plan.required_gates == ("payments.integrity", "refunds.integrity")
    assert plan.scenario_id == "baseline"
    assert plan.run_id == f"run-{plan.equivalence_key[:32]}"


def test_saying_the_defaults_or_their_order_makes_no_other_run() -> None:
    said = replace(
        ASKED,
        scenario_id="baseline",
        streamed_outputs=("refunds", "payments", "refunds"),
        required_gates=("refunds.integrity", "payments.integrity"),
        world_digest=WORLD.manifest.hash,
    )
    assert plan_run(said, WORLD) == plan_run(ASKED, WORLD)


@pytest.mark.parametrize(
    "other",
    [
        replace(ASKED, tenant="acme"),
        replace(ASKED, scenario_id="stress"),
        replace(ASKED, streamed_outputs=("payments",)),
        replace(ASKED, required_gates=("payments.integrity",)),
        replace(ASKED, traffic_delivery_mode="pull"),
        replace(ASKED, attempt=2),
    ],
)
def test_anything_that_matters_makes_another_run(other: Submission) -> None:
    assert plan_run(other, WORLD).run_id != plan_run(ASKED, WORLD).run_id


@pytest.mark.parametrize(
    "world",
    [
        replace(WORLD, manifest_fingerprint="e" * 64),
        replace(WORLD, parameter_hash="b" * 64),
        replace(WORLD, seed=8),
        replace(WORLD, seed=None),
    ],
)
def test_another_world_makes_another_run(world: WorldFacts) -> None:
    assert plan_run(ASKED, world).run_id != plan_run(ASKED, WORLD).run_id


def test_the_evidence_that_is_reused_makes_no_other_run() -> None:
    assert plan_run(replace(ASKED, reuse_evidence=ref("r")), WORLD).run_id == plan_run(ASKED, WORLD).run_id


def test_a_world_that_cannot_be_read_makes_a_run_of_its_own_with_the_reason() -> None:
    plan = plan_run(ASKED, WorldUnreadable("digest drift"))
    assert plan.unreadable == "digest drift"
    assert plan.manifest_fingerprint is None
    assert plan.run_id != plan_run(ASKED, WORLD).run_id
    assert plan.run_id == plan_run(ASKED, WorldUnreadable("another reason")).run_id


@given(st.permutations(["payments", "refunds"]), st.permutations(["payments.integrity", "refunds.integrity"]))
def test_the_key_does_not_depend_on_order(outputs: list[str], gates: list[str]) -> None:
    asked = replace(ASKED, streamed_outputs=tuple(outputs), required_gates=tuple(gates))
    assert plan_run(asked, WORLD).equivalence_key == plan_run(ASKED, WORLD).equivalence_key


ORDER = {
    RunState.PLANNED: 0,
    RunState.VERIFYING: 1,
    RunState.READY: 2,
    RunState.REFUSED: 2,
    RunState.CLOSED: 3,
}


class RunLife(RuleBasedStateMachine):
    """Whatever is tried, a run only moves forward, and what is decided stays decided."""

    def __init__(self) -> None:
        super().__init__()
        self.history = [RunState.PLANNED]

    @rule(wish=st.sampled_from(RunState))
    def try_any(self, wish: RunState) -> None:
        if may_become(self.history[-1], wish):
            self.history.append(wish)

    @precondition(lambda self: self.history[-1] is not RunState.CLOSED)
    @rule()
    def there_is_always_a_way_on_until_closed(self) -> None:
        assert any(may_become(self.history[-1], target) for target in RunState)

    @invariant()
    def never_back(self) -> None:
        ranks = [ORDER[state] for state in self.history]
        assert ranks == sorted(set(ranks))

    @invariant()
    def one_verdict_at_most(self) -> None:
        assert not {RunState.READY, RunState.REFUSED} <= set(self.history)

    @invariant()
    def no_ready_without_verification(self) -> None:
        if RunState.READY in self.history:
            assert self.history[: self.history.index(RunState.READY)] == [
                RunState.PLANNED,
                RunState.VERIFYING,
            ]

    @invariant()
    def closed_is_the_end(self) -> None:
        if self.history[-1] is RunState.CLOSED:
            assert not any(may_become(RunState.CLOSED, target) for target in RunState)


TestRunLife = RunLife.TestCase
