"""Python's cyclic garbage collector, out of the hot loop.

A batch allocates tens of thousands of tuples and dicts that reference counting frees again; every so many
allocations the collector would walk all long-lived state (indexes, caches) for nothing, and stop the step.
"""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

YOUNG_EVERY = 100_000
"""Records between two collections of young objects: a few milliseconds, for what is alive at the time."""


@contextmanager
def quiet_collector(young_every: int = YOUNG_EVERY) -> Iterator[Callable[[int], None]]:
    """Switch automatic collection off; the yielded function is told how many records a batch had.

    Young objects are collected every `young_every` records and when the stage is idle, so that cycles
    (exceptions with tracebacks) do not pile up.
    """
    gc.collect()
    gc.freeze()
    gc.disable()
    seen = 0

    def tidy(records: int) -> None:
        nonlocal seen
        seen += records
        if seen >= young_every or not records:
            seen = 0
            gc.collect(1)

    try:
        yield tidy
    finally:
        gc.enable()
        gc.unfreeze()
