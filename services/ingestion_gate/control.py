"""Records that steer the gate: READY and its evidence, closing, policy, release of what was quarantined."""

from services.ingestion_gate.admission import Desk, original_record
from services.ingestion_gate.model import (
    CONTROL_RUN_NO,
    Candidate,
    HeldReady,
    Origin,
    Refusal,
    Run,
    RunStatus,
)
from services.ingestion_gate.policy import MICROSECONDS, GatePolicy, PolicyProblem
from services.ingestion_gate.reasons import Reason
from services.ingestion_gate.screening import Screen
from sluice_contracts import LANES

RELEASE = "quarantine_release"


def run_ready(desk: Desk, candidate: Candidate) -> None:
    """Hold a READY until the gate's own evidence has come; no PASS, no READY on the bus."""
    fields = candidate.fields
    key = (fields["tenant"], fields["run_id"])
    run = desk.overlay.run(key)
    if run is not None:
        if run.standing or run.ready_event_id != fields["event_id"]:
            desk.refuse(candidate, Reason.RUN_CONFLICT, f"run {run.run_id} is {run.status} by another READY")
        else:
            desk.admit(candidate, CONTROL_RUN_NO)  # a retry of what was admitted
        return
    waiting = desk.overlay.held_for(key)
    held = HeldReady(candidate.record, fields["event_id"], desk.now, candidate.origin)
    desk.overlay.held[key] = (*waiting, held)


def run_evidence(desk: Desk, screen: Screen, candidate: Candidate) -> None:
    """Settle the READYs that waited for this evidence: the first one opens the run, or none does."""
    fields, payload = candidate.fields, candidate.fields["payload"]
    desk.admit(candidate, CONTROL_RUN_NO)
    key = (fields["tenant"], fields["run_id"])
    waiting = desk.overlay.held_for(key)
    rest: list[HeldReady] = []
    for held in waiting:
        ready = screen.examine(held.record, held.origin)
        if isinstance(ready, Refusal):  # the policy changed while it waited
            desk.quarantine(ready)
        elif ready.fields["payload"]["facts_view"]["digest"]["hash"] != payload["facts_view_digest"]:
            rest.append(held)
        elif payload["verdict"] != "PASS":
            desk.refuse(ready, Reason.EVIDENCE_FAILED, "; ".join(payload["reasons"])[:500] or "verdict FAIL")
        else:
            open_run(desk, ready)
    if waiting:
        desk.overlay.held[key] = tuple(rest)


def open_run(desk: Desk, ready: Candidate) -> None:
    """Admit a READY whose evidence passed. A second one of the same run is a duplicate or a conflict."""
    fields = ready.fields
    key = (fields["tenant"], fields["run_id"])
    run = desk.overlay.run(key)
    if run is not None and run.ready_event_id != fields["event_id"]:
        desk.refuse(ready, Reason.RUN_CONFLICT, f"run {run.run_id} is {run.status} by another READY")
        return
    desk.admit(ready, CONTROL_RUN_NO)
    if run is None:
        desk.overlay.open_run(
            Run(
                *key,
                desk.overlay.next_run_no(),
                RunStatus.OPEN,
                manifest_fingerprint=fields["manifest_fingerprint"],
                parameter_hash=fields["parameter_hash"],
                scenario_id=fields["scenario_id"],
                seed=fields["seed"],
                delivery_mode=fields["payload"]["traffic_delivery_mode"],
                ready_event_id=fields["event_id"],
            )
        )


def run_closed(desk: Desk, candidate: Candidate) -> None:
    """Close a run; its keys may go, since nothing of it is admitted any more."""
    fields = candidate.fields
    key = (fields["tenant"], fields["run_id"])
    run = desk.overlay.run(key)
    if run is None or run.standing:
        desk.refuse(candidate, Reason.RUN_UNKNOWN, f"run {fields['run_id']} is not one that can be closed")
        return
    desk.admit(candidate, CONTROL_RUN_NO)
    if run.status is RunStatus.OPEN:
        desk.overlay.open_run(run.closed())


def gate_policy(desk: Desk, candidate: Candidate) -> Screen | None:
    """Put a policy in force from the next record on; a policy that cannot be used is quarantined."""
    payload = candidate.fields["payload"]
    policy = GatePolicy.parse(payload["policy"])
    if isinstance(policy, PolicyProblem):
        desk.refuse(candidate, Reason.POLICY_INVALID, str(policy))
        return None
    if policy.revision != payload["revision"] or policy.fingerprint() != payload["fingerprint"]["hash"]:
        desk.refuse(
            candidate, Reason.POLICY_INVALID, "revision or fingerprint is not that of the policy text"
        )
        return None
    if not desk.admit(candidate, CONTROL_RUN_NO):
        return None
    desk.overlay.policy = policy
    desk.use_policy(policy)
    return Screen(policy)


def governance(desk: Desk, screen: Screen, candidate: Candidate) -> None:
    """Record an operator's action; a release brings the original back in front of the gate."""
    if not desk.admit(candidate, CONTROL_RUN_NO) or candidate.fields["payload"]["kind"] != RELEASE:
        return
    original = original_record(candidate.fields)
    if original is None or original.topic not in LANES:
        return
    found = screen.examine(original, Origin.RELEASED)
    if isinstance(found, Refusal):
        desk.quarantine(found, cause=candidate.fields["event_id"])
    elif found.contract.event_type == "run_ready":
        run_ready(desk, found)
    else:
        desk.ordinary(found)


def expire_held(desk: Desk, screen: Screen) -> None:
    """A READY whose evidence never came is refused, by basis `now`."""
    oldest = desk.now - desk.overlay.active_policy.limits.evidence_wait_seconds * MICROSECONDS
    for key, waiting in sorted(desk.overlay.all_held().items()):
        kept = tuple(held for held in waiting if held.since >= oldest)
        if len(kept) == len(waiting):
            continue
        desk.overlay.held[key] = kept
        for held in waiting:
            if held.since < oldest:
                ready = screen.examine(held.record, held.origin)
                if isinstance(ready, Refusal):
                    desk.quarantine(ready)
                else:
                    desk.refuse(
                        ready, Reason.EVIDENCE_TIMEOUT, "no evidence within the policy's time; submit again"
                    )
