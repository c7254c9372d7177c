"""Replayed records as NDJSON."""

from typing import BinaryIO

from sluice_kit.replay.events import record_line
from sluice_kit.replay.reading import ReplayBatch


class NdjsonSink:
    """Writes a line a record to an open binary stream, which stays open."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def take(self, batch: ReplayBatch) -> None:
        """See Sink."""
        lines = [record_line(batch.topic, batch.partition, message) for message in batch.messages]
        self._stream.write(b"".join(lines))

    def close(self) -> None:
        """See Sink."""
        self._stream.flush()
