"""Producers that are killed, drained, doubled or cut off: no gap, no strangers, rows in order."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.world_stream_producer.testing_service import (
    ProducerProcess,
    RunMaker,
    expected_messages,
    publish_control,
    read_lane,
    resends,
    sql,
)
from sluice_kit.config import Wiring
from sluice_substrate import LocalStack

pytestmark = [
    pytest.mark.integration,
    pytest.mark.fault,
    pytest.mark.usefixtures("topics_applied"),
]
Start = Callable[..., ProducerProcess]


@pytest.fixture
def start(wiring_file: Path, tmp_path: Path) -> Iterator[Start]:
    processes: list[ProducerProcess] = []

    def begin(policy: str = "") -> ProducerProcess:
        process = ProducerProcess(wiring_file, tmp_path, name=f"wsp{len(processes)}", policy=policy)
        processes.append(process)
        return process

    yield begin
    for process in processes:
        process.close()


@pytest.fixture
def make_run(wiring: Wiring, tmp_path: Path) -> Iterator[RunMaker]:
    """Worlds whose rows are a millisecond apart."""
    maker = RunMaker(wiring, tmp_path, step_micros=1_000)
    yield maker
    maker.close()


def test_after_kill_9_the_stream_goes_on_with_no_gap(
    wiring: Wiring, make_run: RunMaker, start: Start
) -> None:
    run = make_run(60_000, label_every=20)
    publish_control(wiring, run.ready_message())
    for stop_at in (1_000, 5_000):
        service = start("speed: 2\n")
        service.wait_for_rows(run.run_id, stop_at)
        service.kill()
    start().wait_for(run.run_id, "COMPLETED")
    again = resends(read_lane(wiring, run.run_id), expected_messages(wiring, run))
    assert again < 30_000


def test_kill_9_at_full_speed_leaves_no_gap(wiring: Wiring, make_run: RunMaker, start: Start) -> None:
    run = make_run(400_000)
    publish_control(wiring, run.ready_message())
    service = start()
    service.wait_for_rows(run.run_id, 1)
    service.kill()
    start().wait_for(run.run_id, "COMPLETED")
    resends(read_lane(wiring, run.run_id), expected_messages(wiring, run))


def test_sigterm_drains_checkpoints_and_exits_0(wiring: Wiring, make_run: RunMaker, start: Start) -> None:
    run = make_run(60_000)
    publish_control(wiring, run.ready_message())
    service = start("speed: 1\n")
    service.wait_for_rows(run.run_id, 500)
    assert service.terminate() == 0
    (row,) = sql(wiring, "select next_row, state from stream_progress where run_id = $1", run.run_id)
    assert row["state"] == "STREAMING"
    assert 500 <= row["next_row"] < 60_000
    assert read_lane(wiring, run.run_id) == expected_messages(wiring, run)[: row["next_row"]]
    start().wait_for(run.run_id, "COMPLETED")
    assert read_lane(wiring, run.run_id) == expected_messages(wiring, run)


def test_two_instances_never_share_a_run_and_stand_in_for_each_other(
    wiring: Wiring, make_run: RunMaker, start: Start
) -> None:
    instances = [start("speed: 0.2\n"), start("speed: 0.2\n")]
    runs = [make_run(30_000) for _ in range(3)]
    publish_control(wiring, *(run.ready_message() for run in runs))
    holders = [instances[0].wait_for_rows(run.run_id, 200)["owner"] for run in runs]
    for run in runs:
        sent = read_lane(wiring, run.run_id)
        assert sent == expected_messages(wiring, run)[: len(sent)], "two instances streamed one run"
    instances.sort(key=lambda instance: holders[0].endswith(f":{instance.process.pid}"))
    other, holder = instances
    holder.kill()
    for run in runs:
        assert other.run_to_the_end(run.run_id)["owner"].endswith(f":{other.process.pid}")
        resends(read_lane(wiring, run.run_id), expected_messages(wiring, run))


def test_a_lost_database_session_stops_the_stream_until_the_lock_is_back(
    wiring: Wiring, make_run: RunMaker, start: Start
) -> None:
    run = make_run(30_000)
    service = start("speed: 1\n")
    publish_control(wiring, run.ready_message())
    for rows in range(500, 4_500, 500):
        service.wait_for_rows(run.run_id, rows)
        cut = sql(
            wiring,
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where application_name = 'sluice-world_stream_producer-lease'",
        )
        assert cut
    service.run_to_the_end(run.run_id)
    assert read_lane(wiring, run.run_id) == expected_messages(wiring, run)
    (row,) = sql(wiring, "select lease_no from stream_progress where run_id = $1", run.run_id)
    assert row["lease_no"] == 1


def test_with_postgres_stopped_the_stream_stands_still_and_then_goes_on(
    stack: LocalStack, wiring: Wiring, make_run: RunMaker, start: Start
) -> None:
    run = make_run(30_000)
    service = start("speed: 1\n")
    publish_control(wiring, run.ready_message())
    service.wait_for_rows(run.run_id, 300)
    stack.stop_postgres()
    try:
        service.wait_until_degraded("streams")  # others may know before the stream has met it
        before = len(read_lane(wiring, run.run_id))
        assert len(read_lane(wiring, run.run_id)) == before, "it went on without its lock"
    finally:
        stack.start_postgres()
    service.run_to_the_end(run.run_id)
    assert read_lane(wiring, run.run_id) == expected_messages(wiring, run)


def test_with_the_broker_killed_nothing_is_lost(
    stack: LocalStack, wiring: Wiring, make_run: RunMaker, start: Start
) -> None:
    run = make_run(30_000)
    service = start("speed: 1\n")
    publish_control(wiring, run.ready_message())
    service.wait_for_rows(run.run_id, 300)
    stack.kill_broker()
    try:
        service.wait_until_degraded("streams")
    finally:
        stack.restart_broker()
    service.run_to_the_end(run.run_id)
    resends(read_lane(wiring, run.run_id), expected_messages(wiring, run))
