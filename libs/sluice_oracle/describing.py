"""A sealed world in plain values, for JSON answers and people."""

from __future__ import annotations

from typing import Any

from sluice_oracle.manifest import Verdict
from sluice_oracle.world import World, read_marker


def describe(world: World) -> dict[str, Any]:
    """Identity, outputs (without their files' details) and gates of a world, JSON-ready."""
    manifest = world.manifest
    return {
        "uri": world.uri,
        "manifest": world.manifest_locator.to_fields(),
        "manifest_fingerprint": manifest.manifest_fingerprint,
        "parameter_hash": manifest.parameter_hash,
        "scenario_id": manifest.scenario_id,
        "seed": manifest.seed,
        "engine": manifest.engine.model_dump(),
        "created_at": read_marker(world.store, world.uri).created_at,
        "outputs": [
            output.model_dump(mode="json", exclude={"files"})
            | {"files": len(output.files), "bytes": sum(file.bytes for file in output.files)}
            for output in manifest.outputs
        ],
        "gates": [
            {
                "gate_id": gate.gate_id,
                "output_ids": list(gate.output_ids),
                "verdict": gate.verdict.value,
                "failed_checks": [
                    f"{check.name}: {check.detail}" for check in gate.checks if not check.passed
                ],
            }
            for gate in manifest.gates
        ],
        "failed_gates": [gate.gate_id for gate in manifest.gates if gate.verdict is Verdict.FAIL],
        "notes": manifest.notes,
    }
