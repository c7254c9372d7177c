"""The whole loop stepped again in groups of members: every group comes to the digests of the chain."""

import pytest
from hypothesis import given, settings

from sluice_kit.artifacts import ArtifactStore
from sluice_kit.replay.apart import groups_of
from tests.unit.loop.chain import chained, loop_chain
from tests.unit.loop.history import Batches, histories
from tests.unit.replay.apart import Groups, stepped_apart

EACH_ALONE: Groups = [range(number, number + 1) for number in range(1, 5)]


@pytest.mark.parametrize("groups", [groups_of(5), EACH_ALONE], ids=["as deployed", "each alone"])
@settings(deadline=None, max_examples=4)
@given(batches=histories)
def test_groups_give_the_digests_of_the_loop(
    store: ArtifactStore, tmp_path_factory: pytest.TempPathFactory, groups: Groups, batches: Batches
) -> None:
    driver = chained(store, batches)
    behind, before = stepped_apart(driver, loop_chain(store), tmp_path_factory, groups)
    assert len(behind) == len(before) == driver.batch_no + 1
    assert not any(behind)
    assert not any(before)
