"""Gate, a stage that states facts of its own, and one that joins them: chained or apart, the same records.

Restarted by replay, such a chain gives the digests that it gave before.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice_kit.stage import ChainSpec, Record
from sluice_kit.stage.basis import BasisRecord
from sluice_kit.stage.restore import LoggedPlaces, replay_pending
from sluice_kit.testing import TopologyDriver
from tests.unit.ingestion_gate.events import NOW
from tests.unit.stage.loop_stages import CONTEXT, DECISION_LANE, PAYMENT, ContextStage, JoinStage
from tests.unit.stage.test_replay import PARTITIONS, histories, inputs_of
from tests.unit.stage.test_topologies_agree import Sent, gate, in_log_order, open_run, receipts, send

DECISION = "traffic.decision"


def loop_chain() -> ChainSpec:
    return ChainSpec([gate(), ContextStage(), JoinStage()])


def chained(batches: Sequence[Sequence[Sent]]) -> TopologyDriver:
    driver = TopologyDriver(loop_chain(), now=NOW)
    open_run(driver)
    for batch in batches:
        driver.now += 1_000
        send(driver, batch)
    return driver


class Apart:
    """Three drivers over one set of logs, each with its own position in what it reads."""

    def __init__(self) -> None:
        self.first = TopologyDriver(ChainSpec([gate()]), now=NOW)
        self.context = TopologyDriver(ChainSpec((ContextStage(),)), logs=self.first.logs)
        self.join = TopologyDriver(ChainSpec((JoinStage(),)), logs=self.first.logs)
        self._read: dict[tuple[str, tuple[str, int]], int] = {}

    def carry(self, *, payments_first: bool) -> None:
        """Let everybody behind the gate read what is new; then the gate the decisions."""
        self._step(self.context, PAYMENT)
        if payments_first:
            self._step(self.join, PAYMENT)
        self._step(self.join, PAYMENT, CONTEXT)
        self._step(self.first, DECISION_LANE)

    def _step(self, driver: TopologyDriver, *topics: str) -> None:
        new: list[Record] = []
        for where, log in sorted(self.first.logs.items()):
            if where[0] in topics:
                at = (driver.spec.head.name, where)
                new += [Record(*where, r.offset, r.key, r.value) for r in log[self._read.get(at, 0) :]]
                self._read[at] = len(log)
        driver.now = self.first.now
        driver.step_records(new)


def apart(batches: Sequence[Sequence[Sent]], *, payments_first: bool) -> TopologyDriver:
    stages = Apart()
    open_run(stages.first)
    for batch in batches:
        stages.first.now += 1_000
        send(stages.first, batch)
        stages.carry(payments_first=payments_first)
    return stages.first


def decisions(driver: TopologyDriver) -> list[tuple[int, bytes | None, Any]]:
    """Decisions in log order; the place of the payment is the event that stands there."""
    found: list[tuple[int, bytes | None, Any]] = []
    for record in driver.read(DECISION):
        fields = dict(record.decoded().fields)
        payload = dict(fields["payload"])
        place = payload.pop("payment")
        stands = driver.logs[place["topic"], place["partition"]][place["offset"]]
        found.append(
            (
                record.partition,
                record.key,
                fields | {"payload": payload, "stands": stands.decoded().fields["event_id"]},
            )
        )
    return found


batches_of_payments = st.lists(
    st.lists(
        st.tuples(st.integers(0, 25), st.integers(0, 20_000), st.integers(0, 4)), min_size=1, max_size=8
    ),
    min_size=1,
    max_size=5,
)


@settings(deadline=None, max_examples=30)
@given(batches=batches_of_payments, payments_first=st.booleans())
def test_a_stage_that_reads_anothers_facts_decides_alike_chained_and_apart(
    batches: list[list[Sent]], payments_first: bool
) -> None:
    together, separate = chained(batches), apart(batches, payments_first=payments_first)

    for topic in (PAYMENT, CONTEXT):
        assert in_log_order(together, topic) == in_log_order(separate, topic), topic
    assert decisions(together) == decisions(separate)
    assert receipts(together) == receipts(separate)
    assert len(decisions(together)) == len(together.read(PAYMENT))
    assert all(item["stands"] == item["payload"]["subject_event_id"] for _, _, item in decisions(together))


def moved(record: BasisRecord) -> BasisRecord:
    """The record as if somebody else's records had stood before its facts."""
    fields = {name: getattr(record, name) for name in record.__slots__}
    outputs = [(topic, partition, start + 7, count) for topic, partition, start, count in record.outputs]
    return BasisRecord(**(fields | {"outputs": outputs}))


@settings(deadline=None, max_examples=10)
@given(batches=batches_of_payments)
def test_a_restart_gives_the_digests_of_the_chain_again(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[Sent]]
) -> None:
    driver = chained(batches)
    fresh = loop_chain()
    members = histories(driver, tmp_path_factory.mktemp("replay"), fresh.members)  # type: ignore[arg-type]
    report = replay_pending(
        fresh, members, lambda r: inputs_of(driver, r), LoggedPlaces(PARTITIONS), accept_code_change=False
    )
    assert (report.batches, report.uncompared) == (len(driver.basis) // 3, 0)
    for old, new, member in zip(driver.spec.members[1:], fresh.members[1:], members[1:], strict=True):
        assert new.state.values == old.state.values  # type: ignore[attr-defined]
        ends = {where: len(log) for where, log in driver.logs.items() if where[0] in new.inputs}
        assert member.positions == ends


def test_a_replay_goes_by_the_places_that_the_log_gives_a_members_facts(tmp_path: Path) -> None:
    driver = chained([[(0, 0, 0), (1, 5, 1)]])
    driver.basis = [
        moved(record) if record.service == ContextStage.name else record for record in driver.basis
    ]
    seen: list[Record] = []

    class Looking(JoinStage):
        def order(self, records: Sequence[Record]) -> list[Record]:
            seen.extend(record for record in records if record.topic == CONTEXT)
            return super().order(records)

    fresh = ChainSpec([gate(), ContextStage(), Looking()])
    members = histories(driver, tmp_path, fresh.members)  # type: ignore[arg-type]
    replay_pending(
        fresh, members, lambda r: inputs_of(driver, r), LoggedPlaces(PARTITIONS), accept_code_change=False
    )
    assert [record.offset for record in seen] == [7, 8]  # both in one partition
