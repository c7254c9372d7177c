"""How an operator's order to the degrade ladder is written down as a governance action."""

from __future__ import annotations

from typing import Final, NamedTuple

from sluice_decisions.postures import Posture

FORCE: Final = "posture_force"
"""The scope is never milder than the rung; signals may still call for a stricter one."""
OVERRIDE: Final = "posture_override"
"""The scope is at the rung whatever signals call for, for a limited time."""
RELEASE: Final = "posture_release"
"""Signals alone say again where the scope stands."""
KINDS: Final = frozenset({FORCE, OVERRIDE, RELEASE})


class PostureTarget(NamedTuple):
    """What an order is about: a scope, and but for a release the name of the rung as it was written."""

    scope: str
    rung: str | None


def target_text(scope: str, rung: Posture | None) -> str:
    """The action's target: `SCOPE=RUNG`, or `SCOPE` for a release."""
    return scope if rung is None else f"{scope}={rung.value}"


def target_of(text: str) -> PostureTarget:
    """What `target_text` gave; the rung may be no rung that is known."""
    scope, equals, rung = text.partition("=")
    return PostureTarget(scope, rung if equals else None)
