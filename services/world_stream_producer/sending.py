"""Write rows to one partition of a lane and know exactly how many of them are acknowledged."""

from collections import deque
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer


@dataclass(frozen=True, slots=True)
class SendLimits:
    """How much may be handed to the producer before the broker has acknowledged it."""

    messages: int = 50_000
    bytes: int = 64 * 2**20


def lane_producer_config(base: dict[str, Any], limits: SendLimits) -> dict[str, Any]:
    """Settings that make the count of acknowledged rows exact, on top of an idempotent producer's.

    Messages never expire (a broker that is away is waited for), so rows are acknowledged in order; only
    failures are reported to Python. The queue has twice the room we use, so it never refuses a row.
    """
    return base | {
        "message.timeout.ms": 0,
        "delivery.report.only.error": True,
        "compression.type": "lz4",
        "linger.ms": 5,
        "batch.size": 1_000_000,
        "batch.num.messages": 10_000,
        "queue.buffering.max.messages": 2 * limits.messages,
        "queue.buffering.max.kbytes": 2 * limits.bytes // 1024,
    }


class SendFailedError(Exception):
    """The lane did not take a row and will not; what follows it was not acknowledged either."""


class LaneSender:
    """One producer for one partition. Not thread-safe: one thread owns it."""

    def __init__(
        self, config: dict[str, Any], topic: str, partition: int, key: bytes | None, limits: SendLimits
    ) -> None:
        self._problem: str | None = None
        self._producer = Producer(lane_producer_config(config, limits) | {"error_cb": self._on_error})
        self._topic, self._partition, self._limits = topic, partition, limits
        self._template: dict[str, bytes] = {} if key is None else {"key": key}
        self._sent = 0
        self._chunks: deque[tuple[int, int]] = deque()  # (rows sent up to its end, its bytes)
        self._bytes = 0
        self._failure: str | None = None

    @property
    def problem(self) -> str | None:
        """What the connection complains about since the last acknowledgement, if anything."""
        return self._problem

    def acknowledged(self) -> int:
        """Serve reports and return how many rows, from the first one sent, the broker has acknowledged.

        Raises SendFailedError once any row has failed: from there on nothing counts as acknowledged.
        """
        self._producer.poll(0)
        self._raise_failure()
        acked = self._sent - len(self._producer)
        # a failure may have been reported between the poll and the count; it is in the count as outstanding
        while self._chunks and self._chunks[0][0] <= acked:
            self._bytes -= self._chunks.popleft()[1]
            self._problem = None
        return acked

    def room(self) -> int:
        """How many more rows may be sent now (0: wait)."""
        acked = self.acknowledged()
        if self._bytes >= self._limits.bytes:
            return 0
        return max(0, self._limits.messages - (self._sent - acked))

    def send(self, values: list[bytes]) -> None:
        """Hand over at most `room()` rows, in order. Raises SendFailedError when one is refused."""
        template = self._template
        messages: list[dict[str, Any]] = [{"value": value, **template} for value in values]
        taken = self._producer.produce_batch(
            self._topic, messages, partition=self._partition, on_delivery=self._on_delivery
        )
        if taken != len(messages):
            refused = next(message["_error"] for message in messages if "_error" in message)
            self._failure = f"{self._topic}[{self._partition}] refused a row: {refused}"
            self._raise_failure()
        self._sent += taken
        size = sum(map(len, values))
        self._chunks.append((self._sent, size))
        self._bytes += size

    def wait(self, seconds: float) -> None:
        """Serve reports for at most `seconds`."""
        self._producer.poll(seconds)

    def drain(self, seconds: float) -> int:
        """Wait at most `seconds` for what was sent; return the rows acknowledged in all."""
        self._producer.flush(seconds)
        return self.acknowledged()

    def close(self) -> None:
        """Give up what is not acknowledged and disconnect."""
        self._producer.purge()
        self._producer.close()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise SendFailedError(self._failure)

    def _on_delivery(self, error: KafkaError | None, message: Message) -> None:
        if error is not None and self._failure is None:
            self._failure = f"{message.topic()}[{message.partition()}] failed a row: {error.str()}"

    def _on_error(self, error: KafkaError) -> None:
        self._problem = error.str()
        if error.fatal() and self._failure is None:
            self._failure = f"the producer stopped: {error.str()}"


__all__ = ["KafkaException", "LaneSender", "SendFailedError", "SendLimits", "lane_producer_config"]
