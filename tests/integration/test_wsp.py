"""The World Stream Producer as a process, on a real broker and a real Postgres."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.world_stream_producer.backfill import BackfillError, backfill_run
from services.world_stream_producer.testing_service import (
    ProducerProcess,
    RunMaker,
    event_ids,
    expected_messages,
    planned,
    publish_control,
    read_lane,
    sql,
)
from sluice_contracts import derived_id, encode
from sluice_kit.artifacts import open_artifacts
from sluice_kit.config import Wiring
from sluice_kit.testing.waiting import until
from tests.integration.rest_access import assert_guarded

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("topics_applied")]


@pytest.fixture(scope="module")
def service(
    wiring_file: Path, topics_applied: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ProducerProcess]:
    """One producer for this module. Its policy is real time, the worlds' rows are seconds apart: slow."""
    process = ProducerProcess(wiring_file, tmp_path_factory.mktemp("wsp"), policy="speed: 1\n")
    yield process
    process.close()


@pytest.fixture
def make_run(wiring: Wiring, tmp_path: Path) -> Iterator[RunMaker]:
    maker = RunMaker(wiring, tmp_path, step_micros=1_000_000)
    yield maker
    maker.close()


def stands_still(service: ProducerProcess, run_id: str) -> Callable[[], int | None]:
    """Asks for the rows until they are the same for half a second."""
    history: list[int] = []

    def look() -> int | None:
        stream = service.stream(run_id)
        assert stream is not None
        history.append(stream["rows"])
        recent = history[-25:]
        return recent[0] if len(recent) == 25 and len(set(recent)) == 1 else None

    return look


def test_a_ready_run_is_streamed_whole_in_order_as_planned(
    wiring: Wiring, make_run: RunMaker, service: ProducerProcess
) -> None:
    run = make_run(20_000)
    publish_control(wiring, run.ready_message())
    stream = service.run_to_the_end(run.run_id)
    assert (stream["rows"], stream["total_rows"], stream["policy_revision"]) == (20_000, 20_000, "test-wsp")
    assert read_lane(wiring, run.run_id) == expected_messages(wiring, run)
    plan = planned(run)
    assert stream["plan_digest"] == plan.digest
    store = open_artifacts(wiring)
    assert store.read(store.locate(store.path_of(stream["plan_uri"]))) == plan.document()
    assert service.client.get("/health/ready").status_code == 200
    metrics = service.client.get("/metrics").text
    assert 'sluice_events_produced_total{service="world_stream_producer"' in metrics


def test_pause_resume_and_speed_steer_one_run_and_change_no_byte(
    wiring: Wiring, make_run: RunMaker, service: ProducerProcess
) -> None:
    run = make_run(20_000)
    publish_control(wiring, run.ready_message())
    service.wait_for_rows(run.run_id, 1)
    faster = service.command(run.run_id, "speed", {"speed": 500}).raise_for_status().json()
    assert (faster["stream"]["speed"], faster["stream"]["speed_from"]) == ("500", "override")
    service.wait_for_rows(run.run_id, 200)
    paused = service.command(run.run_id, "pause", key="pause-1").raise_for_status().json()
    assert paused["stream"]["state"] == "PAUSED"
    assert until(stands_still(service, run.run_id), "the stream to stand still") < 20_000
    dry = service.client.post(
        f"/v1/streams/{run.run_id}/resume?dry_run=true", headers={"Idempotency-Key": "dry-1"}
    )
    assert dry.json()["dry_run"] is True
    assert service.wait_for(run.run_id, "PAUSED")
    service.command(run.run_id, "resume").raise_for_status()
    again = service.command(run.run_id, "pause", key="pause-1")
    assert again.json() == paused, "a repeated command is answered as the first time, and not carried out"
    reused = service.command(run.run_id, "resume", key="pause-1")
    assert (reused.status_code, reused.json()["code"]) == (409, "IDEMPOTENCY_KEY_REUSED")
    service.run_to_the_end(run.run_id)
    assert read_lane(wiring, run.run_id) == expected_messages(wiring, run)
    commands = sql(wiring, "select policy_revision from stream_command where run_id = $1", run.run_id)
    assert [row["policy_revision"] for row in commands] == ["test-wsp"] * 4


def test_commands_are_refused_with_a_reason(
    wiring: Wiring, make_run: RunMaker, service: ProducerProcess
) -> None:
    run = make_run(10)
    publish_control(wiring, run.ready_message())
    service.run_to_the_end(run.run_id)
    refused = {
        "ended": service.command(run.run_id, "pause"),
        "unknown": service.command("run-nobody-knows", "pause"),
        "no key": service.client.post(f"/v1/streams/{run.run_id}/pause"),
        "bad speed": service.command(run.run_id, "speed", {"speed": -1}),
    }
    assert {name: answer.status_code for name, answer in refused.items()} == {
        "ended": 409,
        "unknown": 404,
        "no key": 400,
        "bad speed": 422,
    }
    assert refused["ended"].json()["code"] == "STREAM_ENDED"
    kinds = {answer.headers["content-type"] for answer in refused.values()}
    assert kinds == {"application/problem+json"}


def test_every_route_wants_a_token(service: ProducerProcess, wiring: Wiring) -> None:
    asked = assert_guarded(str(service.client.base_url), wiring)
    assert {"GET /v1/streams", "POST /v1/streams/{run_id}/pause", "POST /v1/streams/{run_id}/speed"} < asked


def test_several_worlds_stream_at_once_and_do_not_mix(
    wiring: Wiring, make_run: RunMaker, service: ProducerProcess
) -> None:
    runs = [make_run(5_000) for _ in range(3)]
    publish_control(wiring, *(run.ready_message() for run in runs))
    for run in runs:
        service.wait_for_rows(run.run_id, 2)
    states = [service.wait_for(run.run_id, "STREAMING") for run in runs]
    assert all(2 <= stream["rows"] < 5_000 for stream in states)
    for run in runs:
        service.run_to_the_end(run.run_id)
        assert read_lane(wiring, run.run_id) == expected_messages(wiring, run)


def test_a_flipped_byte_stops_the_run_and_none_of_the_files_rows_are_sent(
    wiring: Wiring, make_run: RunMaker, service: ProducerProcess
) -> None:
    run = make_run(5_000)
    (path,) = run.data_files()
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 0x10
    path.chmod(0o644)
    path.write_bytes(bytes(data))
    publish_control(wiring, run.ready_message())
    stream = service.wait_for(run.run_id, "FAILED")
    assert stream["reason"].startswith("DIGEST_MISMATCH: oracle://")
    assert stream["rows"] == 0
    assert read_lane(wiring, run.run_id) == []
    data[len(data) // 3] ^= 0x10
    path.write_bytes(bytes(data))
    service.command(run.run_id, "resume").raise_for_status()
    service.run_to_the_end(run.run_id)
    assert read_lane(wiring, run.run_id) == expected_messages(wiring, run)


def test_a_facts_view_with_other_bytes_than_ready_names_is_not_believed(
    wiring: Wiring, make_run: RunMaker, service: ProducerProcess
) -> None:
    run = make_run(100)
    run.ready["payload"]["facts_view"]["digest"]["hash"] = "0" * 64
    publish_control(wiring, run.ready_message())
    assert service.wait_for(run.run_id, "FAILED")["reason"].startswith("DIGEST_MISMATCH: artifact://")
    assert read_lane(wiring, run.run_id) == []


def test_a_closed_run_is_not_streamed_any_further(
    wiring: Wiring, make_run: RunMaker, service: ProducerProcess
) -> None:
    run = make_run(60_000)
    publish_control(wiring, run.ready_message())
    service.wait_for_rows(run.run_id, 1)
    closed = run.ready | {
        "event_type": "run_closed",
        "event_id": derived_id("test", run.run_id),
        "payload": {"reason": "the test says so", "events_expected": None},
    }
    publish_control(wiring, encode("run_closed", 1, closed))
    assert service.wait_for(run.run_id, "CLOSED")["reason"] == "RUN_CLOSED: the test says so"
    assert until(stands_still(service, run.run_id), "the stream to stand still") < 60_000


def test_a_pull_run_is_left_to_backfill_which_gives_the_ids_of_a_push(
    wiring: Wiring, make_run: RunMaker, service: ProducerProcess
) -> None:
    pull, push = make_run(2_500, mode="pull", label_every=5), make_run(2_500, label_every=5)
    publish_control(wiring, pull.ready_message(), push.ready_message())
    assert service.wait_for(pull.run_id, "SKIPPED")["reason"] == "traffic_delivery_mode is pull"
    service.run_to_the_end(push.run_id)
    assert read_lane(wiring, pull.run_id) == []

    seen: list[tuple[int, int]] = []
    for run in (pull, push):
        summary = backfill_run(wiring, run.run_id, on_progress=lambda done, total: seen.append((done, total)))
        assert (summary.rows, summary.lane) == (3_000, "ingress.backfill")
        fed = read_lane(wiring, run.run_id, "ingress.backfill")
        assert fed == expected_messages(wiring, run, "backfill")
    assert seen[-1] == (3_000, 3_000)
    pushed, pulled = read_lane(wiring, push.run_id), read_lane(wiring, push.run_id, "ingress.backfill")
    assert event_ids(pushed) == event_ids(pulled)
    assert len(set(event_ids(pushed))) == 3_000
    with pytest.raises(BackfillError, match="no READY for run 'run-nobody-knows'"):
        backfill_run(wiring, "run-nobody-knows")
