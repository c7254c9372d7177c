"""The gate's state from the Event Bus: every fact is there, under its key, at its coordinates."""

from services.ingestion_gate.model import (
    CONTROL_RUN_NO,
    TRAFFIC,
    Admission,
    HeldReady,
    Run,
    RunKey,
    RunStatus,
)
from services.ingestion_gate.overlay import GateView
from services.ingestion_gate.policy import BUILT_IN, GatePolicy, PolicyProblem
from services.ingestion_gate.receipts import RECEIPT_TOPIC
from services.ingestion_gate.screening import Prepared, prepare
from services.ingestion_gate.state import GateState
from sluice_contracts import TOPICS, Decoded, decode
from sluice_kit.stage import BusReading, Coordinate, Record

READY_LANE = "ingress.scenario_runner"
CONTROL = "control.run"
POLICY = "control.policy"
CHUNK = 50_000
NOT_ADMITTED = frozenset({RECEIPT_TOPIC, "audit.quarantine"})
"""The gate's own records: they have no key, no receipt."""


def rebuild(state: GateState, bus: BusReading) -> None:
    """Replace `state` by what the bus says. Runs first, then policy, then every key, then waiting READYs."""
    runs = _runs(bus)
    policy = _policy(bus)
    state.keys.clear()
    _keys(state, bus, runs, policy)
    state.replace(GateView(policy, runs, _held(bus), state.keys))


def _runs(bus: BusReading) -> dict[RunKey, Run]:
    runs: dict[RunKey, Run] = {}
    closed: set[RunKey] = set()
    for records in bus.read([CONTROL]):
        for record in records:
            found = decode(record.value)
            if not isinstance(found, Decoded):
                continue
            fields = found.fields
            key = (fields["tenant"], fields["run_id"])
            if found.contract.event_type == "run_closed":
                closed.add(key)
            elif found.contract.event_type == "run_ready":
                runs[key] = Run(
                    *key,
                    len(runs),
                    RunStatus.OPEN,
                    manifest_fingerprint=fields["manifest_fingerprint"],
                    parameter_hash=fields["parameter_hash"],
                    scenario_id=fields["scenario_id"],
                    seed=fields["seed"],
                    delivery_mode=fields["payload"]["traffic_delivery_mode"],
                    ready_event_id=fields["event_id"],
                )
    return {key: run.closed() if key in closed else run for key, run in runs.items()}


def _policy(bus: BusReading) -> GatePolicy:
    newest = BUILT_IN
    for records in bus.read([POLICY]):
        for record in records:
            found = decode(record.value)
            if isinstance(found, Decoded):
                policy = GatePolicy.parse(found.fields["payload"]["policy"])
                newest = newest if isinstance(policy, PolicyProblem) else policy
    return newest


def _keys(state: GateState, bus: BusReading, runs: dict[RunKey, Run], policy: GatePolicy) -> None:
    """Index every fact; a run that never had a READY is a tenant's standing run."""
    chunk: dict[bytes, Admission] = {}
    coordinates: list[Coordinate] = []
    number = 0
    topics = [topic.name for topic in TOPICS.values() if topic.cls in {"traffic", "control", "audit"}]
    for records in bus.read([name for name in topics if name not in NOT_ADMITTED]):
        for record in records:
            found = prepare(record)
            if not isinstance(found, Prepared):
                continue
            chunk[found.key] = Admission(
                len(coordinates),
                found.payload_hash,
                found.decoded.fields["ts_utc"],
                _run_no(found, runs, policy),
            )
            coordinates.append(Coordinate(record.topic, record.partition, record.offset))
        if len(chunk) >= CHUNK:
            state.keys.add(chunk, coordinates, number)
            chunk, coordinates, number = {}, [], number + 1
    if chunk:
        state.keys.add(chunk, coordinates, number)


def _run_no(found: Prepared, runs: dict[RunKey, Run], policy: GatePolicy) -> int:
    if TOPICS[found.decoded.contract.topic or ""].cls != TRAFFIC:
        return CONTROL_RUN_NO
    fields = found.decoded.fields
    key = (fields["tenant"], fields["run_id"])
    if key not in runs:
        tenant = policy.tenants.get(key[0])
        standing = tenant is not None and tenant.standing_run == key[1]
        runs[key] = Run(*key, len(runs), RunStatus.OPEN if standing else RunStatus.CLOSED, standing=standing)
    return runs[key].run_no


def _held(bus: BusReading) -> dict[RunKey, tuple[HeldReady, ...]]:
    """READYs that were taken from their lane and have no receipt: they wait for evidence, from now on."""
    settled: set[tuple[int, int]] = set()
    for records in bus.read([RECEIPT_TOPIC]):
        for record in records:
            if record.value is None or READY_LANE.encode() not in record.value:
                continue
            found = decode(record.value)
            if isinstance(found, Decoded) and found.fields["payload"]["lane_topic"] == READY_LANE:
                settled.add(
                    (found.fields["payload"]["lane_partition"], found.fields["payload"]["lane_offset"])
                )
    held: dict[RunKey, tuple[HeldReady, ...]] = {}
    for records in bus.read([READY_LANE]):
        for record in records:
            taken = record.offset < bus.positions.get((READY_LANE, record.partition), 0)
            if taken and (record.partition, record.offset) not in settled:
                _hold(held, record, bus.now)
    return held


def _hold(held: dict[RunKey, tuple[HeldReady, ...]], record: Record, now: int) -> None:
    found = decode(record.value)
    if isinstance(found, Decoded) and found.contract.event_type == "run_ready":
        key = (found.fields["tenant"], found.fields["run_id"])
        held[key] = (*held.get(key, ()), HeldReady(record, found.fields["event_id"], now))
