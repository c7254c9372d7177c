"""Contracts as another git revision had them, and what changed since."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml

from sluice_contracts_codegen.compatibility import why_unreadable
from sluice_contracts_codegen.model import Contracts, wire_form
from sluice_contracts_codegen.shapes import Json

_MAIN_BRANCHES = ("origin/main", "origin/master", "main", "master")


@dataclass(frozen=True)
class Change:
    """One difference: ``what`` changed, ``how``, and whether it breaks those who hold the old contract."""

    what: str
    how: str
    breaking: bool

    def as_json(self) -> Json:
        """The change as a JSON object."""
        return asdict(self)


class NoHistoryError(Exception):
    """The revision to compare with cannot be read; the message says why."""


def merge_base(repository: Path, base: str | None = None) -> str:
    """Commit to compare with: ``base``, or where this branch left the main one. Raises NoHistoryError."""
    for candidate in (base,) if base else _MAIN_BRANCHES:
        found = _git(repository, "merge-base", "HEAD", str(candidate))
        if found is not None:
            return found.decode().strip()
    raise NoHistoryError(f"no common history with {base or ' or '.join(_MAIN_BRANCHES)} in {repository}")


def changes_since(repository: Path, revision: str, now: Contracts) -> list[Change]:
    """What changed in schemas, ids, examples and topics since ``revision``."""
    return [
        *_schema_changes(repository, revision, now),
        *_lock_changes(repository, revision, now),
        *_example_changes(repository, revision, now),
        *_topic_changes(repository, revision, now),
    ]


def _schema_changes(repository: Path, revision: str, now: Contracts) -> list[Change]:
    changes = []
    current = {schema.path.name: schema for schema in now.schemas}
    for name, text in _files(repository, revision, "contracts/schemas", ".avsc").items():
        old = json.loads(text)
        schema = current.pop(name, None)
        if schema is None:
            changes.append(
                Change(f"schemas/{name}", "removed; bytes of it could no longer be read", breaking=True)
            )
        elif wire_form(old) != wire_form(schema.source):
            reasons = why_unreadable(schema.source, old)
            how = "; ".join(reasons) if reasons else "old bytes still decode"
            rule = "a published version never changes on the wire: add the next version"
            changes.append(Change(f"schemas/{name}", f"changed on the wire ({how}); {rule}", breaking=True))
        elif old != schema.source:
            changes.append(
                Change(f"schemas/{name}", "documentation or validation rules changed", breaking=False)
            )
        if schema is not None:
            for other in now.schemas:
                if other.event_type == schema.event_type and other.version > schema.version:
                    changes += [
                        Change(
                            f"schemas/{other.path.name}",
                            f"cannot read bytes of {name} {reason}",
                            breaking=True,
                        )
                        for reason in why_unreadable(other.source, old)
                    ]
    changes += [Change(f"schemas/{name}", "added", breaking=False) for name in current]
    return changes


def _lock_changes(repository: Path, revision: str, now: Contracts) -> list[Change]:
    text = _git(repository, "show", f"{revision}:contracts/ids.lock.json")
    if text is None:
        return []
    changes = []
    for key, entry in json.loads(text).items():
        current = now.lock.get(key)
        if current is None:
            changes.append(Change("ids.lock.json", f"{key} lost its id {entry['id']}", breaking=True))
        elif current["id"] != entry["id"]:
            how = f"{key} had id {entry['id']}, now {current['id']}; ids never change"
            changes.append(Change("ids.lock.json", how, breaking=True))
    return changes


def _example_changes(repository: Path, revision: str, now: Contracts) -> list[Change]:
    changes = []
    for name, content in _files(repository, revision, "contracts/examples", ".bin").items():
        path = now.root / "examples" / name
        if not path.exists():
            changes.append(Change(f"examples/{name}", "removed; recorded examples stay", breaking=True))
        elif path.read_bytes() != content:
            changes.append(
                Change(f"examples/{name}", "rewritten; recorded examples stay as they are", breaking=True)
            )
    return changes


def _topic_changes(repository: Path, revision: str, now: Contracts) -> list[Change]:
    changes = []
    current = {f"{topic['name']}.yaml": topic for topic in now.topics}
    for name, text in _files(repository, revision, "contracts/topics", ".yaml").items():
        old, new = yaml.safe_load(text), current.pop(name, None)
        if new is None:
            changes.append(Change(f"topics/{name}", "removed", breaking=True))
            continue
        for field in sorted({*old, *new}):
            if old.get(field) != new.get(field):
                how = f"{field}: {old.get(field)} is now {new.get(field)}"
                changes.append(
                    Change(f"topics/{name}", how, breaking=_breaks(field, old.get(field), new.get(field)))
                )
    changes += [Change(f"topics/{name}", "added", breaking=False) for name in current]
    return changes


def _breaks(field: str, old: object, new: object) -> bool:
    """Keys and partitions decide where an event lies; a consumer or event type that goes away is missed."""
    if field in {"name", "class", "partition_key", "partitions", "cleanup_policy"}:
        return True
    if field in {"producers", "consumers", "event_types"} and isinstance(old, (list, dict)):
        kept = new if isinstance(new, (list, dict)) else ()
        return not set(old) <= set(kept)
    return False


def _files(repository: Path, revision: str, folder: str, suffix: str) -> dict[str, bytes]:
    listed = _git(repository, "ls-tree", "-r", "--name-only", "-z", revision, "--", folder + "/")
    names = [name for name in (listed or b"").decode().split("\0") if name.endswith(suffix)]
    contents = {}
    for name in names:
        content = _git(repository, "show", f"{revision}:{name}")
        if content is not None:
            contents[name.removeprefix(folder + "/")] = content
    return contents


def _git(repository: Path, *arguments: str) -> bytes | None:
    done = subprocess.run(["git", "-C", str(repository), *arguments], capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else None
