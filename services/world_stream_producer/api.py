"""REST: what is streaming, how far it is, and pause, resume and speed for one run."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, BeforeValidator, Field

from services.world_stream_producer import store
from services.world_stream_producer.pacing import parse_speed, speed_text
from services.world_stream_producer.streams import StreamSupervisor
from sluice_kit.http import IdempotencyKey, ProblemError, ScopeHeaders
from sluice_kit.workflow import Database, DatabaseAwayError

Speed = Annotated[float, BeforeValidator(parse_speed)]
State = Literal["READY", "STREAMING", "PAUSED", "COMPLETED", "FAILED", "CLOSED", "SKIPPED"]


class StreamView(BaseModel):
    """One run. Rows are acknowledged by the lane; rate and eta only where this instance streams it."""

    tenant: str
    run_id: str
    state: State
    reason: str | None
    rows: int
    total_rows: int | None
    rows_per_second: float | None
    eta_seconds: float | None
    speed: str = Field(description='domain seconds per second, or "max"')
    speed_from: Literal["policy", "override"]
    policy_revision: str | None
    plan_digest: str | None
    plan_uri: str | None
    owner: str | None
    updated: datetime


class StreamList(BaseModel):
    """The newest runs of the tenant."""

    streams: list[StreamView]


class SpeedChange(BaseModel):
    """The new speed of a run; null goes back to the policy's."""

    speed: Speed | None


class Command(BaseModel):
    """What was asked, and the stream as it stood right after."""

    command: Literal["pause", "resume", "speed"]
    dry_run: bool
    stream: StreamView


def stream_router(database: Database, supervisor: StreamSupervisor) -> APIRouter:
    """Build the router of `/v1/streams`."""
    router = APIRouter(prefix="/v1/streams", tags=["streams"])
    streams = _Streams(database, supervisor)

    @router.get("")
    async def list_streams(
        scope: ScopeHeaders, limit: Annotated[int, Query(ge=1, le=1000)] = 100
    ) -> StreamList:
        """List the newest runs of the tenant."""
        return StreamList(streams=await streams.newest(scope.tenant, limit))

    @router.get("/{run_id}")
    async def show_stream(scope: ScopeHeaders, run_id: str) -> StreamView:
        """Show one run."""
        return await streams.one(scope.tenant, run_id)

    @router.post("/{run_id}/pause")
    async def pause(scope: ScopeHeaders, key: IdempotencyKey, run_id: str, dry_run: bool = False) -> Command:
        """Take no further row of the run until it is resumed."""
        return await streams.command(scope.tenant, run_id, key, {"command": "pause"}, dry_run=dry_run)

    @router.post("/{run_id}/resume")
    async def resume(scope: ScopeHeaders, key: IdempotencyKey, run_id: str, dry_run: bool = False) -> Command:
        """Go on from the checkpoint; a failed stream gets another try."""
        return await streams.command(scope.tenant, run_id, key, {"command": "resume"}, dry_run=dry_run)

    @router.post("/{run_id}/speed")
    async def speed(
        scope: ScopeHeaders, key: IdempotencyKey, run_id: str, change: SpeedChange, dry_run: bool = False
    ) -> Command:
        """Override the policy's speed for this run: when rows leave, not which or in what order."""
        asked = {"command": "speed", "speed": change.speed}
        return await streams.command(scope.tenant, run_id, key, asked, dry_run=dry_run)

    return router


class _Streams:
    def __init__(self, database: Database, supervisor: StreamSupervisor) -> None:
        self._database, self._supervisor = database, supervisor

    async def newest(self, tenant: str, limit: int) -> list[StreamView]:
        with _database_problem():
            async with self._database.transaction() as tx:
                return [self._view(row) for row in await store.load_newest(tx, tenant, limit)]

    async def one(self, tenant: str, run_id: str) -> StreamView:
        with _database_problem():
            async with self._database.transaction() as tx:
                return self._view(await _existing(tx, tenant, run_id))

    async def command(
        self, tenant: str, run_id: str, key: str, asked: dict[str, Any], *, dry_run: bool
    ) -> Command:
        recorded = asked | {"run_id": run_id}
        with _database_problem():
            async with self._database.transaction() as tx:
                await store.lock_command(tx, tenant, key)
                earlier = await store.recorded_command(tx, tenant, key)
                if earlier is not None:
                    return _first_answer(earlier, recorded, key)
                _refuse_ended(await _existing(tx, tenant, run_id), asked["command"])
                if not dry_run:
                    await _apply(tx, tenant, run_id, asked)
                view = self._view(await _existing(tx, tenant, run_id))
                answer = Command(command=asked["command"], dry_run=dry_run, stream=view)
                if not dry_run:
                    revision = self._supervisor.policy.revision
                    await store.record_command(
                        tx,
                        tenant,
                        key,
                        run_id,
                        command=recorded,
                        answer=answer.model_dump(mode="json"),
                        revision=revision,
                    )
        self._supervisor.nudge((tenant, run_id))
        return answer

    def _view(self, row: store.StreamRow) -> StreamView:
        policy = self._supervisor.policy
        live = self._supervisor.live.get((row.tenant, row.run_id))
        rows, rate, trouble = row.next_row, None, None
        if live is not None and live.progress is not None:
            rows, rate, trouble = max(rows, live.progress.acked_row), live.rows_per_second, live.trouble
        left = None if row.total_rows is None else row.total_rows - rows
        state = "PAUSED" if row.paused and row.state in {"READY", "STREAMING"} else row.state
        return StreamView(
            tenant=row.tenant,
            run_id=row.run_id,
            state=state,  # type: ignore[arg-type]  # the table's check constraint holds the values
            reason=row.reason or trouble,
            rows=rows,
            total_rows=row.total_rows,
            rows_per_second=None if rate is None else round(rate, 1),
            eta_seconds=round(left / rate, 1) if left is not None and rate else None,
            speed=speed_text(policy.speed if row.speed is None else row.speed),
            speed_from="policy" if row.speed is None else "override",
            policy_revision=row.policy_revision,
            plan_digest=row.plan_digest,
            plan_uri=row.plan_uri,
            owner=row.owner,
            updated=row.updated,
        )


async def _existing(tx: Any, tenant: str, run_id: str) -> store.StreamRow:
    row = await store.load(tx, tenant, run_id)
    if row is None:
        raise ProblemError(
            404,
            "UNKNOWN_RUN",
            f"no READY for run {run_id!r} of tenant {tenant!r} has been seen",
            action="Check run id and Sluice-Tenant; the Scenario Runner says whether the run is READY.",
        )
    return row


async def _apply(tx: Any, tenant: str, run_id: str, asked: dict[str, Any]) -> None:
    if asked["command"] == "speed":
        await store.set_speed(tx, tenant, run_id, asked["speed"])
    else:
        await store.set_paused(tx, tenant, run_id, paused=asked["command"] == "pause")


def _refuse_ended(row: store.StreamRow, command: str) -> None:
    if row.state in {"COMPLETED", "CLOSED", "SKIPPED"} or (row.state == "FAILED" and command == "pause"):
        raise ProblemError(
            409,
            "STREAM_ENDED",
            f"run {row.run_id} is {row.state}" + (f" ({row.reason})" if row.reason else ""),
            action="There is nothing left to steer; only a failed stream can be resumed.",
        )


def _first_answer(earlier: tuple[Any, Any], asked: dict[str, Any], key: str) -> Command:
    command, answer = earlier
    if command != asked:
        raise ProblemError(
            409,
            "IDEMPOTENCY_KEY_REUSED",
            f"the key {key!r} was used for another command: {command}",
            action="Choose a new key for a new command.",
        )
    return Command.model_validate(answer)


class _database_problem:  # noqa: N801 - reads as a context
    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, DatabaseAwayError):
            raise ProblemError(
                503,
                "DATABASE_AWAY",
                "Postgres does not answer",
                action="Try again in a moment; streams stand still meanwhile and lose nothing.",
                headers={"Retry-After": "2"},
            ) from error
