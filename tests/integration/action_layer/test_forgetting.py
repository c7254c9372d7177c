"""What is settled is forgotten after the days that the policy says, with all that was said of it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from services.action_layer import lookups
from services.action_layer.effect_log import EffectLog
from services.action_layer.forgetting import DAY, Forgetting
from services.action_layer.intake import Intake
from services.action_layer.settings import INTENTS, load_policy
from services.action_layer.tally import Tally
from sluice_contracts import encode
from sluice_kit.config import Wiring
from sluice_kit.telemetry import Health, MetricFamilies
from sluice_kit.workflow import Batch, Database, DatabaseAddress, Workflow
from sluice_kit.workflow.schema_migration import migrate
from sluice_kit.workflow.testing import InMemoryLanes
from tests.integration.action_layer.layer import intent, key_of

pytestmark = pytest.mark.integration
PACKAGES = {"kit": "sluice_kit.workflow", "action_layer": "services.action_layer"}
TABLES = ("action", "outcome", "outcome_pack", "refused_content")


async def test_settled_actions_go_and_open_ones_stay(wiring: Wiring, tmp_path: Path) -> None:
    health, tally = Health("forgetting"), Tally()
    wired = wiring.model_copy(update={"webhooks": {"webhook": {"url": "http://127.0.0.1:1/"}}})
    database = Database(
        DatabaseAddress.from_wiring(wiring), f"al_{tmp_path.name[-20:]}".lower(), health=health
    )
    workflow = Workflow(
        "forgetting",
        database,
        kafka_options={},
        writer=InMemoryLanes(),
        health=health,
        metrics=MetricFamilies().service("forgetting"),
    )
    now = time.time_ns() // 1_000
    clock = [now - 9 * DAY]
    log = EffectLog(tmp_path / "effects", roll_bytes=1 << 30, batch_bytes=1 << 20, sync=False, say=print)
    intake = Intake(load_policy().authority(wired), log, clock=lambda: clock[0], tally=tally)
    settled, waiting, fresh = [[intent(name) for _ in range(30)] for name in ("log", "webhook", "log")]
    refused = intent(idempotency_key=key_of(settled[0]), amount_minor=1)
    assert await database.open(asyncio.Event())
    await migrate(database, PACKAGES)
    database.release()
    try:
        offset = 0
        for batch, age in (([*settled, *waiting, refused], 9), (fresh, 7)):
            clock[0] = now - age * DAY
            values: list[bytes | None] = [encode("action_intent", 1, fields) for fields in batch]
            offsets = list(range(offset, offset := offset + len(batch)))
            taken = Batch(INTENTS, [0] * len(batch), offsets, values)
            await workflow.inbox.apply_bulk(taken, intake.take, asyncio.Event())
        assert await counts(database) == (90, 1, 2, 1)
        forgetting = Forgetting(database, 8, clock=lambda: now)
        while await forgetting.step():
            pass
        assert await counts(database) == (60, 0, 1, 0)
        async with database.transaction() as tx:
            assert await lookups.find(tx, "default", key_of(settled[0])) is None
            known = await lookups.find(tx, "default", key_of(fresh[-1]))
            assert known is not None
            assert [said["payload"]["outcome"] for said in known.outcomes] == ["EXECUTED"]
            assert await lookups.find(tx, "default", key_of(waiting[0])) is not None
    finally:
        await database.close()


async def counts(database: Database) -> tuple[int, ...]:
    async with database.transaction() as tx:
        return tuple([await tx.fetchval(f"select count(*) from {table}") for table in TABLES])
