"""What a topic file must say: known names, the laws of its class, a key that leads somewhere."""

from __future__ import annotations

from sluice_contracts_codegen.model import Contracts, Nullable, Record
from sluice_contracts_codegen.shapes import Json

_FIELDS = {
    "name": str,
    "description": str,
    "class": str,
    "owner": str,
    "producers": list,
    "consumers": list,
    "event_types": dict,
    "partition_key": str,
    "partitions": int,
    "retention_ms": int,
    "cleanup_policy": str,
    "max_message_bytes": int,
    "examples": list,
}
_OPTIONAL = {"compatibility": str, "compatibility_reason": str}
_EVENT_BUS = {"traffic", "control", "audit"}
_CLASSES = _EVENT_BUS | {"ingress", "state", "basis"}
GATE = "ingestion_gate"


def topic_problems(contracts: Contracts) -> list[str]:
    """Everything that is wrong with the topic files, each sentence with the file's name."""
    problems = []
    homes: dict[str, str] = {}
    for topic in contracts.topics:
        name = str(topic.get("name"))
        found = _shape(topic) or [*_names(contracts, topic), *_laws(topic), *_keys(contracts, topic)]
        for event_type in topic.get("event_types", {}) if topic.get("class") in _EVENT_BUS else ():
            if homes.setdefault(event_type, name) != name:
                found.append(f"{event_type} already has its home on {homes[event_type]}")
        problems += [f"topics/{name}.yaml: {problem}" for problem in found]
    used = {name for topic in contracts.topics for name in topic.get("event_types", {})}
    problems += [
        f"schemas/{schema.key}.avsc: no topic carries {schema.event_type}"
        for schema in contracts.schemas
        if schema.event_type not in used
    ]
    if not (contracts.root / "topics").is_dir():
        problems.append("topics/ is missing")
    problems += [
        f"topics/{path.name}: the file must be called after its topic"
        for path in sorted((contracts.root / "topics").glob("*.yaml"))
        if path.stem not in {topic.get("name") for topic in contracts.topics}
    ]
    return problems


def _shape(topic: Json) -> list[str]:
    problems = [f"{field} is missing" for field in _FIELDS if field not in topic]
    for field, value in topic.items():
        expected = _FIELDS.get(field) or _OPTIONAL.get(field)
        if expected is None:
            problems.append(f"{field} is not a field of a topic")
        elif not isinstance(value, expected):
            problems.append(f"{field} must be of type {expected.__name__}, not {type(value).__name__}")
    return problems


def _names(contracts: Contracts, topic: Json) -> list[str]:
    principals = {topic["owner"], *topic["producers"], *topic["consumers"]}
    problems = [
        f"principal {name!r} is not in principals.yaml"
        for name in sorted(principals - set(contracts.principals))
    ]
    known = {(schema.event_type, schema.version) for schema in contracts.schemas}
    for event_type, versions in topic["event_types"].items():
        if not isinstance(versions, list) or not versions:
            problems.append(f"event type {event_type} needs a list of versions")
            continue
        problems += [
            f"event type {event_type} version {version} has no schemas/{event_type}.v{version}.avsc"
            for version in versions
            if (event_type, version) not in known
        ]
    problems += [
        f"example {example!r} is not under examples/"
        for example in topic["examples"]
        if not (contracts.root / "examples" / str(example)).is_dir()
    ]
    return problems


def _laws(topic: Json) -> list[str]:
    problems = []
    kind, name = topic["class"], topic["name"]
    if kind not in _CLASSES:
        problems.append(f"class {kind!r} is not one of {', '.join(sorted(_CLASSES))}")
    if name.partition(".")[0] != kind:
        problems.append(f"the name must start with {kind}.")
    if kind in _EVENT_BUS and (topic["producers"] != [GATE] or topic["owner"] != GATE):
        problems.append(f"only {GATE} writes the event bus")
    if kind == "ingress":
        writer = name.partition(".")[2]
        if topic["producers"] != [writer]:
            problems.append(f"a lane is written by its principal alone: producers must be [{writer}]")
        if GATE not in topic["consumers"]:
            problems.append(f"a lane is read by {GATE}")
    if kind in _EVENT_BUS | {"basis"} and (
        topic["retention_ms"] != -1 or topic["cleanup_policy"] != "delete"
    ):
        problems.append("facts and basis are kept for ever: retention_ms -1, cleanup_policy delete")
    return problems + _values(topic)


def _values(topic: Json) -> list[str]:
    problems = []
    if topic["cleanup_policy"] not in {"delete", "compact"}:
        problems.append("cleanup_policy must be delete or compact")
    if topic["partitions"] < 1:
        problems.append("partitions must be at least 1")
    if topic.get("compatibility", "NONE") != "NONE" or (
        "compatibility" in topic and not topic.get("compatibility_reason")
    ):
        problems.append("compatibility may only be NONE, and compatibility_reason must say why")
    return problems


def _keys(contracts: Contracts, topic: Json) -> list[str]:
    problems = []
    schemas = {(schema.event_type, schema.version): schema for schema in contracts.schemas}
    for event_type, versions in topic["event_types"].items():
        for version in versions:
            schema = schemas.get((event_type, version))
            if schema is None:
                continue
            if schema.max_bytes >= topic["max_message_bytes"]:
                problems.append(f"max_message_bytes must exceed the {schema.max_bytes} bytes of {schema.key}")
            if topic["partition_key"] != "none" and not _leads(schema.root, topic["partition_key"]):
                problems.append(f"partition_key {topic['partition_key']} is not a field of {schema.key}")
    return problems


def _leads(root: Record, path: str) -> bool:
    node: object = root
    for part in path.split("."):
        if isinstance(node, Nullable):
            node = node.inner
        if not isinstance(node, Record):
            return False
        node = next((field.type for field in node.fields if field.name == part), None)
    return node is not None
