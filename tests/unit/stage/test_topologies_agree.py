"""The same stages, chained in one process or apart, write the same records; coordinates stand for events."""

from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.flow_meter.core import LANE, TRAFFIC
from services.flow_meter.stage import FlowMeterStage
from services.flow_meter.tallies import TALLY
from services.ingestion_gate.memory_keys import MemoryKeys
from services.ingestion_gate.stage import GateStage
from services.ingestion_gate.state import GateState
from sluice_kit.stage import ChainSpec, Record
from sluice_kit.testing import TopologyDriver
from tests.unit.ingestion_gate.events import NOW, evidence, framed, payment, run_ready

SECOND = 1_000_000
TOPICS_COMPARED = (TRAFFIC, "control.run", "control.heartbeat", TALLY)
PLACE_FIELDS = ("receipt_id", "lane_topic", "lane_partition", "lane_offset", "origin")

Sent = tuple[int, int, int]
"""(event number, second of event time, customer number)"""


def gate() -> GateStage:
    return GateStage(GateState(MemoryKeys()))


def send(driver: TopologyDriver, sent: Sequence[Sent]) -> None:
    for number, second, customer in sent:
        event = payment(
            f"e{number}", customer=f"C{customer}", ts_utc=NOW + second * SECOND, amount=number + 1
        )
        driver.pipe("ingress.world_stream_producer", framed(event), partition=0)
    driver.step()


def open_run(driver: TopologyDriver) -> None:
    driver.pipe("ingress.scenario_runner", framed(run_ready()))
    driver.pipe("ingress.ingestion_gate", framed(evidence()))
    driver.step()


def chained(batches: Sequence[Sequence[Sent]]) -> TopologyDriver:
    driver = TopologyDriver(ChainSpec([gate(), FlowMeterStage()]), now=NOW)
    open_run(driver)
    for batch in batches:
        send(driver, batch)
    driver.advance(10)
    return driver


def apart(batches: Sequence[Sequence[Sent]]) -> TopologyDriver:
    """Gate and flow meter as two drivers; the bus and the lane between them are carried by hand."""
    first = TopologyDriver(ChainSpec([gate()]), now=NOW)
    second = TopologyDriver(ChainSpec([FlowMeterStage()]), now=NOW)
    carried = {"facts": 0, "reports": 0, "tallies": 0}
    read: dict[tuple[str, int], int] = {}

    def carry() -> None:
        facts = []
        for (topic, partition), log in sorted(first.logs.items()):
            if topic == TRAFFIC:
                start = read.get((topic, partition), 0)
                facts += [Record(topic, partition, r.offset, r.key, r.value) for r in log[start:]]
                read[topic, partition] = len(log)
        second.step_records(facts)
        lane = second.read(LANE)
        for record in lane[carried["reports"] :]:
            first.pipe(LANE, record.value, record.key)
        carried["reports"] = len(lane)
        first.step()

    open_run(first)
    carry()
    for batch in batches:
        send(first, batch)
        carry()
    first.now = second.now = NOW + 10 * SECOND
    carry()
    first.logs.update({where: log for where, log in second.logs.items() if where[0] == TALLY})
    return first


def in_log_order(driver: TopologyDriver, topic: str) -> list[tuple[int, bytes | None, bytes]]:
    return [(record.partition, record.key, record.value) for record in driver.read(topic)]


def receipts(driver: TopologyDriver) -> list[tuple[Any, ...]]:
    """Receipts with their coordinates replaced by the event that stands there."""
    found = []
    for event in driver.events("audit.receipt"):
        payload: dict[str, Any] = dict(event["payload"])  # type: ignore[call-overload]
        where = (payload.pop("eb_topic"), payload.pop("eb_partition"))
        offset = payload.pop("eb_offset")
        stands = driver.logs[where][offset].decoded().fields["event_id"] if offset >= 0 else None
        for name in PLACE_FIELDS:
            payload.pop(name)
        found.append(
            (payload["subject_event_id"] or "", payload["decision"], stands, repr(sorted(payload.items())))
        )
    return sorted(found)


@settings(deadline=None)
@given(
    seconds=st.lists(st.integers(0, 20_000), min_size=1, max_size=30),
    repeats=st.lists(st.integers(0, 29), max_size=5),
    cut=st.integers(0, 30),
)
def test_chained_and_apart_write_the_same_records(seconds: list[int], repeats: list[int], cut: int) -> None:
    events: list[Sent] = [(n, second, n % 5) for n, second in enumerate(sorted(seconds))]
    events += [events[n] for n in repeats if n < len(events)]
    batches = [part for part in (events[:cut], events[cut:]) if part]

    together, separate = chained(batches), apart(batches)

    for topic in TOPICS_COMPARED:
        assert in_log_order(together, topic) == in_log_order(separate, topic), topic
    assert receipts(together) == receipts(separate)


def test_a_chained_member_writes_its_own_basis_and_no_lane_record() -> None:
    driver = chained([[(0, 0, 0), (1, 9_000, 0)]])
    assert {record.service for record in driver.basis} == {"ingestion_gate", "flow_meter"}
    assert driver.read(LANE) == []
    origins = {event["payload"]["origin"] for event in driver.events("audit.receipt")}  # type: ignore[index]
    assert origins == {"lane", "chained"}
