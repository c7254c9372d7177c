"""A stock Confluent deserializer, pointed at a real registry that we published to, reads all our messages."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from typer.testing import CliRunner

from sluice_cli.contracts_commands import contracts_app
from sluice_contracts import CONTRACTS, TOPICS, Decoded, decode
from sluice_contracts.registry import Registry, RegistryError, publish
from sluice_contracts_codegen.repository import REPOSITORY
from sluice_substrate import downloads, ports, registry
from sluice_substrate.folders import Home

pytestmark = pytest.mark.integration
EXAMPLES = sorted((REPOSITORY / "contracts" / "examples").glob("*/*.bin"))


def started(root: Path) -> Iterator[str]:
    home = Home(root)
    home.create()
    (port,) = ports.choose([None])
    record = registry.start(home, downloads.fetch("registry")[0], port)
    try:
        yield registry.url(port)
    finally:
        registry.stop(record)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry with our schemas."""
    for url in started(tmp_path_factory.mktemp("registry")):
        assert {one.state for one in publish(Registry(url), plan_only=True)} == {"missing"}
        assert {one.state for one in publish(Registry(url))} == {"registered"}
        yield url


@pytest.fixture
def empty_address(tmp_path: Path) -> Iterator[str]:
    """A registry that holds nothing yet."""
    yield from started(tmp_path)


@pytest.fixture
def stranger(empty_address: str) -> Iterator[SchemaRegistryClient]:
    """Someone else who registers schemas there."""
    with SchemaRegistryClient({"url": empty_address}) as client:
        yield client


def in_microseconds(node: Any) -> Any:
    """What a stock client read, with its datetimes as our integers."""
    if isinstance(node, datetime):
        return (node - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    if isinstance(node, dict):
        return {key: in_microseconds(value) for key, value in node.items()}
    if isinstance(node, list):
        return [in_microseconds(item) for item in node]
    return node


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_stock_deserializer_reads_every_example(address: str, path: Path) -> None:
    value = path.read_bytes()
    decoded = decode(value)
    assert isinstance(decoded, Decoded)
    with SchemaRegistryClient({"url": address}) as client:
        deserialize = AvroDeserializer(client)
        for topic in (topic for topic in TOPICS.values() if decoded.contract.event_type in topic.event_types):
            read = deserialize(value, SerializationContext(topic.name, MessageField.VALUE))
            assert in_microseconds(read) == decoded.fields


def test_a_stock_serializer_makes_bytes_that_we_read(address: str) -> None:
    """An outside publisher needs no code of ours: its own serializer and the registry's schema do."""
    example = decode((REPOSITORY / "contracts/examples/payment.v1/full.bin").read_bytes())
    assert isinstance(example, Decoded)
    configuration = {
        "auto.register.schemas": False,
        "use.latest.version": True,
        "subject.name.strategy": lambda context, name: name,
    }
    with SchemaRegistryClient({"url": address}) as client:
        text = str(client.get_latest_version("sluice.events.Payment").schema.schema_str)
        serialize = AvroSerializer(client, text, conf=configuration)
        value = serialize(example.fields, SerializationContext("ingress.partner_acme", MessageField.VALUE))
    assert value == example.contract.encode(example.fields)


def test_ids_and_subjects_are_the_pinned_ones(address: str) -> None:
    with SchemaRegistryClient({"url": address}) as client:
        assert sorted(client.get_subjects()) == sorted({contract.name for contract in CONTRACTS.values()})
        for contract in CONTRACTS.values():
            registered = client.get_version(contract.name, contract.version)
            assert registered.schema_id == contract.schema_id
            assert json.loads(str(registered.schema.schema_str)) == contract.schema
            assert client.get_compatibility(contract.name) == "BACKWARD_TRANSITIVE"


def test_publishing_again_changes_nothing(address: str) -> None:
    with SchemaRegistryClient({"url": address}) as client:
        before = {name: client.get_versions(name) for name in client.get_subjects()}
        assert {one.state for one in publish(Registry(address))} == {"present"}
        assert {name: client.get_versions(name) for name in client.get_subjects()} == before
    result = CliRunner().invoke(contracts_app, ["publish", "--registry", address, "--json"])
    answer = json.loads(result.output)
    assert (result.exit_code, answer["ok"]) == (0, True)
    assert {row["id"] for row in answer["schemas"]} == {contract.schema_id for contract in CONTRACTS.values()}


def test_a_registry_that_would_give_other_ids_is_refused_before_anything_is_written(
    empty_address: str, stranger: SchemaRegistryClient
) -> None:
    other = Schema('{"type":"record","name":"Other","fields":[{"name":"a","type":"string"}]}', "AVRO")
    assert stranger.register_schema("other-value", other) == 1
    with pytest.raises(
        RegistryError, match=r"id 1 of sluice\.events\.\w+ version 1 already names another schema"
    ):
        publish(Registry(empty_address))
    assert stranger.get_subjects() == ["other-value"]
    result = CliRunner().invoke(contracts_app, ["publish", "--registry", empty_address, "--json"])
    assert result.exit_code == 2
    assert "Use an empty registry" in json.loads(result.output)["error"]


def test_a_schema_under_another_id_is_refused(empty_address: str, stranger: SchemaRegistryClient) -> None:
    contract = CONTRACTS["payment", 1]
    assert contract.schema_id != 1
    assert stranger.register_schema(contract.name, Schema(json.dumps(contract.schema), "AVRO")) == 1
    with pytest.raises(RegistryError, match=r"id 1 of .* already names another schema"):
        publish(Registry(empty_address))
    assert stranger.get_subjects() == [contract.name]


def test_another_schema_under_our_subject_is_refused(
    empty_address: str, stranger: SchemaRegistryClient
) -> None:
    first = min(CONTRACTS.values(), key=lambda contract: contract.schema_id)
    other = Schema('{"type":"record","name":"Other","fields":[{"name":"a","type":"string"}]}', "AVRO")
    stranger.register_schema(first.name, other)
    with pytest.raises(RegistryError, match=f"holds another schema as {first.name} version 1"):
        publish(Registry(empty_address))


def test_half_a_publication_is_completed(empty_address: str, stranger: SchemaRegistryClient) -> None:
    first = min(CONTRACTS.values(), key=lambda contract: contract.schema_id)
    stranger.register_schema(first.name, Schema(json.dumps(first.schema), "AVRO"))
    states = [one.state for one in publish(Registry(empty_address))]
    assert states == ["present"] + ["registered"] * (len(CONTRACTS) - 1)
