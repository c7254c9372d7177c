"""The time-line as a state machine: whatever comes, the ladder's laws hold for what it puts out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from services.degrade_ladder.core import judged_signals
from services.degrade_ladder.model import RUNGS, SignalState, Standing, strictness
from sluice_decisions.postures import Posture
from tests.unit.degrade_ladder.builders import SECOND, Ladder

SERVICES = st.sampled_from(["graph", "features"])
WAITING = st.sampled_from([None, 0, 11, 101, 1_001])
RUNG = st.sampled_from([rung.value for rung in RUNGS])


class TimeLine(RuleBasedStateMachine):
    """Reports, silence and orders in any order; time moves between none and twelve seconds a batch."""

    def __init__(self) -> None:
        super().__init__()
        self.ladder = Ladder()
        self.ladder.driver.step()
        self.seen = 1

    # -- what happens --------------------------------------------------------------------------------

    @rule(service=SERVICES, waiting=WAITING, status=st.sampled_from(["ok", "ok", "degraded"]))
    def report(self, service: str, waiting: int | None, status: str) -> None:
        values = {} if waiting is None else {"waiting": waiting}
        self.ladder.report(service, status=status, **values)
        self.ladder.driver.step()

    @rule(seconds=st.integers(1, 20))
    def all_well(self, seconds: int) -> None:
        for _ in range(seconds):
            self.ladder.all_well(1)
            self.check()

    @rule(tenths=st.integers(0, 30))
    def time_passes(self, tenths: int) -> None:
        self.ladder.driver.advance(tenths / 10)

    @rule(rung=RUNG)
    def force(self, rung: str) -> None:
        self.ladder.force(f"all={rung}")

    @rule(rung=RUNG)
    def override(self, rung: str) -> None:
        self.ladder.force(f"all={rung}", override=True)

    @rule()
    def release(self) -> None:
        self.ladder.release()

    # -- what holds ----------------------------------------------------------------------------------

    @property
    def standing(self) -> Standing:
        return Standing.from_json(self.ladder.stage.state.values["scope|all"])

    @invariant()
    def check(self) -> None:
        self._new_postures_keep_the_laws()
        self._what_counts_now_keeps_them()

    def _new_postures_keep_the_laws(self) -> None:
        postures = self.ladder.postures()
        for before, after in zip(postures[self.seen - 1 :], postures[self.seen :], strict=False):
            assert after["sequence"] == before["sequence"] + 1
            if after["causes"] == ["OVERRIDDEN"]:
                continue
            up = strictness(Posture(before["posture"])) - strictness(Posture(after["posture"]))
            assert up <= 1, "never up two rungs"
            if up == 1:
                self._was_quiet_long_enough(before, after)
        self.seen = len(postures)

    def _was_quiet_long_enough(self, before: dict[str, Any], after: dict[str, Any]) -> None:
        policy = self.ladder.policy
        on_it = after["since"] - before["since"]
        started = any(
            "START" not in one["causes"] for one in self.ladder.postures()[: before["sequence"] + 1]
        )
        least = policy.minimum_seconds if started else policy.start_quiet_seconds
        quiet = policy.quiet_seconds[Posture(before["posture"])] if started else policy.start_quiet_seconds
        assert on_it >= max(least, quiet) * SECOND, "never flaps faster than the minimum"

    def _what_counts_now_keeps_them(self) -> None:
        now, said, standing = self.ladder.driver.now, self.ladder.postures()[-1], self.standing
        policy = self.ladder.policy
        left = policy.valid_for_seconds - policy.renew_every_seconds
        assert said["posture"] == standing.rung, "the bus says where the ladder stands"
        assert said["valid_until"] - now > left * SECOND, "always renewed"
        overridden = standing.force is not None and standing.force.override
        judged = judged_signals(self.ladder.stage.state.values, "all", now, policy)
        if not overridden:
            if any(one.state in {SignalState.STALE, SignalState.MISSING} for one in judged):
                assert standing.rung is Posture.FAIL_CLOSED, "no required signal, no decision"
            worst = max(strictness(one.rung) for one in judged)
            assert strictness(standing.rung) >= worst, "never milder than what is called for"
            if standing.force is not None:
                assert strictness(standing.rung) >= strictness(standing.force.rung), "a force is a floor"
        else:
            assert standing.force is not None
            assert standing.rung is standing.force.rung
        assert len(self.ladder.stage.state.values) <= 6, "the state is bounded"


TimeLine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestTimeLine = pytest.mark.filterwarnings("default")(TimeLine.TestCase)
