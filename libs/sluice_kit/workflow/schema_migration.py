"""Schema changes as numbered SQL files, applied at start by whichever instance comes first."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING, Final

from sluice_kit.telemetry import get_logger
from sluice_kit.workflow.database import Database

if TYPE_CHECKING:
    from sluice_kit.workflow.database import Transaction

_log = get_logger("migrations")
_NAME: Final = re.compile(r"(\d{4})_[a-z0-9_]+\.sql", re.ASCII)
_LEDGER: Final = """
create table if not exists schema_migration (
    owner text not null,
    version integer not null,
    name text not null,
    digest text not null,
    applied timestamptz not null default now(),
    primary key (owner, version)
)
"""


class MigrationError(Exception):
    """The files and the database disagree; the message names the file and what to do."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file."""

    version: int
    name: str
    sql: str

    @property
    def digest(self) -> str:
        """sha256 of the text."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations_of(package: str) -> list[Migration]:
    """Read ``migrations/NNNN_name.sql`` of a package. Raises MigrationError on gaps or odd names."""
    found = sorted(_read(files(package).joinpath("migrations")), key=lambda migration: migration.version)
    if [migration.version for migration in found] != list(range(1, len(found) + 1)):
        raise MigrationError(f"migrations of {package} must be numbered 0001, 0002, ... without gaps")
    return found


def _read(folder: Traversable) -> Iterator[Migration]:
    for entry in folder.iterdir():
        if not entry.name.endswith(".sql"):
            continue
        match = _NAME.fullmatch(entry.name)
        if match is None:
            raise MigrationError(f"{entry.name}: a migration is called NNNN_what_it_does.sql")
        yield Migration(int(match[1]), entry.name, entry.read_text(encoding="utf-8"))


async def migrate(database: Database, packages: dict[str, str]) -> int:
    """Bring the schema up to date in one transaction and return how many files were applied.

    ``packages`` maps an owner (``kit``, the service) to the package with its files, in order of dependence.
    Instances that start together take turns on an advisory lock. Raises MigrationError when an applied file
    was edited or the database is newer than this code.
    """
    async with database.transaction(migrating=True) as tx:
        await tx.execute(
            "select pg_advisory_xact_lock(hashtextextended($1, 0))", f"migrate:{database.schema}"
        )
        await tx.execute(f'create schema if not exists "{database.schema}"')
        await tx.execute(_LEDGER)
        return sum([await _apply(tx, owner, migrations_of(package)) for owner, package in packages.items()])


async def _apply(tx: Transaction, owner: str, migrations: list[Migration]) -> int:
    rows = await tx.fetch("select version, digest from schema_migration where owner = $1", owner)
    applied = {row["version"]: row["digest"] for row in rows}
    if newer := applied.keys() - {migration.version for migration in migrations}:
        raise MigrationError(
            f"the database has migration {max(newer)} of {owner}, newer than this code; deploy that"
        )
    count = 0
    for migration in migrations:
        if (known := applied.get(migration.version)) is not None:
            if known != migration.digest:
                raise MigrationError(
                    f"{owner}/{migration.name} was edited after it was applied; add a new file instead"
                )
            continue
        await tx.execute(migration.sql)
        await tx.execute(
            "insert into schema_migration (owner, version, name, digest) values ($1, $2, $3, $4)",
            owner,
            migration.version,
            migration.name,
            migration.digest,
        )
        _log.info("migrated", owner=owner, migration=migration.name)
        count += 1
    return count
