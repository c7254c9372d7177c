"""The stage engine: pure steps, one transaction a batch, restart by replay, chains in one process."""

from sluice_kit.places import Coordinate
from sluice_kit.stage.batching import control_first, event_time_order
from sluice_kit.stage.chain import ChainLoopError, MemberRun, run_chain
from sluice_kit.stage.code_rev import code_revision
from sluice_kit.stage.errors import (
    ChainNotDrainedError,
    ChainOutputError,
    FencedError,
    PoisonLimitError,
    ReplayDivergenceError,
    ReplayInputGoneError,
    StageError,
)
from sluice_kit.stage.model import (
    ArtifactPut,
    Batch,
    BusReading,
    FrozenState,
    InputRange,
    Output,
    Record,
    Stage,
    StageState,
    StepResult,
    TrailingOutput,
)
from sluice_kit.stage.poison import PoisonLimits
from sluice_kit.stage.spec import ChainSpec, StageSettings

__all__ = [
    "ArtifactPut",
    "Batch",
    "BusReading",
    "ChainLoopError",
    "ChainNotDrainedError",
    "ChainOutputError",
    "ChainSpec",
    "Coordinate",
    "FencedError",
    "FrozenState",
    "InputRange",
    "MemberRun",
    "Output",
    "PoisonLimitError",
    "PoisonLimits",
    "Record",
    "ReplayDivergenceError",
    "ReplayInputGoneError",
    "Stage",
    "StageError",
    "StageSettings",
    "StageState",
    "StepResult",
    "TrailingOutput",
    "code_revision",
    "control_first",
    "event_time_order",
    "run_chain",
]
