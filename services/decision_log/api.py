"""REST of the decision log: `/v1/audit`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request

from services.decision_log.links import TOPIC_OF, Kind
from services.decision_log.lookups import Found, Lookups, NotTheWriterError, Proven
from sluice_audit import AuditError
from sluice_kit.artifacts import ArtifactError, StoreUnavailable
from sluice_kit.http import ProblemError, ScopeHeaders
from sluice_kit.workflow import DatabaseAwayError

router = APIRouter(prefix="/v1/audit", tags=["audit"])


def _lookups_of(request: Request) -> Lookups:
    lookups: Lookups = request.app.state.lookups
    return lookups


TheLookups = Annotated[Lookups, Depends(_lookups_of)]
Run = Annotated[str | None, Query(description="Only this run; without it the newest one.")]


@router.get("/heads")
async def heads(
    lookups: TheLookups, limit: Annotated[int, Query(ge=1, le=1000)] = 20
) -> dict[str, list[dict[str, Any]]]:
    """The newest signed heads, newest first."""
    with _dependencies():
        return {"heads": await lookups.heads(limit)}


@router.get("/heads/latest")
async def latest_head(lookups: TheLookups) -> dict[str, Any]:
    """The newest signed head, and the public key of now."""
    with _dependencies():
        found = await lookups.heads(1)
    if not found:
        raise ProblemError(
            404, "NO_HEAD", "nothing is sealed yet", action="Ask again once a payment was decided."
        )
    return {"head": found[0], "public_key": lookups.public_key}


@router.get("/proof/{event_id}")
async def proof(event_id: str, scope: ScopeHeaders, lookups: TheLookups, run: Run = None) -> dict[str, Any]:
    """That the current record of an event is in the log with the newest signed head."""
    with _dependencies():
        proven = await lookups.proof(scope.tenant, event_id, run)
    if proven is None:
        raise _no_record(event_id)
    return _proof_view(proven, lookups.public_key)


@router.get("/{event_id}")
async def records(event_id: str, scope: ScopeHeaders, lookups: TheLookups, run: Run = None) -> dict[str, Any]:
    """The decision records of an event, newest first; what an earlier one says was corrected later."""
    with _dependencies():
        found = await lookups.records(scope.tenant, event_id, run)
    if not found:
        raise _no_record(event_id)
    return {"event_id": event_id, "records": [_record_view(one) for one in found]}


def _record_view(found: Found) -> dict[str, Any]:
    indexed = found.indexed
    place = None
    if indexed.snapshot is not None:
        partition, offset = indexed.snapshot
        place = {"topic": TOPIC_OF[Kind.SNAPSHOT], "partition": partition, "offset": offset}
    return {
        "current": found.current,
        "leaf": indexed.leaf,
        "leaf_hash": found.stored.leaf_hash.hex(),
        "segment": indexed.segment.locator.to_fields(),
        "row": indexed.row,
        "snapshot_at": place,
        "record": found.stored.record,
    }


def _proof_view(proven: Proven, public_key: str) -> dict[str, Any]:
    return {
        **_record_view(proven.found),
        "canonical": proven.found.stored.canonical.decode(),
        "proof": {
            "leaf": proven.proof.leaf,
            "size": proven.proof.size,
            "path": [node.hex() for node in proven.proof.path],
        },
        "head": proven.head.to_fields(),
        "public_key": public_key,
    }


def _no_record(event_id: str) -> ProblemError:
    return ProblemError(
        404,
        "NO_RECORD",
        f"the log has no record of {event_id} for this tenant",
        action="A record is written once the chain is whole or was waited for; see the receipt.",
    )


@contextmanager
def _dependencies() -> Iterator[None]:
    try:
        yield
    except NotTheWriterError as error:
        raise ProblemError(
            503,
            "NOT_THE_WRITER",
            str(error),
            action="Ask the instance that is ready.",
            headers={"Retry-After": "2"},
        ) from error
    except (DatabaseAwayError, StoreUnavailable) as error:
        raise ProblemError(
            503, "DEPENDENCY_AWAY", str(error), action="Ask again soon.", headers={"Retry-After": "2"}
        ) from error
    except (ArtifactError, AuditError) as error:
        raise ProblemError(
            409, "LOG_DAMAGED", str(error), action="Run `sluice audit verify`: it names what was altered."
        ) from error
