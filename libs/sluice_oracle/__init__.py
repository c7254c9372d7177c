"""The Oracle Store: sealed worlds, written once, referenced by locator, verified when they are read."""

from sluice_oracle.columns import LABEL_EVENT_SCHEMA, LABEL_SCHEMA, PAYMENT_SCHEMA, OutputWriter
from sluice_oracle.describing import describe
from sluice_oracle.draft import DraftError, DraftOutput, WorldDraft, load_draft
from sluice_oracle.manifest import (
    Engine,
    Gate,
    GateCheck,
    Manifest,
    Output,
    OutputFile,
    Role,
    SealMarker,
    Verdict,
    parameter_hash,
)
from sluice_oracle.reading import iter_batches
from sluice_oracle.sealing import seal_world
from sluice_oracle.verifying import BadFile, VerifyReport, verify_world
from sluice_oracle.world import World, WorldError, WorldNotSealed, gate_problems, load_world, read_marker

__all__ = [
    "LABEL_EVENT_SCHEMA",
    "LABEL_SCHEMA",
    "PAYMENT_SCHEMA",
    "BadFile",
    "DraftError",
    "DraftOutput",
    "Engine",
    "Gate",
    "GateCheck",
    "Manifest",
    "Output",
    "OutputFile",
    "OutputWriter",
    "Role",
    "SealMarker",
    "Verdict",
    "VerifyReport",
    "World",
    "WorldDraft",
    "WorldError",
    "WorldNotSealed",
    "describe",
    "gate_problems",
    "iter_batches",
    "load_draft",
    "load_world",
    "parameter_hash",
    "read_marker",
    "seal_world",
    "verify_world",
]
