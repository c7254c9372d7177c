"""Features of events, defined once as versioned policy and executed by the online stage and offline alike.

Pure: no I/O but the files of a checkpoint, no clock, no chance. See docs/features.md.
"""

from sluice_features.columns import NEVER, GraphContexts, Labels, Payments, Scope
from sluice_features.definition import FeatureSet, FeatureSetProblem, FeatureSetRef, FeatureSpec
from sluice_features.entity_windows import EntityWindows
from sluice_features.errors import FeatureError
from sluice_features.overlay import FeatureOverlay
from sluice_features.snapshot import Snapshot, SnapshotBatch, hash_of_event, snapshot_hash
from sluice_features.state import FeatureState, StateSize

__all__ = [
    "NEVER",
    "EntityWindows",
    "FeatureError",
    "FeatureOverlay",
    "FeatureSet",
    "FeatureSetProblem",
    "FeatureSetRef",
    "FeatureSpec",
    "FeatureState",
    "GraphContexts",
    "Labels",
    "Payments",
    "Scope",
    "Snapshot",
    "SnapshotBatch",
    "StateSize",
    "hash_of_event",
    "snapshot_hash",
]
