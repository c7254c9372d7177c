"""How far every reader of the bus is behind: stages by their basis log, the others by what they committed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException
from confluent_kafka.admin import AdminClient

from sluice_contracts import TOPICS
from sluice_kit.artifacts import ArtifactError, ArtifactStore
from sluice_kit.places import Place
from sluice_kit.replay.ranges import ReplayError
from sluice_kit.replay.reading import REQUEST_SECONDS, retained
from sluice_kit.replay.selecting import partitions_of
from sluice_kit.stage.basis import BasisLog
from sluice_kit.stage.checkpoint import CheckpointManifest

BASIS_PREFIX = "basis."


@dataclass(frozen=True, slots=True)
class ReaderLag:
    """One reader at one partition. `position` is exclusive-next; `end` the committed end.

    `lag` counts offsets, commit markers among them, so a reader that has everything may show a few.
    `source` says where the position was found: basis (a stage's log), postgres (a workflow's inbox) or
    group (offsets committed for tools).
    """

    reader: str
    source: str
    topic: str
    partition: int
    position: int
    end: int

    @property
    def lag(self) -> int:
        """Offsets that the reader has not taken yet."""
        return max(0, self.end - self.position)

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "reader": self.reader,
            "source": self.source,
            "topic": self.topic,
            "partition": self.partition,
            "position": self.position,
            "end": self.end,
            "lag": self.lag,
        }


Positions = Mapping[tuple[str, str], Mapping[Place, int]]
"""(reader, source) to its position at each partition."""


def against_ends(consumer: Consumer, positions: Positions) -> list[ReaderLag]:
    """Positions beside the committed end of every partition, in order; topics that are gone are left out."""
    ends: dict[Place, int] = {}
    for where in sorted({where for reader in positions.values() for where in reader}):
        try:
            ends[where] = retained(consumer, *where)[1]
        except ReplayError:
            continue
    return [
        ReaderLag(reader, source, *where, position, ends[where])
        for (reader, source), found in sorted(positions.items())
        for where, position in sorted(found.items())
        if where in ends
    ]


def stage_positions(consumer: Consumer, artifacts: ArtifactStore) -> Positions:
    """Where every stage stands: its last checkpoint's positions and the batches behind it."""
    found: dict[tuple[str, str], dict[Place, int]] = {}
    for topic in TOPICS.values():
        if topic.cls != "basis":
            continue
        service = topic.name.removeprefix(BASIS_PREFIX)
        try:
            shards = partitions_of(consumer, topic.name)
        except ReplayError:
            continue
        for shard in shards:
            positions = _shard_positions(BasisLog(consumer, topic.name, shard), artifacts)
            if positions:
                reader = service if len(shards) == 1 else f"{service}/{shard}"
                found[reader, "basis"] = positions
    return found


def _shard_positions(basis: BasisLog, artifacts: ArtifactStore) -> dict[Place, int]:
    last = basis.last()
    if last is None:
        return {}
    positions: dict[Place, int] = {}
    start = 0
    if last[1].checkpoint is not None:
        try:
            manifest = CheckpointManifest.model_validate_json(artifacts.read(last[1].checkpoint))
        except ArtifactError:
            pass  # the whole log says the same, only slower
        else:
            start = manifest.basis_next
            positions = {(topic, partition): offset for topic, partition, offset in manifest.positions}
    for _, record in basis.since(start):
        positions.update({(item.topic, item.partition): item.end for item in record.inputs})
    return positions


def group_positions(admin: AdminClient) -> Positions:
    """Offsets that consumer groups have committed. Raises ReplayError GROUPS_UNREADABLE."""
    try:
        listed = admin.list_consumer_groups(request_timeout=REQUEST_SECONDS).result()
        names = [group.group_id for group in listed.valid]
        offsets: dict[tuple[str, str], dict[Place, int]] = {}
        for name in names:
            asked = [ConsumerGroupTopicPartitions(name)]
            answer = admin.list_consumer_group_offsets(asked, request_timeout=REQUEST_SECONDS)[name].result()
            offsets[name, "group"] = {
                (at.topic, at.partition): at.offset for at in answer.topic_partitions or [] if at.offset >= 0
            }
    except KafkaException as error:
        raise ReplayError("GROUPS_UNREADABLE", f"consumer groups: {error.args[0].str()}") from error
    return {reader: found for reader, found in offsets.items() if found}


async def workflow_positions(dsn: str, password: str | None) -> Positions:
    """Positions that workflows keep in Postgres, from the inbox of every schema.

    Raises OSError and asyncpg's errors when the database does not answer.
    """
    import asyncpg  # noqa: PLC0415 - only deployments with Postgres need it here

    connection = await asyncpg.connect(dsn, password=password, timeout=REQUEST_SECONDS)
    try:
        schemas = await connection.fetch(
            "select table_schema from information_schema.tables "
            "where table_name = 'inbox_position' order by 1"
        )
        found: dict[tuple[str, str], dict[Place, int]] = {}
        for row in schemas:
            schema = '"' + row["table_schema"].replace('"', '""') + '"'
            rows = await connection.fetch(
                f"select service, topic, partition, next_offset from {schema}.inbox_position"  # noqa: S608
            )
            for entry in rows:
                reader = found.setdefault((entry["service"], "postgres"), {})
                reader[entry["topic"], entry["partition"]] = entry["next_offset"]
    finally:
        await connection.close()
    return found


def total(lags: Iterable[ReaderLag]) -> dict[str, int]:
    """Lag of each reader over all its partitions."""
    sums: dict[str, int] = {}
    for item in lags:
        sums[item.reader] = sums.get(item.reader, 0) + item.lag
    return sums
