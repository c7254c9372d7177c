"""`/v1/features`: the snapshot of an event as it was put out, and the windows of an entity as they are."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Protocol

import orjson
from fastapi import APIRouter, Path, Query, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import AwareDatetime

from services.online_features.look_back import LookBackError, LookedBack
from services.online_features.recent import RecentSnapshots
from services.online_features.state import StageState
from services.online_features.views import (
    Fields,
    SnapshotView,
    WindowsView,
    decoded_snapshot,
    scope_of,
    snapshot_view,
    windows_view,
)
from sluice_features import FeatureSet, Scope
from sluice_kit.http import ProblemError

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
Id = Annotated[str, Query(min_length=1, max_length=128)]
OptionalId = Annotated[str | None, Query(min_length=1, max_length=128)]
Part = Annotated[str, Path(min_length=1, max_length=128)]


class ReadsBack(Protocol):
    """Finds snapshots on their topic."""

    def find(self, event_id: str, scope: Scope | None) -> LookedBack:
        """Snapshots of an event: of a scope the newest at least, else all in reach. Raises LookBackError."""
        ...


class FeaturesApi:
    """What the routes use."""

    def __init__(
        self,
        recent: RecentSnapshots,
        log: ReadsBack,
        state: StageState,
        feature_set: FeatureSet,
        known: Mapping[str, FeatureSet],
    ) -> None:
        self._recent, self._log, self._state = recent, log, state
        self.feature_set = feature_set
        self.known = {**known, feature_set.fingerprint(): feature_set}

    async def snapshot(self, event_id: str, tenant: str | None, run_id: str | None) -> Fields:
        """The one snapshot of an event. Raises ProblemError: there is none, or several runs have one."""
        found = {
            scope_of(one): one for one in map(decoded_snapshot, self._recent.find(event_id, tenant, run_id))
        }
        older_unread = False
        if not found or tenant is None or run_id is None:
            # what is at hand may be one of several: which ones are must not decide about the answer
            read, older_unread = await run_in_threadpool(self._read_back, event_id, tenant, run_id)
            found = {**read, **found}
        if not found:
            raise _no_snapshot(event_id, tenant, run_id, older_unread=older_unread)
        runs = sorted(found)
        if len(runs) > 1:
            raise ProblemError(
                409,
                "SEVERAL_RUNS",
                f"event {event_id} has snapshots in {', '.join(f'{who}/{run}' for who, run in runs[:10])}",
                action="Name one with tenant and run_id.",
            )
        return found[runs[0]]

    def windows(self, scope: Scope, entity: str, key: str, as_of: int | None) -> dict[str, Any]:
        """The windows of an entity. Raises ProblemError for an unknown one."""
        try:
            found = self._state.features.windows(scope, entity, key, as_of)
        except KeyError:
            known = ", ".join(self._state.features.layout.entities)
            raise ProblemError(
                404, "NO_SUCH_ENTITY", f"no windows of {entity}", action=f"Ask for one of {known}."
            ) from None
        if found is None:
            raise ProblemError(
                404,
                "NOTHING_KEPT",
                f"nothing is kept of {entity} {key} (tenant {scope.tenant}, run {scope.run_id})",
                action="Check tenant, run and key; what is older than the longest window has left.",
            )
        about = {"tenant": scope.tenant, "run_id": scope.run_id, "entity": entity, "key": key}
        return windows_view(found, self.feature_set, about)

    def _read_back(
        self, event_id: str, tenant: str | None, run_id: str | None
    ) -> tuple[dict[Scope, Fields], bool]:
        """The newest snapshot of each run that is meant, and whether older records were left unread."""
        scope = None if tenant is None or run_id is None else Scope(tenant, run_id)
        try:
            values, older_unread = self._log.find(event_id, scope)
        except LookBackError as error:
            raise ProblemError(
                503,
                "BROKER_AWAY",
                str(error),
                action="Send the same request again.",
                headers={"Retry-After": "2"},
            ) from error
        found: dict[Scope, Fields] = {}
        for one in map(decoded_snapshot, values):
            if tenant in {None, one["tenant"]} and run_id in {None, one["run_id"]}:
                found.setdefault(scope_of(one), one)
        return found, older_unread


def _no_snapshot(
    event_id: str, tenant: str | None, run_id: str | None, *, older_unread: bool
) -> ProblemError:
    detail = f"no snapshot of event {event_id} (tenant {tenant}, run {run_id})"
    action = "Check the id; a payment that was just admitted has its snapshot within a second."
    if older_unread:
        detail += " among the newest look_back_records of its partition; older ones are not read"
        action += " That of an older payment stands in its record: sluice audit show EVENT_ID."
    return ProblemError(404, "NO_SNAPSHOT", detail, action=action)


def router(api: FeaturesApi) -> APIRouter:
    """Build the stage's ``/v1`` routes."""
    routes = APIRouter(prefix="/v1", tags=["features"])

    @routes.get("/features", responses={200: {"model": SnapshotView}})
    async def snapshot(
        event_id: Id,
        tenant: OptionalId = None,
        run_id: OptionalId = None,
    ) -> Response:
        """The snapshot of an event, byte for byte what was decided on; the same at every call."""
        return _json(snapshot_view(await api.snapshot(event_id, tenant, run_id), api.known))

    @routes.get("/features/{entity}/{key}", responses={200: {"model": WindowsView}})
    async def windows(
        entity: Part,
        key: Part,
        run_id: Id,
        tenant: Id = "default",
        as_of: Annotated[AwareDatetime | None, Query(description="default: how far the run is")] = None,
    ) -> Response:
        """What an entity's windows hold now, or as of a moment: committed state, never of a batch at work."""
        at = None if as_of is None else (as_of - _EPOCH) // _MICROSECOND
        return _json(await run_in_threadpool(api.windows, Scope(tenant, run_id), entity, key, at))

    return routes


def _json(content: dict[str, Any]) -> Response:
    return Response(orjson.dumps(content), media_type="application/json")
