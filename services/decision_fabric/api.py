"""REST of the decision fabric: the last decisions and the active bundles, from what is committed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query

from services.decision_fabric.bundle_source import BundleSource
from services.decision_fabric.decided import DecidedCache
from services.decision_fabric.model import Activation
from services.decision_fabric.state import DecisionState
from services.decision_fabric.views import ActiveBundleList, ActiveBundleView, DecisionView
from sluice_kit.http import ProblemError

EventId = Annotated[str, Path(min_length=1, max_length=1024)]


def router(cache: DecidedCache, state: DecisionState, source: BundleSource) -> APIRouter:
    """Build the fabric's `/v1` routes."""
    routes = APIRouter(prefix="/v1")

    @routes.get("/decisions/{event_id}", tags=["decisions"])
    def decision(
        event_id: EventId,
        tenant: Annotated[str | None, Query()] = None,
        run_id: Annotated[str | None, Query()] = None,
    ) -> DecisionView:
        """The decision about a payment event; the last ones only, since this process started."""
        found = cache.find(event_id, tenant, run_id)
        if not found:
            raise ProblemError(
                404,
                "DECISION_NOT_HELD",
                f"no decision about payment event {event_id} is held (tenant {tenant}, run {run_id}): "
                "it is older than the ones kept in memory, was made before this process started, or was "
                "not made",
                action="Ask the decision log (`sluice audit show EVENT_ID`), or read traffic.decision; the "
                "receipt says whether the payment was admitted (`sluice receipt show EVENT_ID`).",
            )
        if len(found) > 1:
            raise ProblemError(
                409,
                "SEVERAL_RUNS",
                f"{len(found)} runs have a payment event {event_id}",
                action="Say which one: tenant and run_id.",
            )
        return DecisionView.of(found[0])

    @routes.get("/bundles/active", tags=["bundles"])
    def active() -> ActiveBundleList:
        """Which bundle decides for whom."""
        return ActiveBundleList(bundles=_active(state.values, source))

    return routes


def _active(values: Mapping[str, Any], source: BundleSource) -> list[ActiveBundleView]:
    """The stage's thread may commit meanwhile: look at a copy of the keys."""
    views = []
    for key in sorted(name for name in list(values) if name.startswith("bundle|")):
        activation = Activation(*values[key])
        views.append(ActiveBundleView.of(key.partition("|")[2], activation, source.held(activation)))
    return views
