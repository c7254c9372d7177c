"""A gate that lost its state makes it anew from the bus, and answers as the old one would."""

from collections.abc import Iterator, Sequence

from services.ingestion_gate.memory_keys import MemoryKeys
from services.ingestion_gate.rebuild import READY_LANE, rebuild
from services.ingestion_gate.stage import GateStage
from services.ingestion_gate.state import GateState
from sluice_kit.stage import BusReading, ChainSpec, Record
from sluice_kit.testing import TopologyDriver
from tests.unit.ingestion_gate.events import (
    PARTNER,
    WSP,
    Fields,
    envelope,
    evidence,
    framed,
    open_run,
    payment,
    run_ready,
    standing_payment,
)


def bus_of(driver: TopologyDriver) -> BusReading:
    def read(topics: Sequence[str]) -> Iterator[list[Record]]:
        for topic in topics:
            yield [Record(r.topic, r.partition, r.offset, r.key, r.value) for r in driver.read(topic)]

    positions = {where: len(log) for where, log in driver.logs.items()}
    return BusReading(read, positions, driver.now)


def rebuilt(driver: TopologyDriver) -> TopologyDriver:
    """The same log, a gate with nothing but what the bus tells."""
    state = GateState(MemoryKeys())
    rebuild(state, bus_of(driver))
    return TopologyDriver(
        ChainSpec([GateStage(state)]), now=driver.now, logs=driver.logs, batch_no=driver.batch_no
    )


def lived(gate: TopologyDriver) -> None:
    open_run(gate)
    for number in range(5):
        gate.pipe(WSP, framed(payment(f"e{number}")))
    gate.pipe(PARTNER, framed(standing_payment("s1")))
    gate.pipe(WSP, b"junk")
    gate.step()


def decisions(driver: TopologyDriver, event_id: str) -> list[tuple[str, list[str], int]]:
    payloads: list[Fields] = [event["payload"] for event in driver.events("audit.receipt")]  # type: ignore[misc]
    return [
        (p["decision"], p["reason_codes"], p["eb_offset"])
        for p in payloads
        if p["subject_event_id"] == event_id
    ]


def test_what_was_admitted_is_a_duplicate_with_the_first_coordinates(gate: TopologyDriver) -> None:
    lived(gate)
    again = rebuilt(gate)
    again.pipe(WSP, framed(payment("e3")))
    again.pipe(WSP, framed(payment("e3", amount=9)))
    again.pipe(PARTNER, framed(standing_payment("s1")))
    again.pipe(WSP, framed(payment("new")))
    again.step()

    first, *rest = decisions(again, "e3")
    assert rest == [("DUPLICATE", [], first[2]), ("QUARANTINE", ["PAYLOAD_HASH_MISMATCH"], -1)]
    assert [decision for decision, _, _ in decisions(again, "s1")] == ["ADMIT", "DUPLICATE"]
    assert [decision for decision, _, _ in decisions(again, "new")] == ["ADMIT"]


def test_the_rebuilt_view_is_the_old_one(gate: TopologyDriver) -> None:
    lived(gate)
    gate.pipe(READY_LANE, framed(envelope("run_closed", "c1", {"reason": "done", "events_expected": None})))
    gate.step()
    old, new = gate.spec.head.state, rebuilt(gate).spec.head.state
    assert isinstance(old, GateState)
    assert isinstance(new, GateState)
    assert new.view.runs == old.view.runs
    assert new.view.policy == old.view.policy
    assert new.view.keys._rows == old.view.keys._rows  # type: ignore[attr-defined]


def test_a_ready_that_waited_goes_on_waiting(gate: TopologyDriver) -> None:
    gate.pipe(READY_LANE, framed(run_ready()))
    gate.step()
    again = rebuilt(gate)
    again.pipe("ingress.ingestion_gate", framed(evidence()))
    again.step()
    assert [decision for decision, _, _ in decisions(again, "ready-1")] == ["ADMIT"]
