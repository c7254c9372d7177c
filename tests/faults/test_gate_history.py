"""Starts against a history: none at all, other code, poison, a clock that jumps, input that is gone."""

import threading
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition

from services.ingestion_gate.disk_keys import DiskKeys
from services.ingestion_gate.stage import GateStage
from services.ingestion_gate.state import GateState
from sluice_kit.artifacts import open_artifacts
from sluice_kit.stage import ChainSpec
from sluice_kit.stage.observer import StageObserver
from sluice_kit.stage.runner import StageRunner, wall_clock
from sluice_kit.telemetry import Health, MetricFamilies
from sluice_kit.testing.waiting import until
from tests.faults.gate_process import altered_code
from tests.faults.one_gate import LANE, OneGate
from tests.faults.reading import payloads

pytestmark = [pytest.mark.integration, pytest.mark.fault, pytest.mark.timeout(300)]
HOUR = 3_600_000_000
SAME_OUTPUTS = {"ingestion_gate/core.py": ('"""The gate\'s step', '"""Said otherwise. The gate\'s step')}
OTHER_OUTPUTS = {"ingestion_gate/receipts.py": ('PRODUCER = "ingestion_gate"', 'PRODUCER = "another_gate"')}
POISON_MARK = "raise-on-this"
_LINES = f"""
{{indent}}if value and b"{POISON_MARK}" in value:
{{indent}}    raise LookupError("a bug of this release")
"""
RAISING = {  # one by one, and in columns when many come at once
    "ingestion_gate/screening.py": (
        "        value = record.value\n",
        "        value = record.value" + _LINES.format(indent=" " * 8),
    ),
    "ingestion_gate/express.py": (
        "        lot = self._lot(records, rows)\n",
        "        lot = self._lot(records, rows)\n"
        '        value = b"".join([record.value or b"" for record in records])'
        + _LINES.format(indent=" " * 8),
    ),
}


def test_a_fresh_stack_without_any_offsets_starts_and_restarts(alone: OneGate) -> None:
    gate = alone.gate()
    assert (gate.restored()["batches"], gate.restored()["events"]) == (0, 0)
    alone.send(300)
    alone.settled()
    gate.kill()  # before its first checkpoint: the next start has the basis log alone
    again = alone.gate()
    assert again.restored()["events"] == 300
    alone.send(100)
    alone.settled()
    assert again.drain() == 0
    assert alone.verdict().admitted == 400


def test_other_code_replays_nothing_after_a_drain(alone: OneGate, tmp_path: Path) -> None:
    gate = alone.gate(code=altered_code(tmp_path, OTHER_OUTPUTS))
    assert gate.restored()["batches"] == 0
    assert gate.drain() == 0


def test_other_code_with_the_same_outputs_starts_after_a_kill(alone: OneGate, tmp_path: Path) -> None:
    killed = alone.gate().started()
    alone.send(200)
    alone.settled()
    killed.kill()
    before = alone.basis()[-1]["code_rev"]
    gate = alone.gate(code=altered_code(tmp_path, SAME_OUTPUTS))
    report = gate.restored()
    assert report["events"] >= 200
    assert report["uncompared"] == 0
    assert alone.basis()[-1]["code_rev"] != before, "the code was meant to have another revision"
    assert gate.drain() == 0
    alone.verdict()


def test_other_code_with_other_outputs_is_refused_until_it_is_accepted(
    alone: OneGate, tmp_path: Path
) -> None:
    killed = alone.gate().started()
    alone.send(200)
    alone.settled()
    killed.kill()
    before = len(alone.receipts())
    code = altered_code(tmp_path, OTHER_OUTPUTS)
    refused = alone.gate(code=code)
    assert refused.ended() == 71
    assert "REPLAY_DIVERGENCE" in refused.text()
    assert "--accept-code-change" in refused.text()
    accepted = alone.gate("--accept-code-change", code=code)
    uncompared = accepted.restored()["uncompared"]
    assert uncompared > 0
    alone.sent += 1  # the gate's own lane: what this start accepted
    until(lambda: len(alone.receipts()) == before + 1, "the gate to decide about its own start")
    assert accepted.drain() == 0
    told = payloads(alone.wiring, "audit.governance")[-1]
    assert told["from_code_rev"] != told["to_code_rev"]
    assert {told["from_code_rev"], told["to_code_rev"]} <= {record["code_rev"] for record in alone.basis()}
    assert (told["service"], told["shard"], told["batches"]) == ("ingestion_gate", 0, uncompared)
    alone.verdict()


def test_one_poisonous_record_is_quarantined_and_a_restart_agrees(alone: OneGate, tmp_path: Path) -> None:
    code = altered_code(tmp_path, RAISING)
    gate = alone.gate(code=code).started()
    good, bad = alone.send(20), alone.send(1, POISON_MARK)
    good += alone.send(20)
    alone.settled()
    gate.kill()
    again = alone.gate(code=code)
    assert again.restored()["uncompared"] == 0
    assert again.drain() == 0
    by_id = {payload["subject_event_id"]: payload for payload in alone.receipts()}
    assert {by_id[event_id]["decision"] for event_id in good} == {"ADMIT"}
    poisoned = [p for p in alone.receipts() if p["reason_codes"] == ["POISON"]]
    assert len(poisoned) == len(bad) == 1
    assert "a bug of this release" in poisoned[0]["detail"]
    alone.verdict()


def test_a_bad_release_stops_and_writes_nothing(alone: OneGate, tmp_path: Path) -> None:
    before = len(alone.receipts())
    bad = alone.gate(code=altered_code(tmp_path, RAISING)).started()
    ids = alone.send(60, POISON_MARK)
    assert bad.ended() == 73
    assert "bad deployment" in bad.text()
    refused_before_the_limit = len(alone.receipts()) - before
    assert refused_before_the_limit <= 10
    good = alone.gate().started()
    alone.settled()
    assert good.drain() == 0
    by_id = {p["subject_event_id"]: p["decision"] for p in alone.receipts()}
    assert sum(by_id.get(event_id) == "ADMIT" for event_id in ids) == 60 - refused_before_the_limit
    alone.verdict()


def test_a_clock_that_jumps_never_takes_time_back(alone: OneGate) -> None:
    offset = [0]
    keys = DiskKeys(alone.wiring.state_dir / "ingestion_gate" / "0")
    health = Health("ingestion_gate")
    metrics = [MetricFamilies().service("ingestion_gate", "0")]
    runner = StageRunner(
        ChainSpec([GateStage(GateState(keys))]),
        alone.wiring,
        open_artifacts(alone.wiring),
        StageObserver(metrics, health),
        clock=lambda: wall_clock() + offset[0],
    )
    failures: list[BaseException] = []
    thread = threading.Thread(target=_run, args=(runner, failures))
    thread.start()
    try:
        until(lambda: runner.restored or failures, "the runner to have started")
        assert failures == []
        for jump in (0, -HOUR, 24 * HOUR, -HOUR):
            offset[0] = jump
            alone.send(10)
            alone.settled()
    finally:
        runner.stop()
        thread.join(60)
        keys.index.close()
    assert failures == []
    nows = [record["now"] for record in alone.basis()]
    assert nows == sorted(nows)
    assert nows[-1] >= wall_clock() + 23 * HOUR
    by_lane: dict[tuple[str, int], list[tuple[int, int]]] = {}
    for payload in alone.receipts():
        lane = by_lane.setdefault((payload["lane_topic"], payload["lane_partition"]), [])
        lane.append((payload["lane_offset"], payload["admitted_at"]))
    for lane in by_lane.values():
        admitted_at = [moment for _, moment in sorted(lane)]
        assert admitted_at == sorted(admitted_at)
    alone.verdict()


def _run(runner: StageRunner, failures: list[BaseException]) -> None:
    try:
        runner.run()
    except BaseException as error:  # noqa: BLE001 - told to the test
        failures.append(error)


def test_input_that_is_gone_is_an_incident_never_a_gap(alone: OneGate) -> None:
    """Last of its module: what is deleted here cannot be brought back."""
    before = len(alone.receipts())
    alone.send(400)
    client = alone.deployment.stack.admin()
    gone = TopicPartition(LANE, 0, -1)  # the end of the partition
    low = client.delete_records([gone])[gone].result().low_watermark
    refused = alone.gate()
    assert refused.ended() == 72
    text = refused.text()
    for part in ("REPLAY_INPUT_GONE", f"{LANE}/0", str(low), "docs/runbooks/input-gone.md"):
        assert part in text
    assert len(alone.receipts()) == before
    again = alone.gate()
    assert again.ended() == 72, "it must not skip what is gone at a second try either"
    assert len(alone.receipts()) == before
