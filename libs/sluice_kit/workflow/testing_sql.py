"""A test's look into the schema of a workflow."""

import asyncio
from typing import Any

import asyncpg

from sluice_kit.config import Wiring
from sluice_kit.workflow.database import DatabaseAddress


def run_sql(schema: str, wiring: Wiring, statement: str, *arguments: Any) -> list[Any]:
    """Run one statement in a service's schema, on a connection of its own."""

    async def ask() -> list[Any]:
        address = DatabaseAddress.from_wiring(wiring)
        connection = await asyncpg.connect(
            address.dsn, password=address.password, server_settings={"search_path": schema}
        )
        try:
            return list(await connection.fetch(statement, *arguments))
        finally:
            await connection.close()

    return asyncio.run(ask())
