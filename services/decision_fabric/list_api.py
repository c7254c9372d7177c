"""REST of the lists that rules read: what is on them, from what is committed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel

from services.decision_fabric.bundle_source import BundleSource
from services.decision_fabric.lists import change_behind, kept_entries, kept_lists
from services.decision_fabric.model import ALL, Activation
from services.decision_fabric.state import DecisionState
from sluice_decisions import Bundle
from sluice_decisions.policy import NamedList
from sluice_kit.http import ProblemError

ListName = Annotated[str, Path(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Tenant = Annotated[str, Query(min_length=1)]


class EntryView(BaseModel):
    """An entry and the `list_changed` that put it there."""

    entry: str
    change_id: str


class ListSummary(BaseModel):
    """A list. `of`: the field of a payment that rules ask it for, null: no rule of the active bundle asks."""

    name: str
    of: str | None
    entries: int
    fixed_entries: int
    """Entries that stand in the policy itself; only another bundle changes them."""


class ListSummaries(BaseModel):
    """A tenant's lists by name.

    `policy_known` false: the active bundle was not loaded yet, so lists that nobody filled are not told.
    """

    tenant: str
    policy_known: bool
    lists: list[ListSummary]


class ListPage(ListSummary):
    """Entries of a list in their order, those behind `after`; `next_after` null: these were the last ones."""

    tenant: str
    page: list[EntryView]
    next_after: str | None


def list_router(state: DecisionState, source: BundleSource) -> APIRouter:
    """Build the routes of `/v1/lists`."""
    routes = APIRouter(prefix="/v1/lists", tags=["lists"])

    @routes.get("")
    def lists(tenant: Tenant = "default") -> ListSummaries:
        """Lists that rules ask or that somebody filled."""
        policy = _policy_lists(state.values, source, tenant)
        names = sorted({*(policy or ()), *kept_lists(state.values, tenant)})
        return ListSummaries(
            tenant=tenant,
            policy_known=policy is not None,
            lists=[
                _summary(name, policy or {}, len(kept_entries(state.values, tenant, name))) for name in names
            ],
        )

    @routes.get("/{name}")
    def entries(
        name: ListName,
        tenant: Tenant = "default",
        entry: Annotated[str | None, Query(description="only this entry")] = None,
        after: Annotated[str, Query(description="next_after of the page before")] = "",
        size: Annotated[int, Query(ge=1, le=1_000)] = 500,
    ) -> ListPage:
        """What is on a list; an entry counts for every payment that is decided from now on."""
        policy = _policy_lists(state.values, source, tenant)
        kept = kept_lists(state.values, tenant)
        if policy is not None and name not in policy and name not in kept:
            known = ", ".join(sorted({*policy, *kept})) or "there is none"
            raise ProblemError(
                404,
                "NO_SUCH_LIST",
                f"no rule of tenant {tenant} reads a list {name}, and nothing is on it",
                action=f"Name one of these lists: {known}.",
            )
        every = kept_entries(state.values, tenant, name)
        asked = every if entry is None else [one for one in every if one == entry]
        behind = [one for one in asked if one > after]
        page = [
            EntryView(entry=one, change_id=change)
            for one in behind[:size]
            if (change := change_behind(state.values, tenant, name, one)) is not None
        ]
        summary = _summary(name, policy or {}, len(every))
        following = behind[size - 1] if len(behind) > size else None
        return ListPage(**summary.model_dump(), tenant=tenant, page=page, next_after=following)

    return routes


def _policy_lists(
    values: Mapping[str, Any], source: BundleSource, tenant: str
) -> Mapping[str, NamedList] | None:
    """The lists of the tenant's active bundle; None while it is not loaded or cannot be."""
    active = values.get(f"bundle|tenant:{tenant}", values.get(f"bundle|{ALL}"))
    found = None if active is None else source.held(Activation(*active))
    return found.policy.lists if isinstance(found, Bundle) else None


def _summary(name: str, policy: Mapping[str, NamedList], entries: int) -> ListSummary:
    asked = policy.get(name)
    return ListSummary(
        name=name,
        of=None if asked is None else asked.of,
        entries=entries,
        fixed_entries=0 if asked is None else len(asked.entries or ()),
    )
