"""The ladder's policy: required signals, their limits, what each rung allows, and how fast it moves."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from sluice_decisions.documents import Document, Part
from sluice_decisions.postures import CEILING, Capability, Posture
from sluice_kit.config import PolicyError

FILE_NAME: Final = "degrade_ladder.yaml"
ALL: Final = "all"
"""The scope of everybody; a tenant's is `tenant:NAME`."""
STATUS: Final = "status"
"""The signal that every service sends: 0 when it says ok of itself, 1 when degraded."""
MICROSECONDS: Final = 1_000_000

Seconds = Annotated[int, Field(strict=True, ge=0, le=86_400)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Scope = Annotated[str, Field(pattern=r"^(all|tenant:[A-Za-z0-9][A-Za-z0-9_.-]{0,63})$")]


class Limit(Part):
    """A value above `above` in every report over `for_seconds` calls for the limit's rung."""

    above: Annotated[int, Field(strict=True)]
    for_seconds: Seconds = 0


class RequiredSignal(Part):
    """A value that a service must keep reporting: missing or old it calls for FAIL_CLOSED."""

    service: Name
    name: Name
    max_age_seconds: Annotated[int, Field(strict=True, ge=1, le=86_400)]
    shards: Annotated[int, Field(strict=True, ge=1, le=256)] = 1
    limits: dict[Posture, Limit] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _limits_degrade(self) -> Self:
        if Posture.NORMAL in self.limits:
            raise ValueError(
                "limits: NORMAL is where no limit is exceeded; give DEGRADED_1 and stricter ones"
            )
        return self


class ScopePolicy(Part):
    """What holds for one scope."""

    signals: Annotated[tuple[RequiredSignal, ...], Field(max_length=100)]

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        seen: set[tuple[str, str]] = set()
        for signal in self.signals:
            if (signal.service, signal.name) in seen:
                raise ValueError(f"signals: {signal.service}.{signal.name} stands twice")
            seen.add((signal.service, signal.name))
        return self


class LadderPolicy(Document):
    """The whole policy. Times in whole seconds.

    ``quiet_seconds``: how long nothing may call for a rung before it is left upwards; ``minimum_seconds``:
    the least time on a rung before a step up; ``start_quiet_seconds`` stands for both until a scope has come
    up for the first time. ``tenant`` owns the ladder's control events; the gate's policy must know it.
    """

    tenant: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")] = "default"
    valid_for_seconds: Annotated[int, Field(strict=True, ge=3, le=86_400)]
    renew_every_seconds: Annotated[int, Field(strict=True, ge=1, le=86_400)]
    quiet_seconds: dict[Posture, Seconds]
    start_quiet_seconds: Seconds
    minimum_seconds: Seconds
    longest_override_seconds: Annotated[int, Field(strict=True, ge=1, le=604_800)]
    capabilities: dict[Posture, tuple[Capability, ...]]
    scopes: Annotated[dict[Scope, ScopePolicy], Field(max_length=50)]

    @model_validator(mode="after")
    def _renewed_in_time(self) -> Self:
        if 2 * self.renew_every_seconds >= self.valid_for_seconds:
            raise ValueError("renew_every_seconds must be less than half of valid_for_seconds")
        return self

    @model_validator(mode="after")
    def _every_rung_is_described(self) -> Self:
        _exactly("quiet_seconds", self.quiet_seconds.keys(), set(Posture) - {Posture.NORMAL})
        _exactly("capabilities", self.capabilities.keys(), set(Posture))
        for rung, mask in self.capabilities.items():
            beyond = set(mask) - CEILING[rung]
            if beyond:
                raise ValueError(
                    f"capabilities.{rung}: {', '.join(sorted(beyond))} is more than {rung} may use"
                )
            if mask and Capability.RULES not in mask:
                raise ValueError(
                    f"capabilities.{rung}: nothing is decided without rules; add them or leave it empty"
                )
        for milder, stricter in pairwise(Posture):
            added = set(self.capabilities[stricter]) - set(self.capabilities[milder])
            if added:
                raise ValueError(
                    f"capabilities.{stricter}: {', '.join(sorted(added))} is not in those of {milder}"
                )
        return self

    @model_validator(mode="after")
    def _someone_is_watched(self) -> Self:
        if ALL not in self.scopes or not self.scopes[ALL].signals:
            raise ValueError("scopes: `all` with at least one signal is needed")
        return self


def _exactly(what: str, given: object, wanted: set[Posture]) -> None:
    found = set(given)  # type: ignore[call-overload]
    if found != wanted:
        missing = ", ".join(sorted(wanted - found)) or "none"
        extra = ", ".join(sorted(found - wanted)) or "none"
        raise ValueError(f"{what}: missing {missing}; not expected {extra}")


def load_policy(path: Path) -> LadderPolicy:
    """Read a policy file (YAML). Raises PolicyError naming file, place and what is wrong."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise PolicyError(f"policy file {path} cannot be read: {error}") from error
    found = LadderPolicy.parse(text, str(path))
    if not isinstance(found, LadderPolicy):
        raise PolicyError(str(found))
    return found
