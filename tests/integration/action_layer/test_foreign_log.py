"""A database that does not belong to the effect log on the disk: the service refuses to start."""

from __future__ import annotations

import pytest

from services.action_layer.app import EFFECT_LOG_FOREIGN
from sluice_kit.config import Wiring
from sluice_kit.testing.waiting import until
from tests.integration.action_layer.layer import (
    LayerProcess,
    Layers,
    intent,
    key_of,
    logged_effects,
    publish,
    sql,
)

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("topics_applied")]


def assert_refused(layer: LayerProcess) -> None:
    assert until(layer.process.poll, "it to refuse") == EFFECT_LOG_FOREIGN
    assert "docs/runbooks/effect-log.md" in layer.log.read_text(encoding="utf-8")


def test_a_database_that_knows_nothing_of_the_effects_erases_none(wiring: Wiring, layers: Layers) -> None:
    first = layers()
    intents = [intent("log") for _ in range(20)]
    publish(wiring, intents)
    for one in intents:
        first.wait_for(key_of(one), "EXECUTED")
    assert first.terminate() == 0
    effects = logged_effects(wiring)
    noted = sql(wiring, "delete from effect_log returning file, bytes, owner")[0]
    assert_refused(layers())
    assert logged_effects(wiring) == effects

    sql(wiring, "insert into effect_log values ('effects', $1, $2)", *noted[:2])
    assert_refused(layers())  # a note of its own, as long as ours
    assert logged_effects(wiring) == effects

    sql(wiring, "update effect_log set owner = $1", noted[2])
    again, more = layers(), intent("log")
    publish(wiring, [more])
    again.wait_for(key_of(more), "EXECUTED")
    assert logged_effects(wiring) == {**effects, key_of(more): 1}
