"""Running the parts of a bench one after another, and what is reported of them."""

import os
import platform
import time
from collections.abc import Callable, Mapping
from typing import Any

import psutil

from sluice_bench.bench_stack import Tell
from sluice_bench.core_speed import core_speed


def measured(name: str, part: Callable[[], dict[str, Any]], tell: Tell) -> dict[str, Any]:
    """What a part found, with its time, the load average, and how fast the cores were meanwhile.

    `error` says why it could not run.
    """
    load, started = load_average(), time.monotonic()
    tell(f"{name} begins, load average {load}")
    with core_speed() as speed:
        try:
            found = part()
        except Exception as error:  # noqa: BLE001 - the other parts still run; this one is reported
            found = {"error": f"{type(error).__name__}: {error}"}
    seconds = round(time.monotonic() - started, 1)
    tell(f"{name} took {seconds} s, cores slower by {speed['slowdown']} x: {in_words(found)}")
    return found | {
        "part_seconds": seconds,
        "load_average": {"before": load, "after": load_average()},
        "core_speed": speed,
    }


def parts_report(bench: str, repetitions: int, parts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The whole result: machine, effort, parts, and which ran, met their target or missed it."""
    return {
        "bench": bench,
        "machine": machine(),
        "repetitions": repetitions,
        "parts": dict(parts),
        "met": [name for name, found in parts.items() if found.get("passed") is True],
        "missed": [name for name, found in parts.items() if found.get("passed") is False],
        "failed": [name for name, found in parts.items() if "error" in found],
    }


def in_words(found: Mapping[str, Any]) -> str:
    """How a part went."""
    if "error" in found:
        return str(found["error"])
    if "skipped" in found:
        return f"left out: {found['skipped']}"
    words = {True: "met its target", False: "missed its target", None: "has no target"}
    return words[found.get("passed")]


def machine() -> dict[str, Any]:
    """What it ran on: cores, memory, Python."""
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def load_average() -> float:
    """Of the last minute."""
    return round(os.getloadavg()[0], 2)
