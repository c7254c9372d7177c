"""Topics and access from the contracts, against a real broker that denies by default."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import MappingProxyType

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from sluice_contracts.topics import EVENT_BUS_CLASSES, LANES, PRINCIPALS, TOPICS, Topic
from sluice_kit.config import Wiring
from sluice_kit.kafka import admin as kafka_admin
from sluice_kit.kafka import (
    client_config,
    idempotent_producer_config,
    reader_config,
    transactional_producer_config,
)
from sluice_kit.kafka.admin_cluster import add_grants, remove_grants
from sluice_kit.kafka.admin_plan import Grant
from sluice_substrate import READER, LocalStack

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("topics_applied")]

EVENT_BUS = {name for name, topic in TOPICS.items() if topic.cls in EVENT_BUS_CLASSES}
EVERYBODY = sorted({*PRINCIPALS, READER})


def outcome_of_produce(wiring: Wiring, principal: str, topics: list[str]) -> dict[str, int | None]:
    """Really produce one record to each topic as `principal`; error code (None: acknowledged) by topic."""
    producer = Producer(client_config(wiring, principal) | {"acks": "all", "log_level": 0})
    return _outcomes(producer, topics)


def outcome_of_aborted_produce(wiring: Wiring, principal: str, topics: list[str]) -> dict[str, int | None]:
    """The same inside a transaction that is then aborted: other tests on this broker see no record."""
    config = transactional_producer_config(wiring, principal, transactional_id=f"{principal}-probe")
    producer = Producer(config | {"log_level": 0})
    producer.init_transactions(20)
    producer.begin_transaction()
    outcomes = _outcomes(producer, topics)
    producer.abort_transaction(20)
    return outcomes


def _outcomes(producer: Producer, topics: list[str]) -> dict[str, int | None]:
    outcomes: dict[str, int | None] = {}
    for topic in topics:
        producer.produce(
            topic,
            key=b"k",
            value=b"who may write here?",
            on_delivery=lambda error, _, topic=topic: outcomes.update({topic: error and error.code()}),
        )
    assert producer.flush(30) == 0
    return outcomes


def own_topics(principal: str) -> set[str]:
    return {name for name, topic in TOPICS.items() if principal in topic.producers}


@pytest.mark.parametrize("principal", EVERYBODY)
def test_only_the_gate_writes_the_event_bus_and_lanes_belong_to_one(wiring: Wiring, principal: str) -> None:
    own = own_topics(principal)
    assert own & EVENT_BUS == (EVENT_BUS if principal == "ingestion_gate" else set())
    assert own & LANES.keys() == {f"ingress.{principal}"} & LANES.keys()
    others = outcome_of_produce(wiring, principal, sorted(TOPICS.keys() - own))
    assert others == dict.fromkeys(TOPICS.keys() - own, KafkaError.TOPIC_AUTHORIZATION_FAILED)
    if own:
        assert outcome_of_aborted_produce(wiring, principal, sorted(own)) == dict.fromkeys(own)


@pytest.mark.parametrize("principal", EVERYBODY)
def test_reading_is_for_declared_consumers(wiring: Wiring, principal: str) -> None:
    config = reader_config(wiring, principal, group=f"{principal}-check")
    consumer = Consumer(config | {"log_level": 0, "enable.partition.eof": True})
    try:
        readable = {name for name in TOPICS if _readable(consumer, name)}
    finally:
        consumer.close()
    declared = {name for name, topic in TOPICS.items() if principal in topic.consumers}
    assert readable == (EVENT_BUS if principal == READER else declared)


def _readable(consumer: Consumer, topic: str) -> bool:
    """Whether the broker hands out partition 0: its metadata, then the first answer to a fetch, decide."""
    described = consumer.list_topics(topic, timeout=20).topics[topic].error
    if described is not None:
        assert described.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED
        return False
    consumer.assign([TopicPartition(topic, 0, 0)])
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        message = consumer.poll(0.3)
        if message is None or message.topic() != topic:
            continue
        error = message.error()
        if error is None or error.code() == KafkaError._PARTITION_EOF:
            return True
        if error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            return False
    raise AssertionError(f"neither a record nor a refusal from {topic}")


def test_wrong_password_and_unknown_user_are_refused(wiring: Wiring) -> None:
    good = client_config(wiring, "edge")
    for change in ({"sasl.password": "guess"}, {"sasl.username": "stranger"}):
        refusals: list[KafkaError] = []
        client = AdminClient(good | change | {"error_cb": refusals.append, "log_level": 0})
        with pytest.raises(KafkaException):
            client.list_topics(timeout=3)
        client.poll(1)
        assert KafkaError._AUTHENTICATION in {error.code() for error in refusals}


def test_transactional_ids_belong_to_their_service(wiring: Wiring) -> None:
    own = Producer(transactional_producer_config(wiring, "flow_meter", transactional_id="flow_meter-0"))
    own.init_transactions(20)
    stolen = transactional_producer_config(wiring, "flow_meter", transactional_id="ingestion_gate-0")
    with pytest.raises(KafkaException) as refused:
        Producer(stolen | {"log_level": 0}).init_transactions(20)
    assert refused.value.args[0].code() == KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED


def test_services_may_not_create_topics(wiring: Wiring) -> None:
    client = AdminClient(client_config(wiring, "ingestion_gate"))
    future = client.create_topics([NewTopic("traffic.smuggled", 1)])["traffic.smuggled"]
    with pytest.raises(KafkaException) as refused:
        future.result()
    assert refused.value.args[0].code() in (
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    )


def test_second_plan_is_empty(admin: AdminClient) -> None:
    plan = kafka_admin.plan(admin, TOPICS)
    assert plan.empty, plan.describe()
    json.dumps(plan.to_dict())


def test_topics_are_as_their_contracts_say(admin: AdminClient) -> None:
    topics = admin.list_topics(timeout=10).topics
    assert {name: len(topics[name].partitions) for name in TOPICS} == {
        name: topic.partitions for name, topic in TOPICS.items()
    }


@pytest.fixture
def scratch(admin: AdminClient, unique: Callable[[str], str]) -> Iterator[Topic]:
    """A topic of the `basis` class, outside the contracts, applied and removed."""
    topic = replace(
        TOPICS["basis.ingestion_gate"], name=unique("basis.scratch"), partitions=2, retention_ms=3_600_000
    )
    kafka_admin.apply(admin, kafka_admin.plan(admin, {topic.name: topic}))
    yield topic
    admin.delete_topics([topic.name])[topic.name].result()


def test_drift_is_planned_or_reported(admin: AdminClient, scratch: Topic) -> None:
    def planned(**changes: object) -> kafka_admin.Plan:
        return kafka_admin.plan(admin, MappingProxyType({scratch.name: replace(scratch, **changes)}))

    assert planned().empty
    assert {finding.code for finding in planned().findings} == {
        "NOT_IN_CONTRACTS"
    }  # the real contracts' topics

    longer = planned(retention_ms=7_200_000)
    assert [(c.key, c.current, c.wanted) for c in longer.configure] == [
        ("retention.ms", "3600000", "7200000")
    ]
    assert "retention.ms 3600000 -> 7200000" in longer.describe()
    kafka_admin.apply(admin, longer)
    assert planned(retention_ms=7_200_000).empty

    fewer = planned(partitions=1, retention_ms=7_200_000)
    assert fewer.empty
    assert ("FEWER_PARTITIONS_WANTED", scratch.name) in {(f.code, f.subject) for f in fewer.findings}

    more = planned(partitions=3, retention_ms=7_200_000)
    assert more.empty
    assert ("MORE_PARTITIONS_WANTED", scratch.name) in {(f.code, f.subject) for f in more.findings}
    wanted = {scratch.name: replace(scratch, partitions=3, retention_ms=7_200_000)}
    kafka_admin.apply(admin, kafka_admin.plan(admin, wanted, allow_more_partitions=True))
    assert kafka_admin.plan(admin, wanted, allow_more_partitions=True).empty
    assert len(admin.list_topics(scratch.name, timeout=10).topics[scratch.name].partitions) == 3


def test_a_grant_that_breaks_one_writer_is_found_and_revoked(
    admin: AdminClient, wiring: Wiring, scratch: Topic
) -> None:
    topics = {scratch.name: scratch}
    back_door = Grant("partner_acme", "write", "topic", "prefixed", "basis.scratch")
    add_grants(admin, [back_door])
    try:
        assert outcome_of_produce(wiring, "partner_acme", [scratch.name]) == {scratch.name: None}
        found = kafka_admin.plan(admin, topics)
        assert found.empty
        assert ("EXTRA_GRANT", "basis.scratch") in {(f.code, f.subject) for f in found.findings}
        kafka_admin.apply(admin, kafka_admin.plan(admin, topics, revoke_extra_grants=True))
        assert outcome_of_produce(wiring, "partner_acme", [scratch.name]) == {
            scratch.name: KafkaError.TOPIC_AUTHORIZATION_FAILED
        }
    finally:
        remove_grants(admin, [back_door])


def test_users_can_be_added_while_the_broker_runs(
    stack: LocalStack, wiring: Wiring, unique: Callable[[str], str]
) -> None:
    newcomer = unique("partner")
    assert stack.ensure_users([newcomer]) == [newcomer]
    assert stack.ensure_users([newcomer]) == []
    assert ((stack.home / "secrets" / f"kafka_{newcomer}").stat().st_mode & 0o777) == 0o600
    assert outcome_of_produce(wiring, newcomer, ["ingress.edge"]) == {
        "ingress.edge": KafkaError.TOPIC_AUTHORIZATION_FAILED
    }


def test_an_idempotent_producer_needs_no_more_than_its_topic(wiring: Wiring, scratch: Topic) -> None:
    producer = Producer(idempotent_producer_config(wiring, "ingestion_gate"))
    assert _outcomes(producer, [scratch.name]) == {scratch.name: None}
