"""The workflow kit: consume from stored positions, change Postgres, speak through an outbox."""

from sluice_kit.workflow.backoff import Backoff
from sluice_kit.workflow.bulk_inbox import Batch, BulkHandler
from sluice_kit.workflow.bulk_reader import BulkReader, Source, Stretch
from sluice_kit.workflow.database import Database, DatabaseAddress, DatabaseAwayError
from sluice_kit.workflow.event_pack import packed, unpacked
from sluice_kit.workflow.fast_lanes import FastLaneWriter
from sluice_kit.workflow.inbox import Handler, Inbound, Inbox, inbound_of
from sluice_kit.workflow.isolation import answered
from sluice_kit.workflow.kafka_access import KafkaLaneWriter, aiokafka_options
from sluice_kit.workflow.outbox import (
    LaneNotReachedError,
    LaneWriter,
    OutboxEvent,
    Relay,
    put,
    put_all,
    put_pack,
)
from sluice_kit.workflow.positioned_consumer import POSITION_GONE, PositionGoneError, start_offset
from sluice_kit.workflow.runtime import Workflow
from sluice_kit.workflow.schema_migration import MigrationError, migrate, migrations_of
from sluice_kit.workflow.waking import first_set

__all__ = [
    "POSITION_GONE",
    "Backoff",
    "Batch",
    "BulkHandler",
    "BulkReader",
    "Database",
    "DatabaseAddress",
    "DatabaseAwayError",
    "FastLaneWriter",
    "Handler",
    "Inbound",
    "Inbox",
    "KafkaLaneWriter",
    "LaneNotReachedError",
    "LaneWriter",
    "MigrationError",
    "OutboxEvent",
    "PositionGoneError",
    "Relay",
    "Source",
    "Stretch",
    "Workflow",
    "aiokafka_options",
    "answered",
    "first_set",
    "inbound_of",
    "migrate",
    "migrations_of",
    "packed",
    "put",
    "put_all",
    "put_pack",
    "start_offset",
    "unpacked",
]
