"""kill -9 of the ingress at random moments under load, two gates at once, a gate that was stopped."""

import random
import signal
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition

from sluice_contracts import TOPICS
from sluice_kit.kafka import reader_config
from sluice_kit.testing.waiting import until
from tests.faults.gate_process import StageProcess, another_machine
from tests.faults.proving_ground import ProvingGround, World

pytestmark = [pytest.mark.integration, pytest.mark.fault, pytest.mark.timeout(600)]
SERVICES = ("ingestion_gate", "world_stream_producer", "scenario_runner", "ingest_edge", "flow_meter")


def at_share(ground: ProvingGround, world: World, share: float) -> None:
    until(lambda: ground.rows(world) >= share * world.events, f"{share:.0%} of {world.run_id} to be sent")


def test_every_process_is_killed_once_under_load(ground: ProvingGround, chance: random.Random) -> None:
    quarantined = ground.count("audit.quarantine")
    world = ground.submit(8_000, seed=101)
    order = chance.sample(SERVICES, len(SERVICES))
    moments = sorted(chance.uniform(0.05, 0.7) for _ in order)
    print([*zip(order, moments, strict=True)])  # noqa: T201
    with ground.outside_load(http=True) as sent:
        for service, moment in zip(order, moments, strict=True):
            at_share(ground, world, moment)
            ground.fleet.kill(service)
            ground.fleet.start([service])
        ground.streamed(world)
    ground.assert_nothing_lost(world.events + sent.lane + len(sent.http))
    ground.assert_world_stands(world)
    facts = ground.facts()
    assert [event_id for event_id in sent.http if facts["standing", event_id] != 1] == []
    assert ground.count("audit.quarantine") == quarantined
    until(lambda: not ground.lag("flow_meter", ["traffic.payment"]), "the flow meter to catch up")


def test_the_gate_is_killed_again_and_again_and_while_it_restores(
    ground: ProvingGround, chance: random.Random
) -> None:
    world = ground.submit(4_000, seed=102)
    ground.full_speed(world)
    wiring, log = ground.deployment.wiring_file, ground.fleet.log("ingestion_gate")
    with ground.outside_load(per_second=500) as sent:
        for _ in range(3):
            before = sent.lane
            until(lambda before=before: sent.lane > before + chance.randrange(50, 600), "load to go on")
            ground.fleet.kill("ingestion_gate")
            ground.fleet.start(["ingestion_gate"])
        ground.fleet.kill("ingestion_gate")
        for _ in range(3):
            # Loading code, then restoring.
            gate, moment = StageProcess(wiring, log), chance.uniform(0.4, 1.8)
            until(lambda gate=gate, moment=moment: gate.cpu_seconds() > moment, "the gate to start")
            gate.kill()
            print(f"killed {'while serving' if 'stage.restored' in gate.text() else 'while starting'}")  # noqa: T201
        ground.fleet.start(["ingestion_gate"])
        ground.streamed(world)
    ground.assert_nothing_lost(world.events + sent.lane)
    ground.assert_world_stands(world)


def test_of_two_gates_at_once_the_older_is_fenced_and_stays_down(
    ground: ProvingGround, tmp_path: Path
) -> None:
    wiring = ground.deployment.wiring_file
    assert ground.fleet.stop(["ingestion_gate"]) == []
    older = StageProcess(wiring, tmp_path / "older.log").started()
    with ground.outside_load(per_second=500) as sent:
        until(lambda: sent.lane > 500, "load")
        younger = StageProcess(another_machine(wiring, tmp_path), tmp_path / "younger.log")
        assert older.ended() == 78, older.text()[-2000:]
        younger.started()
        assert "another instance" in older.text()
        before = sent.lane
        until(lambda: sent.lane > before + 500, "load after the take-over")
    ground.assert_nothing_lost(sent.lane)
    assert younger.poll() is None
    assert older.poll() == 78
    assert younger.drain() == 0
    ground.fleet.start(["ingestion_gate"])


def test_a_second_gate_on_the_same_folder_is_refused_and_changes_nothing(
    ground: ProvingGround, tmp_path: Path
) -> None:
    with ground.outside_load() as sent:
        until(lambda: sent.lane > 100, "load")
        second = StageProcess(ground.deployment.wiring_file, tmp_path / "second.log")
        assert second.ended() == 70
        assert "is open in another process" in second.text()
    ground.assert_nothing_lost(sent.lane)


def test_a_transaction_that_timed_out_is_stepped_again(ground: ProvingGround) -> None:
    config = reader_config(ground.wiring, "auditor", group="auditor-lso")
    views = [Consumer(config), Consumer(config | {"isolation.level": "read_uncommitted"})]
    with ground.outside_load(per_second=500) as sent:
        until(lambda: _stopped_inside_a_transaction(ground, views), "a moment inside a transaction", 60)
        behind = sent.lane
        until(lambda: not _open_transaction(views), "the broker to abort the transaction", 60)
        assert sent.lane > behind
        ground.fleet.signal("ingestion_gate", signal.SIGCONT)
        until(lambda: not ground.lane_lag() or sent.lane > behind + 20_000, "the gate to go on", 60)
    for view in views:
        view.close()
    ground.assert_nothing_lost(sent.lane)
    assert "ingestion_gate" in ground.fleet.running()


def _stopped_inside_a_transaction(ground: ProvingGround, views: list[Consumer]) -> bool:
    ground.fleet.signal("ingestion_gate", signal.SIGSTOP)
    # Not just a commit that the broker is about to carry out: it stays open, look after look.
    if all(_open_transaction(views) for _ in range(100)):
        return True
    ground.fleet.signal("ingestion_gate", signal.SIGCONT)
    return False


def _open_transaction(views: list[Consumer]) -> bool:
    """Whether records stand on the receipts' topic that no commit or abort has decided.

    `views` see it read committed and read uncommitted.
    """
    for partition in range(TOPICS["audit.receipt"].partitions):
        at = TopicPartition("audit.receipt", partition)
        stable, end = (view.get_watermark_offsets(at, timeout=30)[1] for view in views)
        if stable < end:
            return True
    return False
