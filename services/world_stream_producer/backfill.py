"""Legacy pull: feed a READY run's facts view through the gate once more, with the ids that a push gives."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from time import monotonic, time_ns
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from services.world_stream_producer.app import lane_partition, read_plan
from services.world_stream_producer.core import PlanRefused, StreamPlan
from services.world_stream_producer.reading import framed_rows
from services.world_stream_producer.sending import LaneSender, SendLimits
from services.world_stream_producer.settings import CONTROL_TOPIC
from services.world_stream_producer.worker import StreamWorker
from sluice_contracts import Decoded, decode
from sluice_kit.artifacts import open_artifacts, open_oracle
from sluice_kit.config import Wiring
from sluice_kit.kafka import idempotent_producer_config, reader_config
from sluice_kit.kafka.messages import arrived
from sluice_kit.telemetry import StageTracing

PRINCIPAL: Final = "backfill"
LANE: Final = "ingress.backfill"
_BATCH_ROWS: Final = 8192
_ANSWER_SECONDS: Final = 30.0


class BackfillError(Exception):
    """The run cannot be backfilled; the message says why and what to do. `sent` rows were acknowledged."""

    def __init__(self, message: str, sent: int = 0) -> None:
        super().__init__(message)
        self.sent = sent


@dataclass(frozen=True, slots=True)
class BackfillSummary:
    """What a backfill did. Rows were acknowledged by the lane; receipts say what the gate made of them."""

    tenant: str
    run_id: str
    lane: str
    partition: int
    rows: int
    facts_view: str
    plan_digest: str
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """The summary as JSON has it."""
        return asdict(self)


def backfill_run(
    wiring: Wiring,
    run_id: str,
    *,
    tenant: str = "default",
    on_progress: Callable[[int, int], None] | None = None,
) -> BackfillSummary:
    """Send every row of a run's streamed outputs to `ingress.backfill`, in stream order, as fast as possible.

    `on_progress` gets (rows acknowledged, rows in all) a few times a second. It is safe to repeat: the gate
    answers DUPLICATE to what it has. Raises BackfillError; SecretMissing without the principal's password.
    """
    begin, begin_ns = monotonic(), time_ns()
    ready = find_ready(wiring, tenant, run_id)
    plan = read_plan(open_artifacts(wiring), ready, LANE)
    if isinstance(plan, PlanRefused):
        raise BackfillError(f"run {run_id} cannot be backfilled: {plan}")
    worker = _worker(wiring, plan)
    worker.start()
    while not (progress := worker.progress()).finished:
        if on_progress is not None:
            on_progress(progress.acked_row, plan.total_rows)
        worker.join(0.2)
    _trace(wiring, ready, begin_ns)
    if progress.failure is not None:
        raise BackfillError(
            f"stopped after {progress.acked_row} of {plan.total_rows} rows: {progress.failure}; "
            "repeat the command once the cause is gone, what the gate has is answered DUPLICATE",
            progress.acked_row,
        ) from progress.failure
    if on_progress is not None:
        on_progress(progress.acked_row, plan.total_rows)
    return BackfillSummary(
        tenant=tenant,
        run_id=run_id,
        lane=LANE,
        partition=lane_partition(run_id, LANE),
        rows=progress.acked_row,
        facts_view=plan.facts_view_uri,
        plan_digest=plan.digest,
        seconds=round(monotonic() - begin, 3),
    )


def _trace(wiring: Wiring, ready: dict[str, Any], begin_ns: int) -> None:
    """Record the span that the events name as their parent."""
    tracing = StageTracing.exporting(PRINCIPAL, wiring.telemetry)
    tracing.event(ready["event_id"], ready["traceparent"], start_ns=begin_ns, end_ns=time_ns())
    tracing.close()


def _worker(wiring: Wiring, plan: StreamPlan) -> StreamWorker:
    limits = SendLimits()
    return StreamWorker(
        framed_rows(plan, open_oracle(wiring), 0, batch_rows=_BATCH_ROWS, producer=PRINCIPAL),
        lambda: LaneSender(
            idempotent_producer_config(wiring, PRINCIPAL),
            LANE,
            lane_partition(plan.run_id, LANE),
            plan.run_id.encode(),
            limits,
        ),
        0,
        speed=0.0,
        name="backfill",
    )


def find_ready(wiring: Wiring, tenant: str, run_id: str) -> dict[str, Any]:
    """Return the decoded READY of a run from `control.run`, which keeps every one. Raises BackfillError."""
    consumer = Consumer(reader_config(wiring, PRINCIPAL, group="backfill") | {"enable.partition.eof": True})
    try:
        return _scan(consumer, tenant, run_id)
    except KafkaException as error:
        raise BackfillError(f"{CONTROL_TOPIC} cannot be read: {error}; is the broker up?") from error
    finally:
        consumer.close()


def _scan(consumer: Consumer, tenant: str, run_id: str) -> dict[str, Any]:
    metadata = consumer.list_topics(CONTROL_TOPIC, timeout=_ANSWER_SECONDS)
    open_partitions = set(metadata.topics[CONTROL_TOPIC].partitions)
    starts = []
    for partition in sorted(open_partitions):
        low, _ = consumer.get_watermark_offsets(
            TopicPartition(CONTROL_TOPIC, partition), timeout=_ANSWER_SECONDS
        )
        starts.append(TopicPartition(CONTROL_TOPIC, partition, low))
    consumer.assign(starts)
    deadline = monotonic() + _ANSWER_SECONDS
    while open_partitions:
        if monotonic() > deadline:
            raise BackfillError(
                f"{CONTROL_TOPIC} gave no answer for {_ANSWER_SECONDS:.0f} s; is the broker up?"
            )
        for message in arrived(consumer, 500, 0.5):
            deadline = monotonic() + _ANSWER_SECONDS
            error = message.error()
            if error is not None:
                if error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - its public name
                    raise KafkaException(error)
                open_partitions.discard(message.partition())
                continue
            content = decode(message.value())
            if isinstance(content, Decoded) and content.contract.event_type == "run_ready":
                fields = content.fields
                if (fields["tenant"], fields["run_id"]) == (tenant, run_id):
                    return fields
    raise BackfillError(
        f"no READY for run {run_id!r} of tenant {tenant!r} on {CONTROL_TOPIC}; "
        "check the run id, and that the Scenario Runner reports the run READY"
    )
