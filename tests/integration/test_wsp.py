"""The World Stream Producer as a process, on a real broker and a real Postgres."""

import asyncio
import itertools
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)

from services.world_stream_producer.core import StreamPlan, plan_stream
from services.world_stream_producer.reading import framed_rows
from services.world_stream_producer.testing import ReadyWorld, ready_world, seal_payments
from services.world_stream_producer.testing_service import (
    ServiceProcess,
    publish_control,
    read_lane,
    wait_until,
)
from sluice_contracts import TOPICS, Decoded, decode, derived_id, encode
from sluice_kit.artifacts import open_artifacts, open_oracle
from sluice_kit.config import Wiring, load_wiring
from sluice_kit.kafka import client_config
from sluice_kit.workflow import DatabaseAddress

pytestmark = pytest.mark.integration

LANES = ("ingress.world_stream_producer", "ingress.backfill")
MILLISECOND = 1_000
MakeRun = Callable[..., ReadyWorld]
Start = Callable[..., ServiceProcess]


@pytest.fixture(scope="module")
def wiring_file(stack: Any) -> Path:
    path: Path = stack.wiring_file
    wiring = load_wiring(path)
    admin = AdminClient(client_config(wiring, "admin"))
    topics = [NewTopic(name, TOPICS[name].partitions, 1) for name in (*LANES, "control.run")]
    for future in admin.create_topics(topics).values():
        try:
            future.result(30)
        except KafkaException as error:
            if error.args[0].name() != "TOPIC_ALREADY_EXISTS":
                raise
    wishes = [
        ("world_stream_producer", LANES[0], AclOperation.WRITE),
        ("world_stream_producer", "control.run", AclOperation.READ),
        ("backfill", LANES[1], AclOperation.WRITE),
        ("backfill", "control.run", AclOperation.READ),
    ]
    bindings = [
        AclBinding(
            ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, f"User:{principal}", "*",
            operation, AclPermissionType.ALLOW,
        )
        for principal, topic, operation in wishes
    ]  # fmt: skip
    for future in admin.create_acls(bindings).values():
        future.result(30)
    return path


@pytest.fixture
def wiring(wiring_file: Path) -> Wiring:
    return load_wiring(wiring_file)


@pytest.fixture
def make_run(wiring: Wiring, tmp_path: Path) -> Iterator[MakeRun]:
    """Seals worlds with a READY each; afterwards closes what a test left unfinished."""
    made: list[str] = []

    def make(rows: int, *, mode: str = "push", step_micros: int = MILLISECOND) -> ReadyWorld:
        run_id = f"run-{uuid.uuid4().hex[:12]}"
        draft = tmp_path / f"draft-{run_id}"
        draft.mkdir()
        seed = uuid.uuid4().int % 2**31
        world = seal_payments(draft, open_oracle(wiring), rows, seed=seed, step_micros=step_micros)
        made.append(run_id)
        return ready_world(world, open_artifacts(wiring), run_id=run_id, mode=mode)

    yield make
    sql(wiring, "update stream_progress set state = 'CLOSED' where run_id = any($1::text[])", made)


@pytest.fixture
def start(wiring_file: Path, tmp_path: Path) -> Iterator[Start]:
    processes: list[ServiceProcess] = []

    def begin(policy: str = "", name: str | None = None) -> ServiceProcess:
        process = ServiceProcess(wiring_file, tmp_path, name=name or f"wsp{len(processes)}", policy=policy)
        processes.append(process)
        return process

    yield begin
    for process in processes:
        process.close()


def sql(wiring: Wiring, statement: str, *arguments: Any) -> list[Any]:
    async def ask() -> list[Any]:
        address = DatabaseAddress.from_wiring(wiring)
        connection = await asyncpg.connect(
            address.dsn, password=address.password, server_settings={"search_path": "world_stream_producer"}
        )
        try:
            return list(await connection.fetch(statement, *arguments))
        finally:
            await connection.close()

    return asyncio.run(ask())


def expected(wiring: Wiring, run: ReadyWorld, producer: str = "world_stream_producer") -> list[bytes]:
    plan = plan_stream(run.ready, run.view, TOPICS[LANES[0]].event_types)
    assert isinstance(plan, StreamPlan)
    framed = framed_rows(plan, open_oracle(wiring), 0, batch_rows=10_000, producer=producer)
    return [value for batch in framed for value in batch.values]


def resends(sent: list[bytes], whole: list[bytes]) -> int:
    """How many messages were sent again; fails on a gap, a stranger, or rows out of order.

    What is on the lane must be runs of consecutive rows, each starting at or before the end of those before.
    """
    number = {value: row for row, value in enumerate(whole)}
    rows = [number[value] for value in sent]
    reached = 0
    for before, row in itertools.pairwise([-1, *rows]):
        assert row == before + 1 or row <= reached, f"row {row} after row {before}: a gap"
        reached = max(reached, row + 1)
    assert reached == len(whole)
    return len(rows) - len(whole)


def event_ids(values: list[bytes]) -> list[str]:
    ids = []
    for value in values:
        content = decode(value)
        assert isinstance(content, Decoded)
        ids.append(content.fields["event_id"])
    return ids


def test_a_ready_run_is_streamed_whole_in_order_as_planned(
    wiring: Wiring, make_run: MakeRun, start: Start
) -> None:
    run = make_run(20_000)
    service = start()
    publish_control(wiring, run.ready_message())
    stream = service.wait_for(run.run_id, "COMPLETED")
    assert (stream["rows"], stream["total_rows"], stream["policy_revision"]) == (20_000, 20_000, "test-wsp0")
    assert read_lane(wiring, run.run_id) == expected(wiring, run)
    plan = plan_stream(run.ready, run.view, TOPICS[LANES[0]].event_types)
    assert isinstance(plan, StreamPlan)
    assert stream["plan_digest"] == plan.digest
    store = open_artifacts(wiring)
    assert store.read(store.locate(store.path_of(stream["plan_uri"]))) == plan.document()
    assert service.client.get("/health/ready").status_code == 200
    assert f'topic="{LANES[0]}"}} 20000.0' in service.client.get("/metrics").text


@pytest.mark.fault
def test_after_kill_9_the_stream_goes_on_with_no_gap(wiring: Wiring, make_run: MakeRun, start: Start) -> None:
    run = make_run(60_000)
    publish_control(wiring, run.ready_message())
    for stop_at in (5_000, 25_000):
        service = start("speed: 12\n")
        service.wait_for_rows(run.run_id, stop_at)
        service.kill()
    service = start()
    service.wait_for(run.run_id, "COMPLETED")
    sent = read_lane(wiring, run.run_id)
    assert resends(sent, expected(wiring, run)) < 30_000


def test_sigterm_drains_checkpoints_and_exits_0(wiring: Wiring, make_run: MakeRun, start: Start) -> None:
    run = make_run(60_000)
    publish_control(wiring, run.ready_message())
    service = start("speed: 10\n")
    service.wait_for_rows(run.run_id, 3_000)
    assert service.terminate() == 0
    (row,) = sql(wiring, "select next_row, state from stream_progress where run_id = $1", run.run_id)
    assert row["state"] == "STREAMING"
    assert 3_000 <= row["next_row"] < 60_000
    assert read_lane(wiring, run.run_id) == expected(wiring, run)[: row["next_row"]]
    service = start()
    service.wait_for(run.run_id, "COMPLETED")
    assert read_lane(wiring, run.run_id) == expected(wiring, run)


def test_pause_resume_and_speed_steer_one_run_and_change_no_byte(
    wiring: Wiring, make_run: MakeRun, start: Start
) -> None:
    run = make_run(20_000, step_micros=1_000 * MILLISECOND)  # 5.5 hours at real time
    service = start("speed: 1\n")
    publish_control(wiring, run.ready_message())
    service.wait_for_rows(run.run_id, 1)
    faster = service.command(run.run_id, "speed", {"speed": 2_000}).raise_for_status().json()
    assert (faster["stream"]["speed"], faster["stream"]["speed_from"]) == ("2000", "override")
    service.wait_for_rows(run.run_id, 500)
    paused = service.command(run.run_id, "pause", key="pause-1").raise_for_status().json()
    assert paused["stream"]["state"] == "PAUSED"
    standing = wait_until(_stands_still(service, run.run_id), "the stream stands still")
    assert standing < 20_000
    service.command(run.run_id, "speed", {"speed": "max"}).raise_for_status()
    service.command(run.run_id, "resume").raise_for_status()
    again = service.command(run.run_id, "pause", key="pause-1")
    assert again.json() == paused, "a repeated command is answered as the first time, and not carried out"
    service.wait_for(run.run_id, "COMPLETED")
    assert read_lane(wiring, run.run_id) == expected(wiring, run)
    commands = sql(wiring, "select command from stream_command where run_id = $1", run.run_id)
    assert len(commands) == 4


def _stands_still(service: ServiceProcess, run_id: str) -> Callable[[], int | None]:
    """Asks for the rows until they are the same for half a second."""
    history: list[int] = []

    def look() -> int | None:
        stream = service.stream(run_id)
        assert stream is not None
        history.append(stream["rows"])
        recent = history[-25:]
        return recent[0] if len(recent) == 25 and len(set(recent)) == 1 else None

    return look


def test_commands_are_refused_with_a_reason(wiring: Wiring, make_run: MakeRun, start: Start) -> None:
    run = make_run(10)
    service = start()
    publish_control(wiring, run.ready_message())
    service.wait_for(run.run_id, "COMPLETED")
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
    assert all(answer.headers["content-type"] == "application/problem+json" for answer in refused.values())


def test_several_worlds_stream_at_once_and_do_not_mix(
    wiring: Wiring, make_run: MakeRun, start: Start
) -> None:
    runs = [make_run(10_000) for _ in range(3)]
    service = start("speed: 5\n")
    publish_control(wiring, *(run.ready_message() for run in runs))
    for run in runs:
        service.wait_for_rows(run.run_id, 500)
    states = [service.stream(run.run_id) for run in runs]
    assert [stream["state"] for stream in states if stream] == ["STREAMING"] * 3
    for run in runs:
        service.wait_for(run.run_id, "COMPLETED")
        assert read_lane(wiring, run.run_id) == expected(wiring, run)


@pytest.mark.fault
def test_two_instances_never_share_a_run_and_stand_in_for_each_other(
    wiring: Wiring, make_run: MakeRun, start: Start
) -> None:
    first, second = start("speed: 4\n", "first"), start("speed: 4\n", "second")
    runs = [make_run(30_000) for _ in range(3)]
    publish_control(wiring, *(run.ready_message() for run in runs))
    for run in runs:
        first.wait_for_rows(run.run_id, 2_000)
    for run in runs:
        sent = read_lane(wiring, run.run_id)
        assert sent == expected(wiring, run)[: len(sent)], "two instances streamed one run"
    first.kill()
    for run in runs:
        second.command(run.run_id, "speed", {"speed": "max"}).raise_for_status()
    for run in runs:
        second.wait_for(run.run_id, "COMPLETED")
        resends(read_lane(wiring, run.run_id), expected(wiring, run))


@pytest.mark.fault
def test_a_lost_database_session_stops_the_stream_until_the_lock_is_back(
    wiring: Wiring, make_run: MakeRun, start: Start
) -> None:
    run = make_run(30_000)
    service = start("speed: 6\n")
    publish_control(wiring, run.ready_message())
    for rows in (2_000, 10_000):
        service.wait_for_rows(run.run_id, rows)
        cut = sql(
            wiring,
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where application_name like 'sluice-world_stream%'",
        )
        assert cut
    service.wait_for(run.run_id, "COMPLETED")
    assert read_lane(wiring, run.run_id) == expected(wiring, run)
    (row,) = sql(wiring, "select lease_no from stream_progress where run_id = $1", run.run_id)
    assert row["lease_no"] == 1


@pytest.mark.fault
def test_a_flipped_byte_stops_the_run_and_none_of_the_files_rows_are_sent(
    wiring: Wiring, make_run: MakeRun, start: Start
) -> None:
    run = make_run(5_000)
    (path,) = run.data_files()
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 0x10
    path.write_bytes(bytes(data))
    service = start()
    publish_control(wiring, run.ready_message())
    stream = service.wait_for(run.run_id, "FAILED")
    assert stream["reason"].startswith("DIGEST_MISMATCH: oracle://")
    assert stream["rows"] == 0
    assert read_lane(wiring, run.run_id) == []
    data[len(data) // 3] ^= 0x10
    path.write_bytes(bytes(data))
    service.command(run.run_id, "resume").raise_for_status()
    service.wait_for(run.run_id, "COMPLETED")
    assert read_lane(wiring, run.run_id) == expected(wiring, run)


def test_a_facts_view_with_other_bytes_than_ready_names_is_not_believed(
    wiring: Wiring, make_run: MakeRun, start: Start
) -> None:
    run = make_run(100)
    run.ready["payload"]["facts_view"]["digest"]["hash"] = "0" * 64
    service = start()
    publish_control(wiring, run.ready_message())
    assert service.wait_for(run.run_id, "FAILED")["reason"].startswith("DIGEST_MISMATCH: artifact://")
    assert read_lane(wiring, run.run_id) == []


def test_a_closed_run_is_not_streamed_any_further(wiring: Wiring, make_run: MakeRun, start: Start) -> None:
    run = make_run(60_000)
    service = start("speed: 2\n")
    publish_control(wiring, run.ready_message())
    service.wait_for_rows(run.run_id, 100)
    closed = run.ready | {
        "event_type": "run_closed",
        "event_id": derived_id("test", run.run_id),
        "payload": {"reason": "the test says so", "events_expected": None},
    }
    publish_control(wiring, encode("run_closed", 1, closed))
    assert service.wait_for(run.run_id, "CLOSED")["reason"] == "RUN_CLOSED: the test says so"
    standing = wait_until(_stands_still(service, run.run_id), "the stream stands still")
    assert standing < 60_000


def test_a_pull_run_is_left_to_backfill_which_gives_the_ids_of_a_push(
    wiring: Wiring, make_run: MakeRun, start: Start
) -> None:
    from services.world_stream_producer.backfill import BackfillError, backfill_run

    pull, push = make_run(3_000, mode="pull"), make_run(3_000)
    service = start()
    publish_control(wiring, pull.ready_message(), push.ready_message())
    assert service.wait_for(pull.run_id, "SKIPPED")["reason"] == "traffic_delivery_mode is pull"
    service.wait_for(push.run_id, "COMPLETED")
    assert read_lane(wiring, pull.run_id) == []

    seen: list[tuple[int, int]] = []
    for run in (pull, push):
        summary = backfill_run(wiring, run.run_id, on_progress=lambda done, total: seen.append((done, total)))
        assert (summary.rows, summary.lane) == (3_000, "ingress.backfill")
        fed = read_lane(wiring, run.run_id, "ingress.backfill")
        assert fed == expected(wiring, run, "backfill")
    assert seen[-1] == (3_000, 3_000)
    assert event_ids(read_lane(wiring, push.run_id, "ingress.backfill")) == event_ids(
        read_lane(wiring, push.run_id)
    )
    with pytest.raises(BackfillError, match="no READY for run 'run-nobody-knows'"):
        backfill_run(wiring, "run-nobody-knows")
