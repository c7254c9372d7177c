"""``sluice contracts check``: everything that must hold before a change of contracts may be merged."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from sluice_contracts import CONTRACTS, TOPICS, DecodeFailure, decode, payload_hash
from sluice_contracts_codegen.compatibility import version_problems
from sluice_contracts_codegen.examples import from_json, missing_examples
from sluice_contracts_codegen.generate import stale_files
from sluice_contracts_codegen.history import NoHistoryError, changes_since, merge_base
from sluice_contracts_codegen.lock import lock_problems
from sluice_contracts_codegen.model import Contracts, load_contracts
from sluice_contracts_codegen.shapes import ContractSourceError
from sluice_contracts_codegen.topic_rules import topic_problems


class Problem(NamedTuple):
    """One reason to refuse: which ``check`` found it, and a sentence that says what, where and what to do."""

    check: str
    message: str


def find_problems(repository: Path, base: str | None = None) -> list[Problem]:
    """What is wrong with the contracts of ``repository``, also against its merge base with ``base``."""
    try:
        contracts = load_contracts(repository / "contracts")
    except ContractSourceError as error:
        return [Problem("source", str(error))]
    locked = lock_problems(contracts)
    problems = [Problem("lock", message) for message in locked]
    problems += [Problem("compatibility", message) for message in version_problems(contracts)]
    problems += [Problem("topics", message) for message in topic_problems(contracts)]
    problems += [
        Problem("stale", f"{path} is not what contracts/ gives; run: sluice contracts docs --write")
        for path in stale_files(repository)
    ]
    problems += [Problem("examples", message) for message in example_problems(contracts)]
    return problems + _history_problems(repository, base, contracts)


def _history_problems(repository: Path, base: str | None, contracts: Contracts) -> list[Problem]:
    """Breaking schema, id and example changes since the merge base; topics are for a person to judge."""
    try:
        changes = changes_since(repository, merge_base(repository, base), contracts)
    except NoHistoryError as error:
        return [Problem("history", str(error))] if base else []
    return [
        Problem("history", f"{change.what}: {change.how}")
        for change in changes
        if change.breaking and not change.what.startswith("topics/")
    ]


def example_problems(contracts: Contracts) -> list[str]:
    """Recorded examples that the current readers do not read as recorded, and ones that are missing."""
    problems = [
        f"examples/{schema.key}/{stem.name}.bin is not recorded; run: sluice contracts docs --write"
        for stem, schema, _ in missing_examples(contracts)
    ]
    for path in sorted((contracts.root / "examples").glob("*/*.bin")):
        name = f"examples/{path.parent.name}/{path.name}"
        decoded = decode(path.read_bytes())
        if isinstance(decoded, DecodeFailure):
            problems.append(f"{name} no longer decodes: {decoded.code}: {decoded.detail}")
            continue
        contract = decoded.contract
        fields, recorded_hash = from_json(path.with_suffix(".json").read_text(encoding="utf-8"))
        if path.parent.name != f"{contract.event_type}.v{contract.version}":
            problems.append(f"{name} decodes as {contract.event_type}.v{contract.version}")
        if decoded.fields != fields:
            problems.append(f"{name} decodes to other fields than {path.stem}.json has")
        problems += [f"{name}: {violation.message}" for violation in contract.check(decoded.fields)]
        if contract.enveloped and payload_hash(decoded.fields).hex() != recorded_hash:
            problems.append(f"{name} has another payload hash than recorded; the formula must never change")
    return problems


def counted() -> dict[str, int]:
    """How much there is: event type versions and topics."""
    return {"schemas": len(CONTRACTS), "topics": len(TOPICS)}
