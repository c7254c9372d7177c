"""Steps a driver's history again in parts, as a verification in several processes does."""

from collections.abc import Sequence

import pytest

from sluice_kit.replay.apart import by_pass, standing_in, step_group
from sluice_kit.replay.history import differs
from sluice_kit.replay.standing_in import Handed, HandedBack
from sluice_kit.stage import ChainSpec, InputRange, Record
from sluice_kit.stage.basis import BasisRecord
from sluice_kit.stage.restore import LoggedPlaces, step_pending
from sluice_kit.testing import TopologyDriver
from tests.unit.stage.test_replay import PARTITIONS, histories, inputs_of

Groups = Sequence[range]
Apart = tuple[list[bool], list[bool]]
"""Whether each batch of the members, and each of the head, came out otherwise than logged."""


def stepped_apart(
    driver: TopologyDriver, fresh: ChainSpec, folder: pytest.TempPathFactory, groups: Groups
) -> Apart:
    def on_the_bus(ranges: Sequence[InputRange]) -> list[Record]:
        return [
            Record(*one)
            for one in (
                (item.topic, item.partition, found.offset, found.key, found.value)
                for item in ranges
                for found in driver.logs[item.topic, item.partition][item.start : item.end]
            )
        ]

    def group_of(numbers: range) -> tuple[list[Sequence[Sequence[Handed]]], list[bool]]:
        known = histories(driver, folder.mktemp("members"), fresh.members)  # type: ignore[arg-type]
        stepped = list(step_group(known, numbers, on_the_bus, PARTITIONS))
        return [one.handed for one in stepped], [one.differs for one in stepped]

    found = [group_of(numbers) for numbers in groups]
    back = HandedBack(fresh.members[1:])
    of_head = histories(driver, folder.mktemp("head"), fresh.members)[0]  # type: ignore[arg-type]
    batches = zip(*[handed for handed, _ in found], strict=True)

    def inputs(record: BasisRecord) -> list[Record]:
        back.expect(by_pass(next(batches)))
        return inputs_of(driver, record)

    pair = ChainSpec([fresh.head, back])
    before = [
        differs(one.runs[0], one.records[0])
        for one in step_pending(pair, [of_head, standing_in(back, of_head)], inputs, LoggedPlaces(PARTITIONS))
    ]
    return [any(wrong) for wrong in zip(*[wrong for _, wrong in found], strict=True)], before
