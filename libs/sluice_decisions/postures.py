"""Postures and what decisions may use on each. A posture's mask can take away, never add."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from sluice_decisions.outcomes import Reason


class Posture(StrEnum):
    """The rungs of the degrade ladder."""

    NORMAL = "NORMAL"
    DEGRADED_1 = "DEGRADED_1"
    DEGRADED_2 = "DEGRADED_2"
    FAIL_CLOSED = "FAIL_CLOSED"


class Capability(StrEnum):
    """What a decision may use."""

    RULES = "rules"
    MODEL = "model"
    ATTRIBUTIONS = "attributions"
    GRAPH_FEATURES = "graph_features"


CEILING: Mapping[Posture, frozenset[Capability]] = MappingProxyType(
    {
        Posture.NORMAL: frozenset(Capability),
        Posture.DEGRADED_1: frozenset({Capability.RULES, Capability.MODEL, Capability.ATTRIBUTIONS}),
        Posture.DEGRADED_2: frozenset({Capability.RULES}),
        Posture.FAIL_CLOSED: frozenset(),
    }
)
"""The most that a posture allows, whatever its mask says."""


@dataclass(frozen=True, slots=True)
class PostureInForce:
    """What the ladder said last: the rung, its mask, and until when (microseconds) it holds.

    Names in `capabilities` that are unknown here grant nothing.
    """

    posture: Posture
    capabilities: frozenset[str]
    valid_until: int


@dataclass(frozen=True, slots=True)
class Permission:
    """What a batch of decisions may use; `closed` says why nothing at all, None when something."""

    posture: Posture
    capabilities: frozenset[Capability]
    closed: Reason | None

    def allows(self, capability: Capability) -> bool:
        """Whether a decision may use it."""
        return capability in self.capabilities


def permission_at(now: int, posture: PostureInForce | None) -> Permission:
    """The posture as it counts at `now` (microseconds): unknown or expired is FAIL_CLOSED.

    A mask without rules is closed too: a model's score alone decides nothing.
    """
    if posture is None:
        return _closed(Reason.POSTURE_UNKNOWN)
    if posture.posture is Posture.FAIL_CLOSED:
        return _closed(Reason.POSTURE_FAIL_CLOSED)
    if now > posture.valid_until:
        return _closed(Reason.POSTURE_EXPIRED)
    granted = CEILING[posture.posture] & posture.capabilities
    if Capability.RULES not in granted:
        return Permission(posture.posture, frozenset(), Reason.RULES_WITHHELD)
    return Permission(posture.posture, frozenset(map(Capability, granted)), None)


def _closed(reason: Reason) -> Permission:
    return Permission(Posture.FAIL_CLOSED, frozenset(), reason)
