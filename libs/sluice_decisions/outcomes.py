"""What a decision can be, how it was reached, and the reason codes that are not a policy's own."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class Outcome(StrEnum):
    """What is decided, mildest first."""

    ALLOW = "ALLOW"
    STEP_UP = "STEP_UP"
    REVIEW = "REVIEW"
    DECLINE = "DECLINE"


SEVERITY: Mapping[Outcome, int] = MappingProxyType({outcome: rank for rank, outcome in enumerate(Outcome)})
"""ALLOW 0 to DECLINE 3; of several outcomes the most severe one holds."""


class Mode(StrEnum):
    """How a decision was reached."""

    MODEL = "MODEL"
    RULES_ONLY = "RULES_ONLY"
    FALLBACK = "FALLBACK"
    FAIL_CLOSED = "FAIL_CLOSED"


class Reason(StrEnum):
    """Reason codes of this library. A policy's rules bring their own and may not use these."""

    # what decided
    DEFAULT = "DEFAULT"
    SCORE_STEP_UP = "SCORE_STEP_UP"
    SCORE_REVIEW = "SCORE_REVIEW"
    SCORE_DECLINE = "SCORE_DECLINE"
    RULE_ERROR = "RULE_ERROR"
    # why there was no model, no snapshot, or nothing at all
    POSTURE_FAIL_CLOSED = "POSTURE_FAIL_CLOSED"
    POSTURE_EXPIRED = "POSTURE_EXPIRED"
    POSTURE_UNKNOWN = "POSTURE_UNKNOWN"
    RULES_WITHHELD = "RULES_WITHHELD"
    BUNDLE_UNRESOLVED = "BUNDLE_UNRESOLVED"
    SNAPSHOT_MISSING = "SNAPSHOT_MISSING"
    FEATURES_MISMATCH = "FEATURES_MISMATCH"
    # circumstances
    MODEL_WITHHELD = "MODEL_WITHHELD"
    GRAPH_WITHHELD = "GRAPH_WITHHELD"
    RULE_SKIPPED = "RULE_SKIPPED"
    SNAPSHOT_DEGRADED = "SNAPSHOT_DEGRADED"
    DEADLINE_PASSED = "DEADLINE_PASSED"


SCORE_REASONS: Mapping[Outcome, Reason] = MappingProxyType(
    {
        Outcome.STEP_UP: Reason.SCORE_STEP_UP,
        Outcome.REVIEW: Reason.SCORE_REVIEW,
        Outcome.DECLINE: Reason.SCORE_DECLINE,
    }
)
"""The reason code of a score that reached the threshold of an outcome."""
