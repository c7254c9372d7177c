"""The flow meter as the kit sees it."""

from collections.abc import Sequence

from services.flow_meter.core import SERVICE, TRAFFIC, step
from sluice_kit.artifacts import ArtifactStore
from sluice_kit.stage import Batch, Coordinate, Record, StepResult, control_first
from sluice_kit.stage.keyed_state import KeyedOverlay, KeyedState
from sluice_kit.stage.process import Member, StageArguments
from sluice_kit.telemetry import Health


class FlowMeterStage:
    """Reads admitted payments; writes its projection and a report of every hour that closed."""

    name = SERVICE
    inputs: Sequence[str] = (TRAFFIC,)
    code: Sequence[str] = (
        "services.flow_meter",
        "sluice_kit.columnar",
        "sluice_kit.stage",
        "sluice_contracts",
    )
    revision: Sequence[str] = ()

    def __init__(self) -> None:
        self.state = KeyedState(SERVICE)

    def order(self, records: Sequence[Record]) -> list[Record]:
        """By partition and offset; the step merges partitions by `ts_utc`, run by run."""
        return control_first(records, self.inputs)

    def step(self, overlay: KeyedOverlay, batch: Batch) -> StepResult:
        """The pure step."""
        return step(overlay, batch)

    def tails(self, coordinates: Sequence[Coordinate]) -> list[bytes]:
        """Nothing that this stage writes ends in coordinates."""
        return [b""] * len(coordinates)


def make_member(given: StageArguments, store: ArtifactStore, health: Health) -> Member:
    """What a process needs of the flow meter, alone or chained."""
    del given, store, health
    return Member(FlowMeterStage())
