"""The id lock: an id, once given to a schema version, names that schema for ever."""

from __future__ import annotations

import json

from sluice_contracts_codegen.model import Contracts


def extended_lock(contracts: Contracts) -> dict[str, dict[str, object]]:
    """The lock with an id for every schema; a new schema gets the next free number, nothing else changes."""
    lock: dict[str, dict[str, object]] = {key: dict(entry) for key, entry in contracts.lock.items()}
    last = max((int(str(entry["id"])) for entry in lock.values()), default=0)
    for schema in contracts.schemas:
        if schema.key not in lock:
            last += 1
            lock[schema.key] = {
                "id": last,
                "subject": schema.root.full_name,
                "fingerprint": schema.fingerprint,
            }
    return dict(sorted(lock.items(), key=lambda item: int(str(item[1]["id"]))))


def lock_text(lock: dict[str, dict[str, object]]) -> str:
    """The lock as it is written, one entry a line."""
    lines = [f"  {json.dumps(key)}: {json.dumps(entry)}" for key, entry in lock.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def lock_problems(contracts: Contracts) -> list[str]:
    """Why the lock does not hold: a changed schema, a reused id, a locked version without its file."""
    problems = []
    schemas = {schema.key: schema for schema in contracts.schemas}
    seen: dict[int, str] = {}
    for key, entry in contracts.lock.items():
        number = int(entry["id"])
        if number in seen:
            problems.append(
                f"ids.lock.json: {key} and {seen[number]} both have id {number}; ids are never shared"
            )
        seen[number] = key
        if key not in schemas:
            problems.append(f"ids.lock.json: {key} is locked but schemas/{key}.avsc is gone; bring it back")
        elif schemas[key].fingerprint != entry["fingerprint"]:
            problems.append(
                f"schemas/{key}.avsc changed on the wire after its id {number} was locked; "
                f"undo the change and add the next version as a new file"
            )
        elif schemas[key].root.full_name != entry["subject"]:
            problems.append(f"ids.lock.json: subject of {key} is not {schemas[key].root.full_name}")
    problems += [
        f"ids.lock.json: {key} has no id; run the generator" for key in schemas if key not in contracts.lock
    ]
    return problems
