"""Engines make worlds. The reference engine is one; whatever writes the same kind of folder is another."""

from sluice_engine.interface import EngineSpec, ParametersError, Progress, WorldEngine
from sluice_engine.parameters import FraudShares, WorldParameters
from sluice_engine.reference import ReferenceEngine

__all__ = [
    "EngineSpec",
    "FraudShares",
    "ParametersError",
    "Progress",
    "ReferenceEngine",
    "WorldEngine",
    "WorldParameters",
]
