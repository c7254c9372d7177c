"""REST of the scenario runner: ``/v1/runs``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse

from services.scenario_runner.core import RunState
from services.scenario_runner.runs import Closed, KeyReused, NotClosable, Runs, RunSnapshot
from services.scenario_runner.views import (
    CloseRequest,
    ForeseenView,
    RunList,
    RunRequest,
    RunView,
    foreseen_view,
    run_view,
)
from sluice_kit.artifacts import ArtifactError, Digest, SensitiveContent, StoreUnavailable, canonical_json
from sluice_kit.http import IdempotencyKey, ProblemError, ScopeHeaders
from sluice_kit.telemetry.request_spans import RequestSpan
from sluice_kit.workflow import DatabaseAwayError

router = APIRouter(prefix="/v1/runs", tags=["runs"])


def _runs_of(request: Request) -> Runs:
    runs: Runs = request.app.state.runs
    return runs


TheRuns = Annotated[Runs, Depends(_runs_of)]


@router.post("", status_code=202, response_model=RunView | ForeseenView)
async def submit(
    request: RunRequest,
    key: IdempotencyKey,
    scope: ScopeHeaders,
    runs: TheRuns,
    span: RequestSpan,
    *,
    response: Response,
    dry_run: Annotated[bool, Query(description="Say what would come of it and write nothing.")] = False,
) -> RunView | ForeseenView:
    """Submit a run. 202: a new run, verified in the background; 200: the run that this means exists."""
    submission = request.to_submission(scope.tenant)
    with _dependencies():
        if dry_run:
            response.status_code = 200
            return foreseen_view(await runs.foresee(submission))
        digest = _digest("submit", request.model_dump(mode="json"))
        outcome = await runs.submit(submission, key, digest, span)
    if isinstance(outcome, KeyReused):
        raise _key_reused(outcome)
    response.status_code = 202 if outcome.created else 200
    view = run_view(outcome.snapshot)
    response.headers["Location"] = view.links["self"]
    return view


@router.get("")
async def newest(
    scope: ScopeHeaders,
    runs: TheRuns,
    state: RunState | None = None,
    before: Annotated[int | None, Query(description="Microseconds UTC; older runs only.")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> RunList:
    """List the tenant's runs, newest first."""
    with _dependencies():
        found = await runs.newest(scope.tenant, state=state, before=before, limit=limit)
    more = None
    if len(found) == limit:
        chosen = f"&state={state}" if state else ""
        more = f"/v1/runs?before={found[-1].run.submitted_at_utc}&limit={limit}{chosen}"
    return RunList(runs=[run_view(snapshot) for snapshot in found], next=more)


@router.get("/{run_id}")
async def show(run_id: str, scope: ScopeHeaders, runs: TheRuns) -> RunView:
    """Show a run."""
    return run_view(await _found(runs, run_id, scope.tenant))


@router.get("/{run_id}/facts-view")
async def facts_view(run_id: str, scope: ScopeHeaders, runs: TheRuns) -> JSONResponse:
    """The sealed facts view, verified; its digest is the ETag."""
    snapshot = await _found(runs, run_id, scope.tenant)
    with _dependencies():
        sealed = await runs.facts_view(snapshot.run)
    if sealed is None:
        detail = f"{run_id} is {snapshot.run.state}; only a run that became READY has a facts view"
        raise ProblemError(404, "NO_FACTS_VIEW", detail, action=f"See the reasons at /v1/runs/{run_id}.")
    return JSONResponse(sealed.document, headers={"ETag": f'"sha256:{sealed.ref.hash}"'})


@router.post("/{run_id}/close")
async def close(
    run_id: str, request: CloseRequest, key: IdempotencyKey, scope: ScopeHeaders, runs: TheRuns
) -> RunView:
    """Close a run: nothing of it is admitted any more. Closing again changes nothing."""
    del key  # a close derives everything from the run, so that a retry with any key is the same close
    with _dependencies():
        outcome = await runs.close(run_id, scope.tenant, request.reason, force=request.force)
    match outcome:
        case None:
            raise _no_run(run_id)
        case NotClosable(code, detail):
            action = "Try again soon, or close with force if its READY was refused."
            raise ProblemError(409, code, detail, action=action, headers={"Retry-After": "1"})
        case Closed(snapshot):
            return run_view(snapshot)


async def _found(runs: Runs, run_id: str, tenant: str) -> RunSnapshot:
    with _dependencies():
        snapshot = await runs.find(run_id, tenant)
    if snapshot is None:
        raise _no_run(run_id)
    return snapshot


def _no_run(run_id: str) -> ProblemError:
    return ProblemError(
        404, "NO_SUCH_RUN", f"this tenant has no run {run_id}", action="GET /v1/runs lists the tenant's runs."
    )


def _key_reused(outcome: KeyReused) -> ProblemError:
    return ProblemError(
        422,
        "IDEMPOTENCY_KEY_REUSED",
        f"this Idempotency-Key stood for another request, which became {outcome.run_id}",
        action="Use a new key for a new intent; send the original body to repeat the old one.",
    )


def _digest(operation: str, body: dict[str, Any]) -> str:
    return Digest.of(canonical_json([operation, body])).hash


@contextmanager
def _dependencies() -> Iterator[None]:
    """Say which thing we depend on is away; the request may be repeated with the same key."""
    try:
        yield
    except (DatabaseAwayError, StoreUnavailable) as error:
        raise ProblemError(
            503,
            "DEPENDENCY_AWAY",
            str(error),
            action="Send the same request with the same Idempotency-Key again.",
            headers={"Retry-After": "2"},
        ) from error
    except SensitiveContent as error:
        raise ProblemError(
            422, "SENSITIVE_CONTENT", str(error), action="Leave secrets out; name them instead."
        ) from error
    except ArtifactError as error:
        raise ProblemError(
            409,
            "LEDGER_DAMAGED",
            str(error),
            action="Restore the artifact; nothing is served that does not verify.",
        ) from error
