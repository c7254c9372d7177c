"""The flow meter as the kit sees it."""

from collections.abc import Sequence
from typing import Final

from services.flow_meter.core import SERVICE, TRAFFIC, event_time, step
from sluice_kit.stage import (
    Batch,
    ChainSpec,
    Coordinate,
    Record,
    StepResult,
    code_revision,
    event_time_order,
)
from sluice_kit.stage.keyed_state import KeyedOverlay, KeyedState

CODE_PACKAGES: Final = ("services.flow_meter", "sluice_kit.stage", "sluice_contracts")


class FlowMeterStage:
    """Reads admitted payments; writes its projection and a report of every hour that closed."""

    name = SERVICE
    inputs: Sequence[str] = (TRAFFIC,)

    def __init__(self) -> None:
        self.state = KeyedState(SERVICE)

    def step(self, overlay: KeyedOverlay, batch: Batch) -> StepResult:
        """The pure step."""
        return step(overlay, batch)

    def tails(self, coordinates: Sequence[Coordinate]) -> list[bytes]:
        """Nothing that this stage writes ends in coordinates."""
        return [b""] * len(coordinates)


def make_stage() -> FlowMeterStage:
    """A fresh stage: what a topology that chains it asks for."""
    return FlowMeterStage()


def by_event_time(records: Sequence[Record]) -> list[Record]:
    """Partitions merged by `ts_utc`, run by run."""
    return event_time_order(records, frozenset(), event_time)


def flow_meter_chain() -> ChainSpec:
    """The flow meter as a process of its own."""
    return ChainSpec((FlowMeterStage(),), by_event_time, code_revision(CODE_PACKAGES))
