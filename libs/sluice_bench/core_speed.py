"""How fast the machine's cores were while something ran.

A virtual core that shares a physical one with a neighbour takes up to twice the time for the same work, and
which moment that is nobody inside can see. So a process of its own does a fixed piece of work ten times a
second, on one core after the other, and takes note of the CPU time each turn needs: 0.4 to 1 % of a core.
"""

import json
import os
import select
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

_KEYS: Final = 1_024
_OBJECTS: Final = 1_200
_PAUSE_SECONDS: Final = 0.1
_FASTEST: Final = 20
"""One sample of so many, the fastest ones, is what a core does that nobody disturbs."""


@contextmanager
def core_speed() -> Iterator[dict[str, Any]]:
    """Samples the cores while the block runs; afterwards the mapping holds `speed_of` the samples."""
    found: dict[str, Any] = {}
    command = [sys.executable, "-m", "sluice_bench.core_speed"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as sampler:
        yield found
        said, _ = sampler.communicate()
        found.update(json.loads(said))


def speed_of(samples_us: Sequence[float]) -> dict[str, Any]:
    """The fastest samples (µs), how many times longer the average one took, and how many there were."""
    fastest = sorted(samples_us)[len(samples_us) // _FASTEST]
    return {
        "fastest_us": round(fastest, 1),
        "slowdown": round(statistics.fmean(samples_us) / fastest, 2),
        "samples": len(samples_us),
    }


def _sample(cores: Sequence[int]) -> list[float]:
    """CPU microseconds of the work on each core in turn, until standard input ends."""
    samples: list[float] = []
    while True:
        os.sched_setaffinity(0, {cores[len(samples) % len(cores)]})
        _work_us()  # the caches are warm for the one that counts
        samples.append(_work_us())
        if select.select([sys.stdin], [], [], _PAUSE_SECONDS)[0]:
            return samples


def _work_us() -> float:
    """What stages do most: short texts, tuples, a dictionary."""
    begin = time.thread_time_ns()
    kept: dict[str, tuple[int, str, int]] = {}
    for number in range(_OBJECTS):
        key = f"C-{number * 7919 % _KEYS}"
        before = kept.get(key)
        kept[key] = (number, key, before[0] if before else 0)
    return (time.thread_time_ns() - begin) / 1e3


if __name__ == "__main__":
    sys.stdout.write(json.dumps(speed_of(_sample(sorted(os.sched_getaffinity(0))))))
