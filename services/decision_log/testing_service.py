"""A decision log as a process, and the topics that it reads, as a test sees them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, Final

from confluent_kafka import KafkaError, Message, Producer

from services.decision_log import testing
from services.decision_log.settings import SERVICE
from sluice_kit.config import Wiring
from sluice_kit.kafka import client_config
from sluice_kit.testing.service_process import ServiceProcess
from sluice_kit.testing.waiting import until
from sluice_kit.workflow.testing_sql import run_sql

sql = partial(run_sql, SERVICE)

_ADMIN: Final = "admin"
POLICY: Final = "wait_seconds: 2\nseal_seconds: 0.2\n"


class LogProcess(ServiceProcess):
    """`python -m services.decision_log` with a policy; its log is `folder/<name>.log`."""

    def __init__(
        self, wiring_file: Path, folder: Path, *, name: str = "log", policy: str = POLICY, patch: str = ""
    ) -> None:
        rules = folder / f"{name}-policy.yaml"
        rules.write_text(f"revision: test-{name}\n{policy}", encoding="utf-8")
        super().__init__(
            "services.decision_log",
            wiring_file,
            folder / f"{name}.log",
            arguments=["--policy", str(rules)],
            patch=patch,
        )

    def records(self, event_id: str) -> list[dict[str, Any]]:
        """Its records, newest first; none while there is none or Postgres is away."""
        answer = self.client.get(f"/v1/audit/{event_id}")
        if answer.status_code in {404, 503}:
            return []
        records: list[dict[str, Any]] = answer.raise_for_status().json()["records"]
        return records

    def wait_for_status(self, event_id: str, status: str, seconds: float = 30) -> dict[str, Any]:
        """Wait until the current record has a status."""

        def reached() -> dict[str, Any] | None:
            records = self.records(event_id)
            return records[0] if records and records[0]["record"]["chain"]["status"] == status else None

        return until(reached, f"the record of {event_id} to be {status}", seconds)


class BusWriter:
    """Puts records on the bus as the super user, as the gate and the stages would."""

    def __init__(self, wiring: Wiring) -> None:
        config = client_config(wiring, _ADMIN)
        self._producer = Producer(
            config | {"partitioner": "murmur2_random", "enable.idempotence": True, "linger.ms": 5}
        )

    def write(self, messages: Iterable[testing.Message]) -> list[tuple[str, int, int]]:
        """Write and wait; (topic, partition, offset) of each message."""
        places: dict[int, tuple[str, int, int]] = {}
        count = 0
        for message in messages:
            self._produce(message, count, places)
            count += 1
            if count % 5_000 == 0:
                self._producer.poll(0)
        assert self._producer.flush(60) == 0, "the broker does not take records"
        return [places[number] for number in range(count)]

    def write_payments(self, payments: Iterable[testing.HandMade]) -> None:
        """Whole chains, each receipt naming the place of its payment."""
        made = list(payments)
        places = self.write(payment.payment() for payment in made)
        rest: list[testing.Message] = []
        for payment, place in zip(made, places, strict=True):
            whole = payment.whole()
            rest += [payment.receipt(place=place[2], partition=place[1]), *whole[2:]]
        self.write(rest)

    def _produce(
        self, message: testing.Message, number: int, places: dict[int, tuple[str, int, int]]
    ) -> None:
        def delivered(error: KafkaError | None, sent: Message) -> None:
            assert error is None, error
            topic, partition, offset = sent.topic(), sent.partition(), sent.offset()
            assert topic is not None
            assert partition is not None
            assert offset is not None
            places[number] = (topic, partition, offset)

        while True:
            try:
                self._producer.produce(message.topic, message.value, message.key, on_delivery=delivered)
            except BufferError:
                self._producer.poll(0.1)
            else:
                return
