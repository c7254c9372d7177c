"""What waits for a call costs nothing, however much of it there is."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from services.action_layer import work_list
from sluice_kit.config import Wiring
from sluice_kit.telemetry import Health
from sluice_kit.workflow import Database, DatabaseAddress
from sluice_kit.workflow.schema_migration import migrate

pytestmark = pytest.mark.integration
PACKAGES = {"kit": "sluice_kit.workflow", "action_layer": "services.action_layer"}
WAITING, WANTED = 5_000, 32
FILL = """
insert into action (idempotency_key, content_hash, tenant, subject_event_id, effector, state, outcomes,
    next_at, started_at, order_key, intent)
select 'k' || n, '', 'default', 'e' || n, 'webhook', 'PENDING', 0, n, n, 'customer' || n % 1000, ''
from generate_series(1, $1) n
"""


async def test_the_worker_reads_no_further_than_what_it_takes(wiring: Wiring, tmp_path: Path) -> None:
    address = DatabaseAddress.from_wiring(wiring)
    database = Database(address, f"wl_{tmp_path.name[-20:]}".lower(), health=Health("work_list"))
    assert await database.open(asyncio.Event())
    await migrate(database, PACKAGES)
    database.release()
    try:
        async with database.transaction() as tx:
            await tx.execute(FILL, WAITING)
            await work_list.fence(tx, 0)
            explained = "explain (analyze, format json) " + work_list.DUE
            plan = orjson.loads(await tx.fetchval(explained, "webhook", WAITING, [], WANTED))
    finally:
        await database.close()
    assert max(read_rows(plan[0]["Plan"])) <= WANTED + 1, plan


def read_rows(node: dict[str, Any]) -> list[float]:
    """Rows that each node of a plan gave or threw away, in all."""
    here = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
    below = [rows for child in node.get("Plans", ()) for rows in read_rows(child)]
    return [here * node["Actual Loops"] if node["Node Type"] != "Index Only Scan" else 0, *below]
