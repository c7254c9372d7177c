"""The documents that are made from the contracts hang together."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sluice_contracts import CONTRACTS, TOPICS
from sluice_contracts_codegen.repository import REPOSITORY

DOCS = REPOSITORY / "docs"


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_asyncapi_names_every_topic_and_every_reference_leads_somewhere() -> None:
    document = yaml.safe_load((DOCS / "asyncapi.yaml").read_text())
    assert document["asyncapi"] == "3.0.0"
    assert set(document["channels"]) == set(TOPICS)
    assert set(document["components"]["messages"]) == {f"{name}.v{version}" for name, version in CONTRACTS}
    for reference in references(document):
        node = document
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]
    senders = {name for name, entry in document["operations"].items() if entry["action"] == "send"}
    assert senders == {f"{who}.writes.{topic.name}" for topic in TOPICS.values() for who in topic.producers}


@pytest.mark.parametrize(
    "page", [*sorted((DOCS / "contracts").glob("*.md")), DOCS / "contracts.md", DOCS / "fleet.md"]
)
def test_links_between_the_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_helm_values_carry_every_topic() -> None:
    values = yaml.safe_load((REPOSITORY / "helm" / "values-topics.yaml").read_text())
    assert {topic["name"]: topic["partitions"] for topic in values["topics"]} == {
        topic.name: topic.partitions for topic in TOPICS.values()
    }
