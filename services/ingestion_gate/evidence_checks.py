"""Is a READY what its facts view says? Pure: the READY's fields and the view's document in, reasons out.

The facts view is the scenario runner's ``run_facts_view``: pins, outputs with role, gates with verdict and
receipt locator.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

STREAMED_ROLE: Final = "business_traffic"
PASS: Final = "PASS"
PINS: Final = ("tenant", "run_id", "scenario_id", "manifest_fingerprint", "parameter_hash")
PROMISES: Final = ("traffic_delivery_mode", "expected_events", "equivalence_key", "oracle_engine")


def view_problems(ready: Mapping[str, Any], view: Mapping[str, Any]) -> list[str]:
    """Why the view does not bear the READY out; empty when it does."""
    try:
        return list(_problems(ready, view))
    except (KeyError, TypeError, AttributeError) as error:
        return [f"the facts view lacks what a facts view has: {type(error).__name__} {error}"]


def required_receipts(ready: Mapping[str, Any], view: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Gate id to receipt locator (plain fields) of every required gate that the view has a receipt for."""
    required = set(ready["payload"]["required_gates"])
    return {
        gate["gate_id"]: gate["receipt"]
        for gate in view["gates"]
        if gate["gate_id"] in required and gate.get("receipt")
    }


def receipt_problem(gate_id: str, receipt: Any, view: Mapping[str, Any]) -> str | None:
    """Why a gate's own receipt does not prove its PASS, None when it does."""
    if not isinstance(receipt, Mapping):
        return f"the receipt of gate {gate_id} is not an object"
    for name, wanted in (("gate_id", gate_id), ("verdict", PASS)):
        found = receipt.get(name)
        if found is not None and found != wanted:
            return f"the receipt of gate {gate_id} says {name} {found}, not {wanted}"
    world = receipt.get("manifest_fingerprint")
    if world is not None and world != view["manifest_fingerprint"]:
        return f"the receipt of gate {gate_id} is about world {world}"
    return None


def _problems(ready: Mapping[str, Any], view: Mapping[str, Any]) -> Iterator[str]:
    promised = ready["payload"]
    for name in PINS:
        if view[name] != ready[name]:
            yield f"READY has {name} {ready[name]}, the facts view {view[name]}"
    for name in PROMISES:
        if view[name] != promised[name]:
            yield f"READY has {name} {promised[name]}, the facts view {view[name]}"
    for name in ("required_gates", "streamed_outputs"):
        if sorted(view[name]) != sorted(promised[name]):
            yield f"{name} of READY and facts view differ"
    outputs = {output["output_id"]: output for output in view["outputs"]}
    yield from _output_problems(promised, outputs)
    yield from _gate_problems(promised, view, outputs)


def _output_problems(promised: Mapping[str, Any], outputs: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    streamed: Sequence[str] = promised["streamed_outputs"]
    if not streamed:
        yield "READY streams no output"
    for output_id in streamed:
        output = outputs.get(output_id)
        if output is None:
            yield f"streamed output {output_id} is not in the facts view"
        elif output["role"] != STREAMED_ROLE:
            yield f"streamed output {output_id} has role {output['role']}, not {STREAMED_ROLE}"
    rows = sum(outputs[output_id]["rows"] for output_id in streamed if output_id in outputs)
    if rows != promised["expected_events"]:
        yield f"READY expects {promised['expected_events']} events, the streamed outputs have {rows} rows"


def _gate_problems(
    promised: Mapping[str, Any], view: Mapping[str, Any], outputs: Mapping[str, Any]
) -> Iterator[str]:
    gates = {gate["gate_id"]: gate for gate in view["gates"]}
    known = set(outputs) | set(view.get("withheld", ()))
    covered: set[str] = set()
    for gate_id in promised["required_gates"]:
        gate = gates.get(gate_id)
        if gate is None:
            yield f"required gate {gate_id} is not in the facts view"
            continue
        if gate["verdict"] != PASS:
            yield f"required gate {gate_id} is {gate['verdict']}, not {PASS}"
        if not gate.get("receipt"):
            yield f"required gate {gate_id} has no receipt"
        strangers = sorted(set(gate["output_ids"]) - known)
        if strangers:
            yield f"required gate {gate_id} covers unknown outputs {', '.join(strangers)}"
        covered.update(gate["output_ids"])
    for output_id in promised["streamed_outputs"]:
        if output_id not in covered:
            yield f"no required gate covers streamed output {output_id}"
