"""May this run be READY? A judgement on facts, each with a reason that a person can act on. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from services.scenario_runner.core import STREAMED_ROLE, RunPlan, WorldFacts

PASS: Final = "PASS"
FAIL: Final = "FAIL"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at; ``detail`` is the reason when it did not pass."""

    name: str
    passed: bool
    detail: str


def judge(plan: RunPlan, world: WorldFacts, lane_types: Mapping[str, Sequence[int]]) -> tuple[Check, ...]:
    """Check what the manifest says against what the plan needs.

    ``lane_types`` are the event types, and their versions, that may be delivered. Digests are not its work.
    """
    return (*_world_checks(plan, world), *_output_checks(plan, world, lane_types), *_gate_checks(plan, world))


def _world_checks(plan: RunPlan, world: WorldFacts) -> Iterator[Check]:
    same = plan.manifest_fingerprint == world.manifest_fingerprint
    drift = f"planned on {plan.manifest_fingerprint}, the manifest now has {world.manifest_fingerprint}"
    yield Check("world.manifest", same, world.manifest.uri if same else f"digest drift: {drift}")
    fits = plan.scenario_id == world.scenario_id
    detail = (
        world.scenario_id
        if fits
        else f"asked for scenario {plan.scenario_id}, the world plays {world.scenario_id}"
    )
    yield Check("world.scenario", fits, detail)


def _output_checks(
    plan: RunPlan, world: WorldFacts, lane_types: Mapping[str, Sequence[int]]
) -> Iterator[Check]:
    known = {output.output_id: output for output in world.outputs}
    if not plan.streamed_outputs:
        yield Check("outputs", False, f"nothing to stream: the world has no {STREAMED_ROLE} output")
    for output_id in plan.streamed_outputs:
        output = known.get(output_id)
        name = f"output.{output_id}"
        if output is None:
            yield Check(name, False, f"unknown output {output_id}; the world has {_names(known)}")
        elif output.role != STREAMED_ROLE:
            yield Check(
                name, False, f"output {output_id} has role {output.role}; only {STREAMED_ROLE} is streamed"
            )
        elif output.schema_version not in lane_types.get(output.event_type or "", ()):
            held = f"{output.event_type} version {output.schema_version}"
            yield Check(name, False, f"output {output_id} holds {held}, which no lane carries")
        else:
            yield Check(name, True, f"{output.rows} rows")


def _gate_checks(plan: RunPlan, world: WorldFacts) -> Iterator[Check]:
    gates = {gate.gate_id: gate for gate in world.gates}
    outputs = {output.output_id for output in world.outputs}
    for gate_id in plan.required_gates:
        gate = gates.get(gate_id)
        name = f"gate.{gate_id}"
        if gate is None:
            yield Check(name, False, f"unknown gate {gate_id}; the world has {_names(gates)}")
        elif gate.verdict != PASS:
            yield Check(name, False, f"gate {gate_id} is {gate.verdict}, not {PASS}")
        elif strangers := [output_id for output_id in gate.output_ids if output_id not in outputs]:
            yield Check(name, False, f"gate {gate_id} names unknown outputs {_names(strangers)}")
        else:
            yield Check(name, True, PASS)
    for output_id in plan.streamed_outputs:
        name = f"gated.{output_id}"
        on_it = [gate for gate in world.gates if output_id in gate.output_ids]
        failed = [gate.gate_id for gate in on_it if gate.verdict != PASS]
        if failed:
            yield Check(name, False, f"gate {_names(failed)} on output {output_id} did not pass")
        elif not any(gate.gate_id in plan.required_gates for gate in on_it):
            offered = f"; the world offers {_names(gate.gate_id for gate in on_it)}" if on_it else ""
            yield Check(name, False, f"missing gate: no required gate covers output {output_id}{offered}")
        else:
            yield Check(name, True, _names(gate.gate_id for gate in on_it))


def reusable(plan: RunPlan, receipt: Mapping[str, Any]) -> str | None:
    """Return None when an earlier verifier receipt proves the bytes of this plan's outputs, else why not."""
    if receipt.get("verdict") != PASS:
        return f"the earlier receipt says {receipt.get('verdict')}"
    if receipt.get("manifest_fingerprint") != plan.manifest_fingerprint:
        return f"the earlier receipt is about world {receipt.get('manifest_fingerprint')}"
    missing = set(plan.streamed_outputs) - set(receipt.get("verified_outputs", ()))
    if missing:
        return f"the earlier receipt does not cover {_names(missing)}"
    return None


def _names(ids: Any) -> str:
    return ", ".join(sorted(ids)) or "none"
