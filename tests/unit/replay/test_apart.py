"""A chain stepped again in parts: members fed from the bus, the head by what they had handed it."""

import pytest
from hypothesis import given, settings

from sluice_kit.replay.apart import groups_of
from sluice_kit.stage import Batch, ChainSpec, StepResult, TrailingOutput
from sluice_kit.testing import TopologyDriver
from tests.unit.ingestion_gate.events import NOW
from tests.unit.replay.apart import Groups, stepped_apart
from tests.unit.stage.loop_stages import JoinStage
from tests.unit.stage.test_loop_topologies_agree import batches_of_payments, chained, loop_chain
from tests.unit.stage.test_topologies_agree import Sent, open_run, send

SNAPSHOT = "state.online_features.snapshot"
TOGETHER: Groups = [range(1, 3)]
ONE_EACH: Groups = groups_of(3)


@pytest.mark.parametrize("groups", [TOGETHER, ONE_EACH], ids=["together", "one each"])
@settings(deadline=None, max_examples=20)
@given(batches=batches_of_payments)
def test_all_parts_give_the_digests_of_the_chain(
    tmp_path_factory: pytest.TempPathFactory, groups: Groups, batches: list[list[Sent]]
) -> None:
    driver = chained(batches)
    behind, before = stepped_apart(driver, loop_chain(), tmp_path_factory, groups)
    assert len(behind) == len(before) == len(driver.basis) // 3
    assert not any(behind)
    assert not any(before)


def test_what_a_member_changed_shows_in_group_and_head(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    class Silent(JoinStage):
        def step(self, overlay: object, batch: object) -> StepResult:
            result = super().step(overlay, batch)  # type: ignore[arg-type]
            result.trailing.clear()
            return result

    driver = chained([[(0, 0, 0), (1, 5, 1)], [(2, 9, 0)]])
    gate, context, _ = loop_chain().members
    behind, before = stepped_apart(driver, ChainSpec([gate, context, Silent()]), tmp_path_factory, ONE_EACH)
    assert any(behind)
    assert any(before)


def test_facts_that_are_not_as_they_were_show_behind_the_head(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    driver = chained([[(0, 0, 0), (1, 5, 1)]])
    log = next(log for (topic, _), log in driver.logs.items() if topic == "traffic.payment" and log)
    del log[-1]
    behind, _ = stepped_apart(driver, loop_chain(), tmp_path_factory, ONE_EACH)
    assert any(behind)


class SeenStage(JoinStage):
    """Repeats each decision, which comes to it in the second pass."""

    name = "degrade_ladder"
    inputs = ("traffic.decision",)

    def step(self, overlay: object, batch: Batch) -> StepResult:
        del overlay
        seen = [TrailingOutput(SNAPSHOT, one.key, one.value or b"") for one in batch.records]
        return StepResult(trailing=seen)


def test_a_silent_group_is_fed_with_what_others_handed_over(tmp_path_factory: pytest.TempPathFactory) -> None:
    driver = TopologyDriver(ChainSpec([*loop_chain().members, SeenStage()]), now=NOW)
    open_run(driver)
    send(driver, [(0, 0, 0), (1, 5, 1)])
    fresh = ChainSpec([*loop_chain().members, SeenStage()])
    behind, before = stepped_apart(driver, fresh, tmp_path_factory, [range(1, 3), range(3, 4)])
    seen = [log for (topic, _), log in driver.logs.items() if topic == SNAPSHOT]
    assert sum(map(len, seen)) == 2
    assert not any(behind)
    assert not any(before)
