"""Records that are read and joined by columns make the chains that one after the other makes."""

from __future__ import annotations

import random
from collections import defaultdict
from typing import Any, cast

import pytest

from services.decision_log.chain import Place
from services.decision_log.core import Chains
from services.decision_log.joining import Joining
from services.decision_log.link_columns import read_together
from services.decision_log.links import TOPIC_OF, Kind, Link, link_reader
from services.decision_log.records import Due
from services.decision_log.testing import HandMade, Message
from sluice_kit.workflow import BulkReader, Stretch

TOPICS = list(TOPIC_OF.values())
PARTITIONS = 2
SOURCES = [(topic, partition) for topic in TOPICS for partition in range(PARTITIONS)]


class Bus:
    """Topics of two partitions, read in turns."""

    sources = SOURCES

    def __init__(self, messages: list[Message], turns: int) -> None:
        self.records: dict[int, list[bytes | None]] = defaultdict(list)
        for number, message in enumerate(messages):
            self.records[SOURCES.index((message.topic, number % PARTITIONS))].append(message.value)
        self._turns, self._turn = turns, 0

    def read(self, most: int, seconds: float) -> list[Stretch]:
        del most, seconds
        stretches = []
        for source, values in self.records.items():
            size = len(values) // self._turns + 1
            offsets = list(range(len(values)))[self._turn * size : (self._turn + 1) * size]
            stretches.append(
                Stretch(source, offsets, [values[offset] for offset in offsets], [10 + o for o in offsets])
            )
        self._turn += 1
        return stretches


def one_by_one(bus: Bus) -> Chains:
    chains = Chains()
    for source, values in bus.records.items():
        topic, partition = SOURCES[source]
        read = link_reader(next(kind for kind in Kind if TOPIC_OF[kind] == topic))
        for offset, value in enumerate(values):
            link = read(value)
            if isinstance(link, Link):
                chains.take(link, Place(source, partition, offset), 10 + offset)
    return chains


def settled(chains: Chains) -> tuple[dict[int, int], list[Due]]:
    low = chains.low_marks()
    chains.looked_up(chains.not_looked_up(), {})
    return low, sorted(chains.settle(1_000_000, 1_000, 1_000))


@pytest.mark.parametrize("seed", range(6))
def test_whatever_the_order_and_the_kinds(seed: int) -> None:
    draw = random.Random(seed)
    payments = [
        HandMade(
            draw.choice(["run-1", "run-2"]),
            number,
            tenant=draw.choice(["default", "other"]) if seed % 2 else "default",
            domains=draw.choice([("payment_response",), ("payment_response", "list")]),
            uses_snapshot=draw.random() < 0.8,
        )
        for number in range(120)
    ]
    messages = [
        message for payment in payments for message in (*payment.whole(), *payment.receipts_of_the_rest())
    ]
    messages += [payment.receipt(decision="QUARANTINE") for payment in payments[:9]]
    messages += [payment.outcome(outcome="UNCERTAIN", sequence=1) for payment in payments[:20]]
    messages += [payment.snapshot("cd" * 32) for payment in payments[10:20]]
    messages = [message for message in messages if draw.random() < 0.9]
    draw.shuffle(messages)
    bus = Bus(messages, turns=3)
    joining = Joining(cast("BulkReader", bus))
    assert sum(joining.turn() for _ in range(3)) == len(messages)
    assert joining.unreadable == 0
    low, due = settled(joining.chains)
    assert (low, due) == settled(one_by_one(bus))
    assert {one.complete for one in due} == {True, False}


@pytest.mark.parametrize("kind", Kind)
def test_what_is_laid_out_otherwise_is_read_by_itself(kind: Kind) -> None:
    value = dict(zip(Kind, HandMade("run-1", 1).whole(), strict=True))[kind].value
    strange = [None, b"", b"\x00\x00\x00\x00\x01", value[:40], HandMade("run-\u00e9", 2).whole()[0].value]
    values: list[Any] = [value] * 20 + strange
    links, rest = read_together(kind, values)
    seen = set(rest) | set(() if links is None else links.rows)
    assert seen == set(range(len(values))), "nothing is passed over unseen"
    links, rest = read_together(kind, [value] * 20)
    assert links is not None
    assert (len(links.keys), list(rest)) == (20, [])


def test_a_run_whose_name_no_record_can_hold_is_said() -> None:
    messages = [HandMade("run 1", number).payment() for number in range(40)]
    joining = Joining(cast("BulkReader", Bus(messages, turns=1)))
    joining.turn()
    assert (joining.unreadable, len(joining.chains)) == (40, 0)
