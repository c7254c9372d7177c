"""The graph as the kit sees it."""

from collections.abc import Sequence

from services.entity_graph.core import LABELS, PAYMENTS, SERVICE, step
from sluice_graph import GraphOverlay, GraphPolicy, GraphState
from sluice_kit.stage import Batch, Coordinate, Record, StepResult, control_first
from sluice_kit.stage.closed_runs import RUNS


class EntityGraphStage:
    """Reads admitted payments and labels; states one context for every payment."""

    name = SERVICE
    inputs: Sequence[str] = (RUNS, LABELS, PAYMENTS)
    code: Sequence[str] = (
        *(
            f"services.entity_graph.{name}"
            for name in ("arrivals", "basis", "context_writer", "core", "signals", "stage")
        ),
        "sluice_graph",
        "sluice_kit.columnar",
        "sluice_kit.stage",
        "sluice_contracts",
    )

    def __init__(self, policy: GraphPolicy, shard: int = 0) -> None:
        self.state = GraphState(SERVICE, policy)
        self.revision: Sequence[str] = (policy.fingerprint(),)
        self._shard = shard

    def order(self, records: Sequence[Record]) -> list[Record]:
        """By topic, partition and offset: the step itself merges the events of a run by time."""
        return control_first(records, self.inputs)

    def step(self, overlay: GraphOverlay, batch: Batch) -> StepResult:
        """The pure step."""
        return step(overlay, batch, self._shard)

    def tails(self, coordinates: Sequence[Coordinate]) -> list[bytes]:
        """Nothing that this stage writes ends in coordinates."""
        return [b""] * len(coordinates)
