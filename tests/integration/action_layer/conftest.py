"""Action layers and a target for which a blind retry would show."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sluice_kit.config import Wiring
from tests.integration.action_layer.layer import LaneReader, LayerProcess, Layers, TargetProcess


@pytest.fixture
def layers(wiring_file: Path, tmp_path: Path) -> Iterator[Layers]:
    """Starts action layers, and ends them."""
    started: list[LayerProcess] = []

    def start(**options: Any) -> LayerProcess:
        started.append(LayerProcess(wiring_file, tmp_path / "layer", **options))
        return started[-1]

    yield start
    for process in started:
        process.close()


@pytest.fixture
def forgetful(tmp_path: Path) -> Iterator[TargetProcess]:
    """A target for which every request is an effect: a blind retry would show."""
    process = TargetProcess(tmp_path / "target", honours=False)
    yield process
    process.close()


@pytest.fixture(scope="module")
def lane(wiring: Wiring, topics_applied: None) -> Iterator[LaneReader]:
    reader = LaneReader(wiring)
    yield reader
    reader.close()
