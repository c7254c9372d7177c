"""A span for each batch of rows that is sent: from its first row handed over to its last one acknowledged."""

import time
from collections import deque

from opentelemetry.trace import SpanKind

from sluice_kit.telemetry import Span, Tracing, new_context


class BatchSpans:
    """The batches of one stream on one lane, as children of `stream`. One thread owns it; rows cost nothing.

    A batch whose acknowledgement is never seen (the stream ended before) has no span.
    """

    def __init__(self, tracing: Tracing, stream: Span, lane: str) -> None:
        self._tracing, self._stream, self._lane = tracing, stream.context, lane
        self._sent: deque[tuple[int, Span]] = deque()

    def sent(self, first_row: int, rows: int, start_ns: int) -> None:
        """All rows of a batch were handed to the producer, from `start_ns` on."""
        if not rows or not self._tracing.enabled:
            return
        span = Span(
            f"send {self._lane}", new_context(self._stream, sampled=True), self._stream, SpanKind.PRODUCER
        )
        span.attributes |= {
            "messaging.destination.name": self._lane,
            "messaging.batch.message_count": rows,
            "sluice.first_row": first_row,
        }
        span.start_ns = start_ns
        self._sent.append((first_row + rows, span))

    def acknowledged(self, row: int) -> None:
        """Every row before `row` is acknowledged."""
        while self._sent and self._sent[0][0] <= row:
            self._tracing.record(self._sent.popleft()[1], time.time_ns())
