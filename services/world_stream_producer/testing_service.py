"""A producer as a process, its REST interface, and its lane, as a test sees them."""

from __future__ import annotations

import itertools
import uuid
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx
from confluent_kafka import Consumer, Producer, TopicPartition

from services.world_stream_producer.app import lane_partition
from services.world_stream_producer.core import StreamPlan, plan_stream
from services.world_stream_producer.reading import framed_rows
from services.world_stream_producer.settings import CONTROL_TOPIC, LANE, PRINCIPAL, SERVICE
from services.world_stream_producer.testing import ReadyWorld, ready_world, seal_payments
from sluice_contracts import TOPICS, Decoded, decode
from sluice_kit.artifacts import open_artifacts, open_oracle
from sluice_kit.config import Wiring
from sluice_kit.kafka import client_config, reader_config
from sluice_kit.stage.range_reader import read_to_end
from sluice_kit.testing.service_process import ServiceProcess
from sluice_kit.testing.waiting import until
from sluice_kit.workflow.testing_sql import run_sql

sql = partial(run_sql, SERVICE)

_ADMIN: Final = "admin"


class ProducerProcess(ServiceProcess):
    """`python -m services.world_stream_producer` with a policy; its log is `folder/<name>.log`."""

    def __init__(self, wiring_file: Path, folder: Path, *, name: str = "wsp", policy: str = "") -> None:
        rules = folder / f"{name}-policy.yaml"
        rules.write_text(f"revision: test-{name}\ncheckpoint_seconds: 0.1\n{policy}", encoding="utf-8")
        super().__init__(
            "services.world_stream_producer",
            wiring_file,
            folder / f"{name}.log",
            arguments=["--policy", str(rules)],
        )

    def stream(self, run_id: str) -> dict[str, Any] | None:
        """GET of one run, None while it is unknown or Postgres is away."""
        answer = self.client.get(f"/v1/streams/{run_id}")
        if answer.status_code in {404, 503}:
            return None
        stream: dict[str, Any] = answer.raise_for_status().json()
        return stream

    def wait_for(self, run_id: str, state: str, seconds: float = 60.0) -> dict[str, Any]:
        """Wait until a run is in a state."""

        def reached() -> dict[str, Any] | None:
            stream = self.stream(run_id)
            return stream if stream is not None and stream["state"] == state else None

        return until(reached, f"{run_id} to be {state}", seconds)

    def wait_for_rows(self, run_id: str, rows: int) -> dict[str, Any]:
        """Wait until at least `rows` rows of a run are acknowledged."""

        def reached() -> dict[str, Any] | None:
            stream = self.stream(run_id)
            return stream if stream is not None and stream["rows"] >= rows else None

        return until(reached, f"{run_id} to have {rows} rows")

    def run_to_the_end(self, run_id: str) -> dict[str, Any]:
        """Let a run go as fast as possible and wait until it is completed."""
        until(lambda: self.stream(run_id), f"{run_id} to be known")
        answer = self.command(run_id, "speed", {"speed": "max"})
        assert answer.is_success or answer.json()["code"] == "STREAM_ENDED", answer.text
        return self.wait_for(run_id, "COMPLETED")

    def command(
        self, run_id: str, command: str, body: Any = None, *, key: str | None = None
    ) -> httpx.Response:
        """POST a command under an idempotency key of its own."""
        headers = {"Idempotency-Key": key or uuid.uuid4().hex}
        return self.client.post(f"/v1/streams/{run_id}/{command}", json=body, headers=headers)


def publish_control(wiring: Wiring, *values: bytes) -> None:
    """Put records on control.run as the super user: the gate is not part of these tests."""
    producer = Producer(client_config(wiring, _ADMIN))
    for value in values:
        producer.produce(CONTROL_TOPIC, value)
    left = producer.flush(30)
    assert left == 0, "control.run does not take records"


def read_lane(wiring: Wiring, run_id: str, lane: str = LANE) -> list[bytes]:
    """The messages of a run that are on its partition of a lane now, in offset order."""
    partition = lane_partition(run_id, lane)
    consumer = Consumer(
        reader_config(wiring, _ADMIN, group=f"reader-{uuid.uuid4().hex}") | {"enable.partition.eof": True}
    )
    try:
        low, end = consumer.get_watermark_offsets(TopicPartition(lane, partition), timeout=30)
        found: list[bytes] = []
        with closing(read_to_end(consumer, {(lane, partition): low})) as read:
            for records in read:
                now = [record for record in records if record.offset < end]
                found += [record.value or b"" for record in now if record.key == run_id.encode()]
                if records[-1].offset >= end - 1:  # while it is streamed to, the lane has no end to be told
                    break
        return found
    finally:
        consumer.close()


class RunMaker:
    """Seals worlds with a READY each under a folder; `close` ends what a test left unfinished."""

    def __init__(self, wiring: Wiring, folder: Path, *, step_micros: int) -> None:
        self._wiring, self._folder, self._step = wiring, folder, step_micros
        self._made: list[str] = []

    def __call__(self, rows: int, *, mode: str = "push", label_every: int = 0) -> ReadyWorld:
        """Make a run of `rows` payments, `step_micros` apart; with labels as `seal_payments` makes them."""
        run_id = f"run-{uuid.uuid4().hex[:12]}"
        draft = self._folder / f"draft-{run_id}"
        draft.mkdir()
        oracle, artifacts = open_oracle(self._wiring), open_artifacts(self._wiring)
        seed = uuid.uuid4().int % 2**31
        world = seal_payments(draft, oracle, rows, seed=seed, step_micros=self._step, label_every=label_every)
        self._made.append(run_id)
        return ready_world(world, artifacts, run_id=run_id, mode=mode)

    def close(self) -> None:
        """Leave nothing for the next instance to stream."""
        statement = "update stream_progress set state = 'CLOSED' where run_id = any($1::text[])"
        if self._made:
            sql(self._wiring, statement, self._made)


def planned(run: ReadyWorld) -> StreamPlan:
    """The plan of a run."""
    plan = plan_stream(run.ready, run.view, TOPICS[LANE].event_types)
    assert isinstance(plan, StreamPlan), plan
    return plan


def expected_messages(wiring: Wiring, run: ReadyWorld, producer: str = PRINCIPAL) -> list[bytes]:
    """What a run is on its lane."""
    framed = framed_rows(planned(run), open_oracle(wiring), 0, batch_rows=10_000, producer=producer)
    return [value for batch in framed for value in batch.values]


def resends(sent: list[bytes], whole: list[bytes]) -> int:
    """Count messages that were sent again; fails on a gap, a stranger, or rows out of order.

    What is on the lane must be runs of consecutive rows, each starting at or before the end of those before.
    """
    number = {value: row for row, value in enumerate(whole)}
    rows = [number[value] for value in sent]
    reached = 0
    for before, row in itertools.pairwise([-1, *rows]):
        assert row == before + 1 or row <= reached, f"row {row} after row {before}: a gap"
        reached = max(reached, row + 1)
    assert reached == len(whole), f"{reached} of {len(whole)} rows"
    return len(rows) - len(whole)


def event_ids(values: list[bytes]) -> list[str]:
    """The event ids of messages, in order."""
    return [content.fields["event_id"] for value in values if isinstance(content := decode(value), Decoded)]
