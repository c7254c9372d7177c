"""Event-time progress of a run, payment by payment: the minimum over the partitions, never going back.

The same rule as `sluice_kit.stage.watermark`, for columns: a partition that was silent for `idle_after` of
`now` leaves the minimum, one that never spoke holds it back for as long from the run's first batch on. What a
payment sees is the progress with itself counted, so it does not depend on where a batch ends.
"""

from typing import Final, NamedTuple

import numpy as np

from sluice_features.columns import NEVER, Int64, Mask

_GONE: Final = 2**62
"""Stands for the progress of a partition that left the minimum."""


class RunProgress(NamedTuple):
    """How far a run is. By partition: the highest `ts_utc`, and the `now` at which it last spoke."""

    low: int
    highest: tuple[int, ...]
    spoke_at: tuple[int, ...]

    @classmethod
    def begun(cls, partitions: int, now: int) -> "RunProgress":
        """Nothing seen yet."""
        return cls(NEVER, (NEVER,) * partitions, (now,) * partitions)

    @property
    def settled(self) -> bool:
        """Whether time alone moves it no further."""
        return self.low >= max(self.highest)

    def at(self, now: int, idle_after: int) -> "RunProgress":
        """The same at a later `now`, with nothing new."""
        active = [
            high for high, at in zip(self.highest, self.spoke_at, strict=True) if now - at <= idle_after
        ]
        return self._replace(low=max(self.low, min(active) if active else max(self.highest)))


class Advanced(NamedTuple):
    """Progress after a batch; by payment the watermark with it counted, and whether it came behind it."""

    progress: RunProgress
    watermark: Int64
    late: Mask


def advanced(known: RunProgress, partitions: Int64, ts_utc: Int64, *, now: int, idle_after: int) -> Advanced:
    """Take a run's payments in, in their order; `partitions` (n,) and `ts_utc` (n,) run along each other."""
    known = known.at(now, idle_after)
    width = max(len(known.highest), int(partitions.max(initial=0)) + 1)
    missing = width - len(known.highest)
    highest = np.array((*known.highest, *(NEVER,) * missing), np.int64)
    spoke_at = np.array((*known.spoke_at, *(now - idle_after - 1,) * missing), np.int64)
    mine = partitions == np.arange(width)[:, None]
    brought = np.where(mine, ts_utc, NEVER)
    so_far = np.maximum(np.maximum.accumulate(brought, axis=1), highest[:, None])
    idle = now - spoke_at > idle_after
    held = so_far
    if idle.any():
        silent = idle[:, None] & ~np.logical_or.accumulate(mine, axis=1)
        held = np.where(silent, _GONE, so_far)
    watermark = np.maximum.accumulate(np.maximum(held.min(axis=0), known.low))
    before = np.concatenate(((known.low,), watermark[:-1]))
    spoke_at[mine.any(axis=1)] = now
    progress = RunProgress(int(watermark[-1]), tuple(so_far[:, -1].tolist()), tuple(spoke_at.tolist()))
    return Advanced(progress, watermark, ts_utc < before)
