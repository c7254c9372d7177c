"""A chain stepped again in halves: members fed from the bus, the head by what they had handed it."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings

from sluice_kit.replay.history import differs
from sluice_kit.replay.standing_in import Handed, HandedBack, LoggedHead, PlacesOfMembers
from sluice_kit.stage import ChainSpec, InputRange, Record, StepResult
from sluice_kit.stage.basis import BasisRecord
from sluice_kit.stage.restore import LoggedPlaces, MemberHistory, step_pending
from sluice_kit.testing import TopologyDriver
from tests.unit.stage.loop_stages import JoinStage
from tests.unit.stage.test_loop_topologies_agree import batches_of_payments, chained, loop_chain
from tests.unit.stage.test_replay import PARTITIONS, histories, inputs_of
from tests.unit.stage.test_topologies_agree import Sent

Halves = tuple[list[bool], list[bool]]
"""Whether each batch of the members, and each of the head, came out otherwise than logged."""


def stepped_in_halves(driver: TopologyDriver, fresh: ChainSpec, folder: pytest.TempPathFactory) -> Halves:
    def on_the_bus(ranges: Sequence[InputRange]) -> list[Record]:
        return [
            Record(*one)
            for one in (
                (item.topic, item.partition, found.offset, found.key, found.value)
                for item in ranges
                for found in driver.logs[item.topic, item.partition][item.start : item.end]
            )
        ]

    members = fresh.members[1:]
    head = LoggedHead(fresh.head, members, on_the_bus)
    known = histories(driver, folder.mktemp("members"), fresh.members)  # type: ignore[arg-type]
    known[0].stage = head

    def expect(record: BasisRecord) -> list[Record]:
        head.expect(record)
        return []

    handed: list[list[list[Handed]]] = []
    behind = []
    for one in step_pending(ChainSpec([head, *members]), known, expect, PlacesOfMembers(head, PARTITIONS)):
        handed.append(head.handed)
        behind.append(any(map(differs, one.runs[1:], one.records[1:])))

    back = HandedBack(members)
    of_head = histories(driver, folder.mktemp("head"), fresh.members)[0]  # type: ignore[arg-type]
    beside = MemberHistory(back, 0, of_head.basis, of_head.checkpointer, pending=list(of_head.pending))
    batches = iter(handed)

    def inputs(record: BasisRecord) -> list[Record]:
        back.expect(next(batches))
        return inputs_of(driver, record)

    pair = ChainSpec([fresh.head, back])
    before = [
        differs(one.runs[0], one.records[0])
        for one in step_pending(pair, [of_head, beside], inputs, LoggedPlaces(PARTITIONS))
    ]
    return behind, before


@settings(deadline=None, max_examples=20)
@given(batches=batches_of_payments)
def test_both_halves_give_the_digests_of_the_chain(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[Sent]]
) -> None:
    driver = chained(batches)
    behind, before = stepped_in_halves(driver, loop_chain(), tmp_path_factory)
    assert len(behind) == len(before) == len(driver.basis) // 3
    assert not any(behind)
    assert not any(before)


def test_what_a_member_changed_shows_in_both_halves(tmp_path_factory: pytest.TempPathFactory) -> None:
    class Silent(JoinStage):
        def step(self, overlay: object, batch: object) -> StepResult:
            result = super().step(overlay, batch)  # type: ignore[arg-type]
            result.trailing.clear()
            return result

    driver = chained([[(0, 0, 0), (1, 5, 1)], [(2, 9, 0)]])
    gate, context, _ = loop_chain().members
    behind, before = stepped_in_halves(driver, ChainSpec([gate, context, Silent()]), tmp_path_factory)
    assert any(behind)
    assert any(before)


def test_facts_that_are_not_as_they_were_show_behind_the_head(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    driver = chained([[(0, 0, 0), (1, 5, 1)]])
    log = next(log for (topic, _), log in driver.logs.items() if topic == "traffic.payment" and log)
    del log[-1]
    behind, _ = stepped_in_halves(driver, loop_chain(), tmp_path_factory)
    assert any(behind)
