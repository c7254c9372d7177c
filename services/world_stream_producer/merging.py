"""Several outputs of one run in one order: by time, then by output, then by row. Pure.

The order depends on the rows alone, not on how they arrive in batches, so row numbers mean the same after a
restart.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from services.world_stream_producer.framing import Framed
from services.world_stream_producer.pacing import Times, in_stream_order


def merge_by_time(streams: Sequence[Iterator[Framed]]) -> Iterator[Framed]:
    """Merge streams; the rows of each keep their order (one that goes back in time stays behind)."""
    if len(streams) == 1:
        yield from streams[0]
        return
    sources = [_Source(stream) for stream in streams]
    while True:
        for source in sources:
            if not source.values:
                source.pull()
        running = [source for source in sources if not source.ended]
        if not running:
            last = _interleaved([source.take(len(source.values)) for source in sources])
            if last.values:
                yield last
            return
        limit = min(int(source.times[-1]) for source in running)
        counts = [int(np.searchsorted(source.times, limit, side="left")) for source in sources]
        if sum(counts) == 0:  # the next batch may hold more rows of this same time
            for source in running:
                if int(source.times[-1]) == limit:
                    source.pull()
            continue
        yield _interleaved([source.take(count) for source, count in zip(sources, counts, strict=True)])


class _Source:
    def __init__(self, stream: Iterator[Framed]) -> None:
        self._stream = stream
        self.values: list[bytes] = []
        self.times: Times = np.empty(0, np.int64)
        self._floor = np.iinfo(np.int64).min
        self.ended = False

    def pull(self) -> None:
        """Append the next batch that is not empty, or note that there is none."""
        for framed in self._stream:
            if framed.values:
                times = in_stream_order(np.maximum(framed.times, self._floor))
                self._floor = int(times[-1])
                self.values = self.values + framed.values
                self.times = np.concatenate([self.times, times])
                return
        self.ended = True

    def take(self, count: int) -> Framed:
        """Remove and return the first `count` rows."""
        taken = Framed(self.values[:count], self.times[:count])
        self.values, self.times = self.values[count:], self.times[count:]
        return taken


def _interleaved(parts: Sequence[Framed]) -> Framed:
    times = np.concatenate([part.times for part in parts])
    values = [value for part in parts for value in part.values]
    order = np.argsort(times, kind="stable")
    return Framed([values[index] for index in order], times[order])
