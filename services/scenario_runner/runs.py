"""What can be done with runs: submit, advance to a verdict, close. Ledger first, then index and outbox."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from services.scenario_runner import store
from services.scenario_runner.core import (
    UNSETTLED,
    Ref,
    RunPlan,
    RunState,
    Submission,
    WorldFacts,
    may_become,
    plan_run,
)
from services.scenario_runner.documents import (
    CLOSE,
    VERIFY,
    Document,
    closed_fields,
    facts_view_document,
    ready_fields,
    reasons_of,
    receipt_document,
    step_context,
)
from services.scenario_runner.ledger import Ledger, Sealed
from services.scenario_runner.settings import LANE
from services.scenario_runner.store import Admission, IndexedRun
from services.scenario_runner.verification import PASS, Check
from services.scenario_runner.verifier import Verifier
from sluice_contracts import check, encode
from sluice_kit.telemetry import Span, Tracing, parse_traceparent, trace_id_for
from sluice_kit.workflow import Database, OutboxEvent, put


@dataclass(frozen=True, slots=True)
class RunSnapshot:
    """A run with what control.run says about it."""

    run: IndexedRun
    admissions: tuple[Admission, ...] = ()

    def admitted(self, event_type: str) -> Admission | None:
        """The first record of a type about this run on control.run."""
        return next((admission for admission in self.admissions if admission.event_type == event_type), None)


@dataclass(frozen=True, slots=True)
class Accepted:
    """A submission stands for this run; ``created``: it is new."""

    snapshot: RunSnapshot
    created: bool


@dataclass(frozen=True, slots=True)
class KeyReused:
    """The Idempotency-Key stood for another request before; it belongs to ``run_id``."""

    run_id: str


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What a submission would come to; nothing was written."""

    plan: RunPlan
    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class Closed:
    """The run is closed (perhaps it was before)."""

    snapshot: RunSnapshot


@dataclass(frozen=True, slots=True)
class NotClosable:
    """Why the run stays as it is."""

    code: str
    detail: str


class Runs:
    """The use cases of the service. Raises DatabaseAwayError, StoreUnavailable and SensitiveContent."""

    def __init__(
        self,
        database: Database,
        ledger: Ledger,
        verifier: Verifier,
        *,
        tracing: Tracing,
        clock: Callable[[], int],
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.database, self.ledger, self._verifier = database, ledger, verifier
        self._tracing, self._clock, self._changed = tracing, clock, changed

    async def submit(
        self, submission: Submission, key: str, request_digest: str, span: Span
    ) -> Accepted | KeyReused:
        """Record a submission as a run, or find the run that it means.

        ``span`` is the request's: the run's trace goes on from that of its first submission, and the span of
        another one joins it.
        """
        outcome = await self._submit(submission, key, request_digest, span)
        if isinstance(outcome, Accepted):
            span.join(parse_traceparent(outcome.snapshot.run.submitted_in))
            span.attributes |= _about(outcome.snapshot.run.plan) | {"sluice.created": outcome.created}
        return outcome

    async def _submit(
        self, submission: Submission, key: str, request_digest: str, span: Span
    ) -> Accepted | KeyReused:
        async with self.database.transaction() as tx:
            known = await store.remembered(tx, submission.tenant, key)
        if known is not None and known[0] != request_digest:
            return KeyReused(known[1])
        if known is not None and (snapshot := await self.find(known[1], submission.tenant)) is not None:
            return Accepted(snapshot, created=False)
        plan = plan_run(submission, await asyncio.to_thread(self._verifier.open_world, submission))
        run = await asyncio.to_thread(self._planned, plan, span)
        async with self.database.transaction() as tx:
            created = await store.insert(tx, run)
            await store.remember(tx, submission.tenant, key, request_digest, run.plan.run_id)
            remembered = await store.remembered(tx, submission.tenant, key)
        if remembered is not None and remembered[0] != request_digest:
            return KeyReused(remembered[1])
        self._changed()
        snapshot = await self.find(run.plan.run_id, submission.tenant)
        return Accepted(snapshot or RunSnapshot(run), created=created)

    def _planned(self, plan: RunPlan, span: Span) -> IndexedRun:
        plan, plan_ref = self.ledger.plan(plan)
        trace_id = trace_id_for(plan.run_id, str(span.parent) if span.parent else None)
        detail = {"traceparent": str(replace(span.context, trace_id=trace_id))}
        status = self.ledger.append(
            plan, plan_ref, RunState.PLANNED, None, at_utc=self._clock(), detail=detail
        )
        return IndexedRun(plan, plan_ref, status, status.document["at_utc"])

    async def foresee(self, submission: Submission) -> Foreseen:
        """Plan and verify without writing anything."""
        plan = plan_run(submission, await asyncio.to_thread(self._verifier.open_world, submission))
        _, checks = await asyncio.to_thread(self._verifier.verify, plan)
        return Foreseen(plan, checks)

    async def find(self, run_id: str, tenant: str) -> RunSnapshot | None:
        """One run of a tenant."""
        async with self.database.transaction() as tx:
            run = await store.find(tx, run_id, tenant)
            found = await store.admissions(tx, tenant, [run_id])
        return RunSnapshot(run, tuple(found.get(run_id, ()))) if run else None

    async def newest(
        self, tenant: str, *, state: str | None, before: int | None, limit: int
    ) -> list[RunSnapshot]:
        """A tenant's runs, newest first."""
        async with self.database.transaction() as tx:
            runs = await store.newest(tx, tenant, state=state, before=before, limit=limit)
            found = await store.admissions(tx, tenant, [run.plan.run_id for run in runs])
        return [RunSnapshot(run, tuple(found.get(run.plan.run_id, ()))) for run in runs]

    async def facts_view(self, run: IndexedRun) -> Sealed | None:
        """The sealed facts view of a run that has one, its digest verified."""
        ref = _ref(run.status.document["facts_view"])
        return Sealed(await asyncio.to_thread(self.ledger.read, ref), ref) if ref else None

    async def advance(self, run: IndexedRun) -> IndexedRun:
        """Bring an unsettled run to READY or REFUSED. Any instance may repeat it at any point."""
        if run.state is RunState.PLANNED:
            run = await self._move(run, RunState.VERIFYING, {})
        if run.state is not RunState.VERIFYING:
            return run
        with self._step(run, VERIFY) as span:
            state, detail = await asyncio.to_thread(self._verdict, run.plan)
            settled = await self._move(run, state, detail)
            span.attributes["sluice.state"] = settled.state
        return settled

    @contextmanager
    def _step(self, run: IndexedRun, step: str) -> Iterator[Span]:
        """Span of a step, child of the submission; an attempt that fails has an id of its own."""
        parent = parse_traceparent(run.submitted_in)
        context = step_context(run.plan.run_id, step, run.submitted_in)
        with self._tracing.span(f"{step} run", parent=parent, attributes=_about(run.plan)) as span:
            yield span
            span.context = context

    def _verdict(self, plan: RunPlan) -> tuple[RunState, Document]:
        world, checks = self._verifier.verify(plan)
        receipt = self.ledger.receipt(plan, receipt_document(plan, checks, self._verifier.policy.revision))
        proof = {"verifier_receipt": receipt.ref.to_fields()}
        if receipt.document["verdict"] != PASS:
            return RunState.REFUSED, proof | {"reasons": reasons_of(receipt.document)}
        failed = [found.detail for found in checks if not found.passed]
        if world is None or failed:  # it passed before a crash and does not pass now
            return RunState.REFUSED, proof | {"reasons": failed}
        return self._ready(plan, world, receipt.ref, proof)

    def _ready(
        self, plan: RunPlan, world: WorldFacts, receipt: Ref, proof: Document
    ) -> tuple[RunState, Document]:
        view = facts_view_document(plan, world, receipt)
        violations = check(ready_fields(view, receipt, self._clock()))
        if violations:
            reasons = [f"READY would break its contract: {violation.message}" for violation in violations]
            return RunState.REFUSED, proof | {"reasons": reasons}
        sealed = self.ledger.facts_view(plan, view)
        event_id = ready_fields(sealed.document, sealed.ref, 0)["event_id"]
        return RunState.READY, proof | {"facts_view": sealed.ref.to_fields(), "ready_event_id": event_id}

    async def close(
        self, run_id: str, tenant: str, reason: str, *, force: bool
    ) -> Closed | NotClosable | None:
        """Close a run; None when the tenant has no such run. Closing again changes nothing."""
        snapshot = await self.find(run_id, tenant)
        if snapshot is None or snapshot.run.state is RunState.CLOSED:
            return Closed(snapshot) if snapshot else None
        run = snapshot.run
        if run.state in UNSETTLED:
            return NotClosable(
                "RUN_NOT_SETTLED", f"{run_id} is {run.state}; wait until it is READY or REFUSED"
            )
        if run.state is RunState.READY and snapshot.admitted("run_ready") is None and not force:
            detail = f"the READY of {run_id} is not on control.run yet; a closing sent now could overtake it"
            return NotClosable("READY_NOT_ADMITTED", detail)
        kept = ("verifier_receipt", "facts_view", "ready_event_id")
        detail_fields = {name: run.status.document[name] for name in kept} | {"reasons": [reason]}
        with self._step(run, CLOSE):
            await self._move(run, RunState.CLOSED, detail_fields)
        again = await self.find(run_id, tenant)
        return Closed(again or snapshot)

    async def _move(self, run: IndexedRun, state: RunState, detail: Mapping[str, Any]) -> IndexedRun:
        assert may_become(run.state, state), f"{run.plan.run_id}: {run.state} to {state}"
        at_utc = max(
            self._clock(), run.status.document["at_utc"]
        )  # a clock set back does not reorder history
        if run.submitted_in is not None:
            detail = {**detail, "traceparent": run.submitted_in}
        status = await asyncio.to_thread(
            self.ledger.append, run.plan, run.plan_ref, state, run.status, at_utc=at_utc, detail=detail
        )
        moved = IndexedRun(run.plan, run.plan_ref, status, run.submitted_at_utc)
        events = await self.events_of(moved)
        async with self.database.transaction() as tx:
            if await store.move(tx, run.plan.run_id, status):
                for event in events:
                    await put(tx, event)
        self._changed()
        return moved

    async def events_of(self, run: IndexedRun) -> list[OutboxEvent]:
        """The events that the run's last status puts on the lane; the same bytes every time."""
        view = await self.facts_view(run)
        if view is None:
            return []
        document = run.status.document
        if run.state is RunState.READY:
            return [_event(ready_fields(view.document, view.ref, document["at_utc"], run.submitted_in))]
        reason = document["reasons"][0]
        return [_event(closed_fields(view.document, reason, document["at_utc"], run.submitted_in))]


def _event(fields: Document) -> OutboxEvent:
    value = encode(fields["event_type"], fields["schema_version"], fields)
    return OutboxEvent(LANE, fields["run_id"].encode(), value, fields["event_id"])


def _about(plan: RunPlan) -> dict[str, str | bool | int | float]:
    return {"sluice.run_id": plan.run_id, "sluice.tenant": plan.tenant}


def _ref(fields: Mapping[str, Any] | None) -> Ref | None:
    return Ref.from_fields(fields) if fields else None
