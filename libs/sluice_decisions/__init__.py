"""Decisions: bundles of model and policy, rules in CEL, and `decide`, which is pure.

Importing this package is cheap; LightGBM and CEL are imported when a bundle is loaded.
"""

from sluice_decisions.bundle import Bundle, BundleFault, BundleProblem, load_bundle
from sluice_decisions.bundle_sealing import BundleParts, UnsoundBundle, seal_bundle
from sluice_decisions.cases import Attribution, Case, Decision, DecisionBatch, RuleFailure, SnapshotView
from sluice_decisions.deciding import decide
from sluice_decisions.documents import DocumentProblem
from sluice_decisions.explaining import Explanation, explain
from sluice_decisions.feature_binding import FeatureBinding
from sluice_decisions.model import ModelRuntimeUnavailable, TreeModel
from sluice_decisions.outcomes import SEVERITY, Mode, Outcome, Reason
from sluice_decisions.policy import DecisionPolicy
from sluice_decisions.postures import CEILING, Capability, Posture, PostureInForce
from sluice_decisions.rules import RuleSet, compile_rules
from sluice_decisions.thresholds import Thresholds, ThresholdTable
from sluice_decisions.what_if import Comparison, Recorded, what_if

__all__ = [
    "CEILING",
    "SEVERITY",
    "Attribution",
    "Bundle",
    "BundleFault",
    "BundleParts",
    "BundleProblem",
    "Capability",
    "Case",
    "Comparison",
    "Decision",
    "DecisionBatch",
    "DecisionPolicy",
    "DocumentProblem",
    "Explanation",
    "FeatureBinding",
    "Mode",
    "ModelRuntimeUnavailable",
    "Outcome",
    "Posture",
    "PostureInForce",
    "Reason",
    "Recorded",
    "RuleFailure",
    "RuleSet",
    "SnapshotView",
    "ThresholdTable",
    "Thresholds",
    "TreeModel",
    "UnsoundBundle",
    "compile_rules",
    "decide",
    "explain",
    "load_bundle",
    "seal_bundle",
    "what_if",
]
