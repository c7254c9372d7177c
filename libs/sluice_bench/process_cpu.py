"""CPU seconds of the processes that a bench keeps busy: the service, Postgres, the broker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil


@dataclass(frozen=True, slots=True)
class CpuUsed:
    """User and system seconds since the processes began."""

    service: float
    postgres: float
    broker: float

    @classmethod
    def now(cls, service: psutil.Process, home: Path) -> Self:
        """What was used until now; `home` is the folder of the stack."""
        return cls(
            _seconds(service),
            sum(map(_seconds, _with_children(_main(f"{home}/postgres/data")))),
            sum(map(_seconds, _main(f"-Dsluice.kafka={home}"))),
        )

    def us_an_event(self, before: CpuUsed, events: int) -> dict[str, float]:
        """Microseconds an event since `before`, by process and together."""
        used = {
            "service": self.service - before.service,
            "postgres": self.postgres - before.postgres,
            "broker": self.broker - before.broker,
        }
        used["together"] = sum(used.values())
        return {name: round(seconds / events * 1e6, 1) for name, seconds in used.items()}


def _main(mark: str) -> list[psutil.Process]:
    """The processes that were started with a mark on their command line."""
    return [
        process for process in psutil.process_iter(["cmdline"]) if mark in (process.info["cmdline"] or ())
    ]


def _with_children(mains: list[psutil.Process]) -> Iterator[psutil.Process]:
    for main in mains:
        yield main
        yield from main.children(recursive=True)


def _seconds(process: psutil.Process) -> float:
    """Of a process and of those of its children that have ended."""
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)
