"""REST of the graph: identities, profiles, neighbours, from what is committed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Path, Query

from services.entity_graph.basis import digest_of
from services.entity_graph.core import late_payments, version_of
from services.entity_graph.page_tokens import Page, PageTokens
from services.entity_graph.views import (
    EntityView,
    GraphAnswer,
    NeighboursView,
    NeighbourView,
    ProfileView,
    ResolutionView,
)
from sluice_graph import KINDS, GraphState
from sluice_graph.queries import GraphQueries
from sluice_kit.http import ProblemError

Kind = Literal["customer", "card", "account", "device", "terminal", "merchant", "address"]
Value = Annotated[str, Path(min_length=1, max_length=128)]
Tenant = Annotated[str, Query(description="tenant of the run")]
RunId = Annotated[str, Query(description="the run")]
Limit = Annotated[int, Query(ge=1, le=500, description="how many on a page")]
PageToken = Annotated[str | None, Query(description="next_page of the page before", max_length=2_048)]
_AGAIN: Final = "Ask again without page_token: the list begins anew on the graph as it is now."


@dataclass(frozen=True, slots=True)
class _Found:
    """An entity in a graph at rest."""

    queries: GraphQueries
    number: int
    view: EntityView
    answer: GraphAnswer


class GraphApi:
    """What the routes use. Questions hold the state's lock, so all parts of an answer are of one moment."""

    def __init__(self, state: GraphState, tokens: PageTokens) -> None:
        self._state, self._tokens = state, tokens

    def resolve(self, kind: str, value: str, tenant: str, run_id: str) -> ResolutionView:
        """Who is behind an entity. Raises ProblemError."""
        with self._find(kind, value, tenant, run_id) as found:
            return ResolutionView.of(found.answer, found.view, found.queries.resolve(found.number))

    def profile(self, kind: str, value: str, tenant: str, run_id: str) -> ProfileView:
        """An entity. Raises ProblemError."""
        with self._find(kind, value, tenant, run_id) as found:
            return ProfileView.of(found.answer, found.view, found.queries.profile(found.number))

    def neighbours(
        self, kind: str, value: str, tenant: str, run_id: str, *, limit: int, token: str | None
    ) -> NeighboursView:
        """A page of neighbours. Raises ProblemError."""
        page = None if token is None else self._opened(token, (tenant, run_id, kind, value))
        with self._find(kind, value, tenant, run_id, gone=page is not None) as found:
            answer, total = found.answer, found.queries.neighbour_count(found.number)
            if page is None:
                page = Page(tenant, run_id, kind, value, answer.graph_version, answer.graph_basis, total, 0)
            elif page.standing != total:
                raise ProblemError(
                    409,
                    "GRAPH_MOVED",
                    f"the list was of graph_version {page.graph_version}; since then {kind} {value} has other"
                    f" neighbours ({page.standing} then, {total} now)",
                    action=_AGAIN,
                )
            shown = found.queries.neighbours(found.number, page.start, limit)
        after = page.start + len(shown)
        answer = answer.model_copy(
            update={"graph_version": page.graph_version, "graph_basis": page.graph_basis}
        )
        return NeighboursView(
            **answer.model_dump(),
            entity=found.view,
            total=total,
            neighbors=[NeighbourView.of_neighbour(one) for one in shown],
            next_page=self._tokens.seal(page._replace(start=after)) if after < total else None,
        )

    def _opened(self, token: str, asked: tuple[str, str, str, str]) -> Page:
        page = self._tokens.open(token)
        if page is None or page[:4] != asked:
            raise ProblemError(
                400,
                "INVALID_PAGE",
                "page_token is not one that this process gave for this list",
                action=_AGAIN,
            )
        return page

    @contextmanager
    def _find(
        self, kind: str, value: str, tenant: str, run_id: str, *, gone: bool = False
    ) -> Iterator[_Found]:
        with self._state.lock:
            graph = self._state.graph((tenant, run_id))
            number = -1 if graph is None else graph.find(KINDS.index(kind), value)
            if graph is None or number < 0:
                raise _not_here(kind, value, tenant, run_id, known_run=graph is not None, gone=gone)
            queries = GraphQueries(graph, self._state.policy)
            reasons = [
                reason
                for reason, holds in (
                    ("IDENTITY_CONFLICT", queries.disputed(number)),
                    ("LABEL_CONFLICT", number in graph.label_disputes),
                    ("GRAPH_FULL", queries.full),
                )
                if holds
            ]
            notes, scope = self._state.notes, (tenant, run_id)
            answer = GraphAnswer(
                tenant=tenant,
                run_id=run_id,
                graph_version=version_of(notes, scope),
                late_payments=late_payments(notes, scope),
                graph_basis=digest_of(notes),
                integrity="DEGRADED" if reasons else "CLEAN",
                reasons=reasons,
            )
            yield _Found(queries, number, EntityView(kind=kind, value=value), answer)


def _not_here(
    kind: str, value: str, tenant: str, run_id: str, *, known_run: bool, gone: bool
) -> ProblemError:
    if gone:
        return ProblemError(
            410, "PAGE_GONE", f"the graph no longer has {kind} {value} in run {run_id}", action=_AGAIN
        )
    if not known_run:
        return ProblemError(
            404,
            "NO_SUCH_RUN",
            f"the graph has seen nothing of run {run_id} of tenant {tenant}",
            action="Check tenant and run_id; a run is known from its first payment or FRAUD label on.",
        )
    return ProblemError(
        404,
        "NO_SUCH_ENTITY",
        f"run {run_id} of tenant {tenant} has no {kind} {value}",
        action="Check kind and value; it is known from the first payment or FRAUD label that names it.",
    )


def router(api: GraphApi) -> APIRouter:
    """Build the graph's ``/v1/graph`` routes."""
    routes = APIRouter(prefix="/v1/graph", tags=["graph"])

    @routes.get("/resolve")
    def resolve_identity(
        kind: Kind,
        value: Annotated[str, Query(min_length=1, max_length=128)],
        run_id: RunId,
        tenant: Tenant = "default",
    ) -> ResolutionView:
        """Who is behind an entity: its component, the customers in it, and every conflict by name."""
        return api.resolve(kind, value, tenant, run_id)

    @routes.get("/profile/{kind}/{value}")
    def get_profile(kind: Kind, value: Value, run_id: RunId, tenant: Tenant = "default") -> ProfileView:
        """First and last seen, counts, degrees, component and distance to known fraud."""
        return api.profile(kind, value, tenant, run_id)

    @routes.get("/neighbors/{kind}/{value}")
    def get_neighbors(
        *,
        kind: Kind,
        value: Value,
        run_id: RunId,
        tenant: Tenant = "default",
        limit: Limit = 50,
        page_token: PageToken = None,
    ) -> NeighboursView:
        """Neighbours, page by page; 409 GRAPH_MOVED where the list has changed since its first page."""
        return api.neighbours(kind, value, tenant, run_id, limit=limit, token=page_token)

    return routes
