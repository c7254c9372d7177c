"""Every generated file, as path and text: ``write`` puts them in place, ``stale`` says which ones differ."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sluice_contracts_codegen.asyncapi import asyncapi_document
from sluice_contracts_codegen.codecs import codecs_module
from sluice_contracts_codegen.helm_values import topic_values
from sluice_contracts_codegen.lock import extended_lock, lock_text
from sluice_contracts_codegen.model import Contracts, load_contracts
from sluice_contracts_codegen.records import records_module
from sluice_contracts_codegen.reference import (
    aliases_page,
    envelope_page,
    event_page,
    fleet_page,
    topics_page,
)
from sluice_contracts_codegen.tables import rules_module, schemas_module, topics_module
from sluice_contracts_codegen.validators import validators_module


def generated_files(repository: Path) -> dict[Path, str]:
    """Absolute path to text, for every file that is made from ``contracts/``; raises ContractSourceError."""
    contracts = load_contracts(repository / "contracts")
    contracts = replace(contracts, lock=extended_lock(contracts))
    package = contracts.root / "sluice_contracts" / "generated"
    return {
        **contracts.stale_schemas,
        contracts.root / "ids.lock.json": lock_text(contracts.lock),
        **code_files(contracts, package),
        **document_files(contracts, repository / "docs"),
        repository / "helm" / "values-topics.yaml": topic_values(contracts),
    }


def code_files(contracts: Contracts, package: Path) -> dict[Path, str]:
    """The generated modules of the distribution."""
    return {
        package / "__init__.py": '"""Generated code; see docs/contracts.md."""\n',
        package / "schemas.py": schemas_module(contracts),
        package / "rules.py": rules_module(contracts),
        package / "topics.py": topics_module(contracts),
        package / "records.py": records_module(contracts),
        package / "codecs.py": codecs_module(contracts),
        package / "validators.py": validators_module(contracts),
    }


def document_files(contracts: Contracts, docs: Path) -> dict[Path, str]:
    """The generated documents."""
    return {
        docs / "asyncapi.yaml": asyncapi_document(contracts),
        docs / "fleet.md": fleet_page(contracts),
        docs / "naming-aliases.md": aliases_page(),
        docs / "contracts" / "envelope.md": envelope_page(contracts),
        docs / "contracts" / "topics.md": topics_page(contracts),
        **{
            docs / "contracts" / f"{schema.key}.md": event_page(contracts, schema)
            for schema in contracts.schemas
        },
    }


def _replace(path: Path, text: str) -> None:
    """Write beside and rename, so that nobody imports half a module."""
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


def stale_files(repository: Path) -> list[Path]:
    """Generated files whose text on disk is not what the sources give, repository-relative."""
    return [
        path.relative_to(repository)
        for path, text in generated_files(repository).items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]


def write(repository: Path) -> list[Path]:
    """Write what is stale; returns the repository-relative paths that changed."""
    changed = []
    for path, text in generated_files(repository).items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            _replace(path, text)
            changed.append(path.relative_to(repository))
    return changed
