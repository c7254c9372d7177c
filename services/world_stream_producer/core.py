"""The pure part: from READY and its facts view to a plan, or to a reason why there is none."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from sluice_kit.telemetry import TraceParent, parse_traceparent, traceparent_for

STREAMED_ROLE: Final = "business_traffic"
PUSH: Final = "push"
PULL: Final = "pull"
LABEL: Final = "label"


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """One file of an output, by reference: `digest` is `algo:hash`, `bytes` its size."""

    uri: str
    digest: str
    bytes: int
    rows: int


@dataclass(frozen=True, slots=True)
class StreamedOutput:
    """One output that is streamed; files are in row order."""

    output_id: str
    event_type: str
    event_version: int
    rows: int
    files: tuple[PlannedFile, ...]


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """Everything that decides which bytes a run streams, and in which order. Row numbers count from 0.

    Of rows of one time, those of an earlier output go first: labels, then the others as READY lists them.
    """

    tenant: str
    run_id: str
    scenario_id: str
    manifest_fingerprint: str
    parameter_hash: str
    seed: int | None
    ready_event_id: str
    facts_view_uri: str
    facts_view_digest: str
    world_manifest: Mapping[str, Any]
    outputs: tuple[StreamedOutput, ...]
    traceparent: str | None = None

    @property
    def total_rows(self) -> int:
        """Rows of all streamed outputs."""
        return sum(output.rows for output in self.outputs)

    def document(self) -> bytes:
        """The plan as canonical JSON; of a READY without a trace, it does not speak of one."""
        fields = asdict(self)
        if self.traceparent is None:
            del fields["traceparent"]
        return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    def context(self, producer: str) -> TraceParent | None:
        """Where the events that `producer` derives from READY stand in its trace; None: READY has none."""
        if parse_traceparent(self.traceparent) is None:
            return None
        return parse_traceparent(traceparent_for(self.ready_event_id, producer, self.traceparent))

    @property
    def digest(self) -> str:
        """sha256 (hex) of the document: a run is resumed by the plan it was begun with, or not at all."""
        return hashlib.sha256(self.document()).hexdigest()


@dataclass(frozen=True, slots=True)
class PlanRefused:
    """Why there is nothing to stream; the codes are those of `plan_stream`."""

    code: str
    detail: str

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"


def delivery_mode(ready: Mapping[str, Any]) -> str:
    """Who delivers the traffic of a run, by its READY (decoded fields): push is ours, pull is backfill's."""
    return str(ready["payload"]["traffic_delivery_mode"])


def plan_stream(
    ready: Mapping[str, Any], view: Mapping[str, Any], lane_types: Mapping[str, Sequence[int]]
) -> StreamPlan | PlanRefused:
    """Plan a run from its READY (decoded fields) and the facts view that READY names (already verified).

    `lane_types` are the event types and versions that the lane may carry. Refusals: FACTS_VIEW_INVALID (a
    field is missing or of another type), PINS_DIFFER (the view belongs to another run), NO_SUCH_OUTPUT,
    ROLE_NOT_STREAMED, EVENT_TYPE_NOT_ON_LANE, EXPECTED_EVENTS_DIFFER.
    """
    try:
        return _plan(ready, view, lane_types)
    except (KeyError, TypeError, ValueError) as error:
        return PlanRefused("FACTS_VIEW_INVALID", f"{type(error).__name__}: {error}")


def _plan(
    ready: Mapping[str, Any], view: Mapping[str, Any], lane_types: Mapping[str, Sequence[int]]
) -> StreamPlan | PlanRefused:
    payload = ready["payload"]
    for pin in ("tenant", "run_id", "scenario_id", "manifest_fingerprint", "parameter_hash", "seed"):
        if view[pin] != ready[pin]:
            return PlanRefused("PINS_DIFFER", f"READY has {pin} {ready[pin]!r}, its facts view {view[pin]!r}")
    listed = {output["output_id"]: output for output in view["outputs"]}
    outputs = []
    for output_id in payload["streamed_outputs"]:
        output = listed.get(output_id)
        if output is None:
            return PlanRefused("NO_SUCH_OUTPUT", f"the facts view does not list {output_id}")
        refusal = _not_streamable(output, lane_types)
        if refusal is not None:
            return refusal
        outputs.append(_streamed(output))
    outputs.sort(key=lambda output: output.event_type != LABEL)  # what was learnt is known to a payment
    plan = StreamPlan(
        tenant=ready["tenant"],
        run_id=ready["run_id"],
        scenario_id=ready["scenario_id"],
        manifest_fingerprint=ready["manifest_fingerprint"],
        parameter_hash=ready["parameter_hash"],
        seed=ready["seed"],
        ready_event_id=ready["event_id"],
        facts_view_uri=payload["facts_view"]["uri"],
        facts_view_digest=payload["facts_view"]["digest"]["hash"],
        world_manifest=view["world"],
        outputs=tuple(outputs),
        traceparent=ready["traceparent"],
    )
    if payload["expected_events"] != plan.total_rows:
        return PlanRefused(
            "EXPECTED_EVENTS_DIFFER",
            f"READY expects {payload['expected_events']} events, the facts view lists {plan.total_rows}",
        )
    return plan


def _not_streamable(output: Mapping[str, Any], lane_types: Mapping[str, Sequence[int]]) -> PlanRefused | None:
    if output["role"] != STREAMED_ROLE:
        return PlanRefused(
            "ROLE_NOT_STREAMED", f"{output['output_id']} has role {output['role']}; only {STREAMED_ROLE} is"
        )
    if output["schema_version"] not in lane_types.get(output["event_type"], ()):
        return PlanRefused(
            "EVENT_TYPE_NOT_ON_LANE",
            f"{output['output_id']} holds {output['event_type']} version {output['schema_version']}",
        )
    return None


def _streamed(output: Mapping[str, Any]) -> StreamedOutput:
    files = tuple(
        PlannedFile(
            uri=file["uri"],
            digest=f"{file['digest']['algo']}:{file['digest']['hash']}",
            bytes=file["bytes"],
            rows=file["rows"],
        )
        for file in output["files"]
    )
    return StreamedOutput(
        output_id=output["output_id"],
        event_type=output["event_type"],
        event_version=output["schema_version"],
        rows=sum(file.rows for file in files),
        files=files,
    )
