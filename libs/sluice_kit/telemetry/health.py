"""Health of a service: named checks, ``ok | degraded | silent``, liveness apart from readiness.

Health is not the decision posture. ``silent`` is a verdict of an observer about a service that stopped
talking; a service never says it about itself, and :class:`Health` cannot.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class HealthState(StrEnum):
    """Health status shared by all services."""

    OK = "ok"
    DEGRADED = "degraded"
    SILENT = "silent"


SelfReported = Literal[HealthState.OK, HealthState.DEGRADED]


@dataclass(frozen=True, slots=True)
class Check:
    """One named check. ``blocks_readiness``: while degraded, the service must not be sent work."""

    name: str
    state: SelfReported
    detail: str
    since: float
    blocks_readiness: bool


@dataclass(frozen=True, slots=True)
class HealthReport:
    """What ``/health`` shows; ``state`` is degraded when any check is."""

    service: str
    state: SelfReported
    live: bool
    ready: bool
    checks: tuple[Check, ...]


class Health:
    """Thread-safe collection of checks.

    A service is live while every registered loop has called :meth:`beat` within its limit, ready once
    :meth:`started` was called, it is not draining, and no check that blocks readiness is degraded.
    """

    def __init__(self, service: str, *, clock: Callable[[], float] = time.time) -> None:
        self.service = service
        self._clock = clock
        self._lock = threading.Lock()
        self._checks: dict[str, Check] = {}
        self._probes: dict[str, tuple[Callable[[], str | None], bool]] = {}
        self._beats: dict[str, tuple[float, float]] = {}
        self._started = False
        self._draining = False

    def started(self) -> None:
        """Declare that start-up (migrations, replay) is over."""
        self._started = True

    def draining(self) -> None:
        """Declare that the service finishes what it has and takes nothing new."""
        self._draining = True

    def ok(self, name: str, detail: str = "") -> None:
        """Set a check to ok."""
        self._set(name, HealthState.OK, detail, blocks_readiness=False)

    def degraded(self, name: str, detail: str, *, blocks_readiness: bool = False) -> None:
        """Set a check to degraded; ``detail`` says what is wrong and what to do about it."""
        self._set(name, HealthState.DEGRADED, detail, blocks_readiness=blocks_readiness)

    def probe(self, name: str, question: Callable[[], str | None], *, blocks_readiness: bool = False) -> None:
        """Ask ``question`` at each report: None is ok, text is why it is degraded. It must not block."""
        self._probes[name] = (question, blocks_readiness)

    def beat(self, loop: str, *, limit_seconds: float = 30.0) -> None:
        """Tell that ``loop`` still turns; the service is not live once that is ``limit_seconds`` old."""
        self._beats[loop] = (self._clock(), limit_seconds)

    def forget_loop(self, loop: str) -> None:
        """Stop expecting beats of a loop that ended as planned."""
        self._beats.pop(loop, None)

    def report(self) -> HealthReport:
        """Return the state of now."""
        for name, (question, blocks) in tuple(self._probes.items()):
            problem = question()
            self._set(
                name,
                HealthState.OK if problem is None else HealthState.DEGRADED,
                problem or "",
                blocks_readiness=blocks,
            )
        now = self._clock()
        stuck = [loop for loop, (last, limit) in tuple(self._beats.items()) if now - last > limit]
        for loop in stuck:
            self.degraded(
                f"loop:{loop}",
                "the loop has not turned for too long; restart the process",
                blocks_readiness=True,
            )
        for loop in self._beats.keys() - set(stuck):
            if f"loop:{loop}" in self._checks:
                self.ok(f"loop:{loop}")
        with self._lock:
            checks = tuple(self._checks[name] for name in sorted(self._checks))
        bad = [check for check in checks if check.state is not HealthState.OK]
        ready = self._started and not self._draining and not any(check.blocks_readiness for check in bad)
        return HealthReport(
            self.service,
            HealthState.DEGRADED if bad else HealthState.OK,
            live=not stuck,
            ready=ready,
            checks=checks,
        )

    def _set(self, name: str, state: SelfReported, detail: str, *, blocks_readiness: bool) -> None:
        with self._lock:
            before = self._checks.get(name)
            since = before.since if before is not None and before.state is state else self._clock()
            self._checks[name] = Check(name, state, detail, since, blocks_readiness)
