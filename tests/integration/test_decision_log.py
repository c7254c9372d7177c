"""The decision log as a process, on a real broker and a real Postgres of its own: no gate writes this bus."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from typer.testing import CliRunner

from services.decision_log.settings import LANE
from services.decision_log.store import chain_key, event_part
from services.decision_log.testing import HandMade, hand_made
from services.decision_log.testing_service import BusWriter, LogProcess, sql
from sluice_cli.audit_commands import audit_app
from sluice_cli.audit_verification import HEADS_TOPIC
from sluice_contracts import TOPICS, Decoded, decode
from sluice_fleet import Deployment
from sluice_kit.artifacts import Locator, open_artifacts
from sluice_kit.config import Wiring, load_wiring
from sluice_kit.kafka import client_config
from sluice_kit.replay import replay_consumer_config, whole_topic
from sluice_kit.replay.reading import read_ranges_back
from sluice_kit.testing.waiting import until
from tests.integration.rest_access import assert_guarded

pytestmark = pytest.mark.integration
DIE_BEFORE_THE_COMMIT = """
import os
from services.decision_log import store
async def die(*_):
    os.kill(os.getpid(), 9)
store.add_segment = die
"""


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    made = Deployment(tmp_path_factory.mktemp("log"), bound=True)
    try:
        made.substrate_up(components=("kafka", "postgres"))
        yield made
    finally:
        made.down()


@pytest.fixture(scope="module")
def wiring(deployment: Deployment) -> Wiring:
    return load_wiring(deployment.wiring_file)


@pytest.fixture(scope="module")
def bus(wiring: Wiring) -> BusWriter:
    return BusWriter(wiring)


@pytest.fixture
def start(deployment: Deployment, tmp_path: Path) -> Iterator[Any]:
    """`start(name)` is a running log, ready unless it is told not to wait for that."""
    processes: list[LogProcess] = []

    def begin(name: str, *, patch: str = "", ready: bool = True) -> LogProcess:
        process = LogProcess(deployment.wiring_file, tmp_path, name=name, patch=patch)
        processes.append(process)
        if ready:
            process.wait_until_ready()
        return process

    yield begin
    for process in processes:
        process.close()


def audit(deployment: Deployment, *arguments: str) -> tuple[int, dict[str, Any]]:
    """`sluice audit ... --json`: exit code and answer."""
    done = CliRunner().invoke(audit_app, [*arguments, "--wiring", str(deployment.wiring_file), "--json"])
    assert done.stdout, done.output
    return done.exit_code, json.loads(done.stdout)


def records_of(wiring: Wiring, payments: list[HandMade]) -> list[tuple[str, str]]:
    """(event_id, status) of every record about some payments, read from the segments themselves."""
    store, wanted = open_artifacts(wiring), {payment.event_id for payment in payments}
    found = []
    for row in sql(wiring, "select locator from segment order by first_leaf"):
        table = read_table(store.read(Locator.load(json.loads(row["locator"]))))
        for identity, chain in table:
            if identity["event_id"] in wanted:
                found.append((identity["event_id"], chain["status"]))
    return found


def read_table(data: bytes) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """As a stranger would read a segment: Parquet, two columns of JSON."""
    table = pq.read_table(pa.BufferReader(data), columns=["identity", "chain"])
    columns = [[json.loads(text) for text in table[name].to_pylist()] for name in ("identity", "chain")]
    return list(zip(*columns, strict=True))


def forget(deployment: Deployment, places: list[tuple[str, int, int]]) -> None:
    """Let the broker drop records, as retention does."""
    ends = {(topic, partition): offset + 1 for topic, partition, offset in places}
    gone = [TopicPartition(topic, partition, end) for (topic, partition), end in ends.items()]
    admin = deployment.stack.admin()
    for future in admin.delete_records(gone).values():
        future.result(60)


def carry_to_the_bus(wiring: Wiring) -> int:
    """What the gate would do with the log's lane; how many signs of life it has."""
    events: list[bytes] = []
    signals = 0
    consumer = Consumer(replay_consumer_config(wiring))

    def take(batch: Any) -> None:
        events.extend(batch.values)

    read_ranges_back(consumer, [item for item in whole_topic(consumer, LANE) if item.end], take)
    consumer.close()
    producer = Producer(client_config(wiring, "admin"))
    for value in events:
        content = decode(value)
        assert isinstance(content, Decoded)
        assert content.contract.check(content.fields) == ()
        if content.contract.event_type == "service_signal":
            signals += 1
        elif content.contract.event_type in TOPICS[HEADS_TOPIC].event_types:
            producer.produce(HEADS_TOPIC, value)
    assert producer.flush(20) == 0
    return signals


def test_from_whole_chains_to_records_that_anybody_can_check(
    deployment: Deployment, wiring: Wiring, bus: BusWriter, start: Any
) -> None:
    gone = bus.write(HandMade("run-old", number).snapshot() for number in range(20))
    forget(deployment, gone)
    service = start("log")  # snapshots that are not retained are no reason not to
    payments = list(hand_made("run-whole", 40))
    bus.write_payments(payments)
    assert service.wait_for_status(payments[-1].event_id, "COMPLETE")["current"]
    until(lambda: len(records_of(wiring, payments)) == 40, "all records")
    assert records_of(wiring, payments) == [
        (event_id, "COMPLETE") for event_id, _ in records_of(wiring, payments)
    ]
    assert len(set(records_of(wiring, payments))) == 40
    code, shown = audit(
        deployment, "show", payments[7].event_id, "--url", str(service.client.base_url), "--run", "run-whole"
    )
    links = ["event", "receipt", "snapshot", "decision", "intent", "outcome", "record", "proof", "head"]
    assert [(step["link"], step["state"]) for step in shown["steps"]] == [(link, "good") for link in links]
    assert code == 0
    _, heads = audit(deployment, "heads", "--url", str(service.client.base_url))
    assert {head["check"] for head in heads["heads"]} == {"GENUINE"}
    asked = assert_guarded(str(service.client.base_url), wiring)
    assert "GET /v1/audit/proof/{event_id}" in asked
    assert service.terminate() == 0


def test_a_late_outcome_resolves_an_incomplete_record_across_a_restart(
    deployment: Deployment, bus: BusWriter, start: Any
) -> None:
    service = start("first")
    payment = HandMade("run-late", 1)
    bus.write(payment.whole()[:-1])
    first = service.wait_for_status(payment.event_id, "INCOMPLETE")
    assert first["record"]["chain"]["missing"] == ["outcomes"]
    assert service.terminate() == 0
    bus.write([payment.outcome()])
    second = start("second").wait_for_status(payment.event_id, "COMPLETE")
    assert second["record"]["chain"]["corrects"] == first["leaf_hash"]
    assert second["snapshot_at"] == first["snapshot_at"]
    code, report = audit(deployment, "verify")
    assert (code, report["ok"]) == (0, True), report["first"]


def test_records_of_other_runs_do_not_hide_one_that_is_asked_for_by_run(
    wiring: Wiring, bus: BusWriter, start: Any
) -> None:
    service = start("log")
    payment = HandMade("run-hidden", 1)
    bus.write_payments([payment])
    service.wait_for_status(payment.event_id, "COMPLETE")
    others = "event_part || decode(lpad(to_hex(n), 16, '0'), 'hex')"
    leaf = sql(wiring, "select max(leaf) as leaf from record_index")[0]["leaf"]
    sql(
        wiring,
        f"insert into record_index select {others}, $2 from (select $1::bytea as event_part) e, "
        "generate_series(1, 100) n",
        event_part(payment.event_id),
        leaf,
    )
    answer = service.client.get(f"/v1/audit/{payment.event_id}", params={"run": "run-hidden"})
    sql(
        wiring,
        "delete from record_index where leaf = $1 and chain_key <> $2",
        leaf,
        chain_key(("default", "run-hidden", payment.event_id)),
    )
    assert [one["record"]["identity"]["run_id"] for one in answer.json()["records"]] == ["run-hidden"]


def test_a_kill_between_seal_and_commit_and_a_standby_that_takes_over(
    deployment: Deployment, wiring: Wiring, bus: BusWriter, start: Any
) -> None:
    payments = list(hand_made("run-killed", 30))
    bus.write_payments(payments)
    doomed = start("doomed", patch=DIE_BEFORE_THE_COMMIT, ready=False)
    assert doomed.process.wait(60) == -9
    assert records_of(wiring, payments) == []
    writer = start("writer")
    standby = start("standby", ready=False)
    until(lambda: "standby" in standby.client.get("/health/ready").text, "the second one to stand by")
    until(lambda: len(records_of(wiring, payments)) == 30, "the records")
    writer.kill()
    more = list(hand_made("run-taken-over", 30))
    bus.write_payments(more)
    standby.wait_for_status(more[-1].event_id, "COMPLETE")
    standby.wait_until_ready()
    for group in (payments, more):
        until(lambda group=group: len(records_of(wiring, group)) == 30, "the records")  # type: ignore[misc]
        assert len({event_id for event_id, _ in records_of(wiring, group)}) == 30
    assert standby.terminate() == 0
    assert sql(wiring, "select epoch from log_writer")[0]["epoch"] >= 3
    code, report = audit(deployment, "verify")
    assert (code, report["first"]) == (0, None)


def test_postgres_away_loses_nothing(
    deployment: Deployment, wiring: Wiring, bus: BusWriter, start: Any
) -> None:
    service = start("log")
    deployment.stack.stop_postgres()
    payments = list(hand_made("run-away", 20))
    bus.write_payments(payments)
    until(lambda: service.client.get("/health/ready").status_code == 503, "the log to say that it is away")
    deployment.stack.start_postgres()
    until(lambda: len(records_of(wiring, payments)) == 20, "the records", 60)
    assert {status for _, status in records_of(wiring, payments)} == {"COMPLETE"}


def test_altered_history_is_named(deployment: Deployment, wiring: Wiring) -> None:
    assert carry_to_the_bus(wiring) > 0, "the log gave signs of life"
    code, report = audit(deployment, "verify")
    assert (code, report["first"]) == (0, None)
    (first,) = sql(wiring, "select locator from segment where first_leaf = 0")
    row = sql(wiring, "select first_leaf, locator from segment order by records desc limit 1")[0]
    locator = Locator.load(json.loads(row["locator"]))
    path = open_artifacts(wiring).local_path(locator)
    assert path is not None
    whole = path.read_bytes()
    at = whole.index(b"PAR1", 4) - 40 if b"PAR1" in whole[4:] else len(whole) // 2
    path.chmod(0o600)
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    code, report = audit(deployment, "verify")
    assert (code, report["first"]["segment"]) == (1, locator.uri)
    assert report["first"]["byte_range"] is not None
    path.write_bytes(whole)
    assert audit(deployment, "verify")[0] == 0

    index = sql(wiring, "select * from record_index where leaf = 0")
    sql(wiring, "delete from record_index where leaf = 0")
    code, report = audit(deployment, "verify")
    assert (code, report["first"]["kind"], report["first"]["leaf"]) == (1, "LOOKUP_ALTERED", 0)
    sql(wiring, "insert into record_index values ($1, $2, $3, $4, $5)", *index[0].values())
    assert audit(deployment, "verify")[0] == 0

    sql(wiring, "update segment set locator = locator || '{\"bytes\": -1}' where first_leaf = 0")
    code, report = audit(deployment, "verify")
    assert (code, report["first"]["kind"], report["first"]["leaf"]) == (1, "REFERENCE_ALTERED", 0)
    sql(wiring, "update segment set locator = $1 where first_leaf = 0", first["locator"])
    assert audit(deployment, "verify")[0] == 0

    last = sql(wiring, "select max(first_leaf) as leaf from segment")[0]["leaf"]
    sql(wiring, "delete from segment where first_leaf = $1", last)
    sql(wiring, "delete from head where size > $1", last)
    code, report = audit(deployment, "verify", "--without-bus")
    assert (code, report["first"]["kind"]) == (1, "LOOKUP_ALTERED"), "the index has the records that are gone"
    sql(wiring, "delete from record_index where leaf >= $1", last)
    code, report = audit(deployment, "verify")
    assert (code, report["first"]["kind"]) == (1, "LOG_TRUNCATED"), "the bus has the head that was deleted"
    assert audit(deployment, "verify", "--without-bus")[0] == 0, (
        "cut together with its heads and its index, nothing is seen"
    )
