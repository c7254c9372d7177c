"""Reading snapshots back: over the pieces of one partition, as far as the reach, from a log in memory."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest import mock

import pytest
from confluent_kafka import KafkaError, TopicPartition

from services.online_features import look_back
from services.online_features.look_back import LookedBack, SnapshotLog
from sluice_features import Scope
from sluice_kit.config import Wiring
from tests.unit.online_features.events import MORNING, SNAPSHOTS, driver, know, pay

PIECE = 10
ONE, OTHER, NONE = (Scope("default", run) for run in ("run-1", "run-2", "run-3"))


class Read(NamedTuple):
    """A record, or with no key the end of the partition."""

    at: int
    name: bytes | None
    content: bytes | None

    def offset(self) -> int:
        return self.at

    def key(self) -> bytes | None:
        return self.name

    def value(self) -> bytes | None:
        return self.content

    def error(self) -> KafkaError | None:
        return KafkaError(KafkaError._PARTITION_EOF) if self.name is None else None


class Reader:
    """What a look-up needs of a consumer, over the one partition of a topic."""

    def __init__(self, log: Sequence[tuple[bytes, bytes]]) -> None:
        self._log, self._at = log, 0
        self.starts: list[int] = []

    def list_topics(self, topic: str, timeout: float) -> Any:
        return SimpleNamespace(topics={topic: SimpleNamespace(partitions={0: None})})

    def get_watermark_offsets(self, where: TopicPartition, timeout: float) -> tuple[int, int]:
        return 0, len(self._log)

    def assign(self, places: list[TopicPartition]) -> None:
        self._at = places[0].offset
        self.starts.append(self._at)

    def unassign(self) -> None:
        self._at = len(self._log)

    def consume(self, most: int, timeout: float) -> list[Read]:
        end = min(self._at + 4, len(self._log))
        found = [Read(at, *self._log[at]) for at in range(self._at, end)]
        self._at = end
        return found or [Read(end, None, None)]


def stored(*run_ids: str) -> list[bytes]:
    """Snapshots of the payment p1 in some runs, as the stage writes them."""
    made = driver()
    for run_id in run_ids:
        pay(made, "p1", MORNING, run_id=run_id)
        know(made, "p1", MORNING, run_id=run_id)
        made.step()
    return [one.value for one in made.read(SNAPSHOTS)]


FIRST, SECOND = stored("run-1", "run-2")
LOG = [(b"p%d" % number, b"") for number in range(100, 160)]
LOG[5], LOG[15], LOG[52] = (b"p1", FIRST), (b"p1", FIRST), (b"p1", SECOND)
"""Sixty records: p1 of run-1 twice, far back, and of run-2 near the end."""


class Asked(NamedTuple):
    """What was found, and where reading began each time."""

    found: LookedBack
    starts: list[int]


@pytest.fixture(autouse=True)
def pieces() -> Iterator[None]:
    with mock.patch.object(look_back, "_PIECE", PIECE):
        yield


def asked(scope: Scope | None, most: int = 1_000) -> Asked:
    wiring = Wiring(
        kafka={"bootstrap_servers": "nowhere:1", "security_protocol": "PLAINTEXT"},  # type: ignore[arg-type]
        artifacts={"root": "/nowhere"},  # type: ignore[arg-type]
        oracle={"root": "/nowhere"},  # type: ignore[arg-type]
        state_dir=Path("/nowhere"),
    )
    reader = Reader(LOG)
    with mock.patch.object(look_back, "Consumer", return_value=reader):
        return Asked(SnapshotLog(wiring, "gate", most=most).find("p1", scope), reader.starts)


def test_reading_goes_on_over_other_runs_until_the_one_that_is_meant() -> None:
    assert asked(ONE).found.snapshots == [SECOND, FIRST]
    assert asked(ONE).starts == [50, 40, 30, 20, 10]
    assert asked(OTHER) == (LookedBack([SECOND], older_unread=False), [50])
    assert asked(NONE).starts[-1] == 0


def test_without_a_run_the_whole_reach_is_read_newest_first() -> None:
    assert asked(None).found == LookedBack([SECOND, FIRST, FIRST], older_unread=False)


def test_nothing_is_read_beyond_the_reach_and_that_is_said() -> None:
    for scope in (ONE, None):
        found, starts = asked(scope, most=25)
        assert found == LookedBack([SECOND], older_unread=True)
        assert min(starts) == 35
    assert not asked(None, most=60).found.older_unread
