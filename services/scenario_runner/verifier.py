"""Reading worlds and evidence: all of SR's I/O on what it verifies. Blocking, so called on threads."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import orjson

from services.scenario_runner.core import (
    FileFacts,
    GateFacts,
    OutputFacts,
    Ref,
    RunPlan,
    Submission,
    WorldFacts,
    WorldUnreadable,
)
from services.scenario_runner.ledger import locator_of, ref_of
from services.scenario_runner.settings import Policy
from services.scenario_runner.verification import Check, judge, reusable
from sluice_kit.artifacts import ArtifactError, ArtifactStore, StoreUnavailable
from sluice_oracle import World, WorldError, load_world, read_marker


@dataclass(frozen=True, slots=True)
class Verifier:
    """Verifies worlds in the Oracle Store; reads earlier receipts from the artifact store."""

    oracle: ArtifactStore
    artifacts: ArtifactStore
    policy: Policy
    lane_types: Mapping[str, Sequence[int]]

    def open_world(self, submission: Submission) -> WorldFacts | WorldUnreadable:
        """Read and verify the manifest that a submission names. Raises StoreUnavailable."""
        try:
            marker = read_marker(self.oracle, submission.world_uri)
            if submission.world_digest not in (None, marker.manifest.digest.hash):
                return WorldUnreadable(
                    f"digest drift: {submission.world_uri} has manifest {marker.manifest.digest.hash}, "
                    f"the submission names {submission.world_digest}"
                )
            return facts_of(load_world(self.oracle, marker.manifest))
        except StoreUnavailable:
            raise
        except (ArtifactError, WorldError) as error:
            return WorldUnreadable(f"the world cannot be verified: {error}")

    def verify(self, plan: RunPlan) -> tuple[WorldFacts | None, tuple[Check, ...]]:
        """Verify everything that READY of this plan would promise. Raises StoreUnavailable."""
        if plan.unreadable is not None:
            return None, (Check("world", passed=False, detail=plan.unreadable),)
        world = self.open_world(Submission(plan.tenant, _folder(plan.world_uri), plan.world_digest))
        if isinstance(world, WorldUnreadable):
            return None, (Check("world", passed=False, detail=world.reason),)
        checks = judge(plan, world, self.lane_types)
        evidence = itertools.chain(self._receipts(plan, world), self._bytes(plan, world))
        return world, (*checks, *evidence)

    def _receipts(self, plan: RunPlan, world: WorldFacts) -> Iterator[Check]:
        for gate in world.gates:
            if gate.gate_id in plan.required_gates:
                yield self._digest_check(f"receipt.{gate.gate_id}", gate.receipt)

    def _bytes(self, plan: RunPlan, world: WorldFacts) -> Iterator[Check]:
        if plan.reuse_evidence is not None:
            yield self._reuse(plan, plan.reuse_evidence)
            return
        if not self.policy.verify_output_bytes:
            yield Check("bytes", passed=True, detail=f"left to the readers by policy {self.policy.revision}")
            return
        for output in world.outputs:
            if output.output_id in plan.streamed_outputs:
                for file in output.files:
                    yield self._digest_check(f"bytes.{output.output_id}", file.ref)

    def _reuse(self, plan: RunPlan, evidence: Ref) -> Check:
        try:
            receipt = orjson.loads(self.artifacts.read(locator_of(evidence)))
        except StoreUnavailable:
            raise
        except (ArtifactError, ValueError) as error:
            return Check("reuse", passed=False, detail=f"reuse evidence cannot be verified: {error}")
        if not evidence.uri.startswith("artifact://sr/receipts/verifier/"):
            return Check(
                "reuse", passed=False, detail=f"{evidence.uri} is no receipt of this service's verifier"
            )
        problem = reusable(plan, receipt)
        if problem is not None:
            return Check("reuse", passed=False, detail=f"reuse refused: {problem}")
        return Check(
            "reuse", passed=True, detail=f"bytes verified by run {receipt['run_id']}, {evidence.uri}"
        )

    def _digest_check(self, name: str, ref: Ref) -> Check:
        try:
            deque(self.oracle.open_verified(locator_of(ref)), maxlen=0)
        except StoreUnavailable:
            raise
        except ArtifactError as error:
            return Check(name, passed=False, detail=f"digest drift: {error}")
        return Check(name, passed=True, detail=f"{ref.uri} {ref.algo}:{ref.hash}")


def facts_of(world: World) -> WorldFacts:
    """The world as the core sees it."""
    manifest = world.manifest
    return WorldFacts(
        manifest=ref_of(world.manifest_locator),
        engine=f"{manifest.engine.name}-{manifest.engine.version}",
        manifest_fingerprint=manifest.manifest_fingerprint,
        parameter_hash=manifest.parameter_hash,
        seed=manifest.seed,
        scenario_id=manifest.scenario_id,
        outputs=tuple(
            OutputFacts(
                output_id=output.output_id,
                role=output.role.value,
                event_type=output.event_type,
                primary_key=output.primary_key,
                schema_version=output.schema_version,
                rows=output.rows,
                files=tuple(
                    FileFacts(
                        ref_of(world.locator(output, file)), file.rows, file.min_ts_utc, file.max_ts_utc
                    )
                    for file in output.files
                ),
            )
            for output in manifest.outputs
        ),
        gates=tuple(
            GateFacts(
                gate.gate_id, gate.verdict.value, gate.output_ids, ref_of(world.receipt_locator(gate.gate_id))
            )
            for gate in manifest.gates
        ),
    )


def _folder(manifest_uri: str) -> str:
    return manifest_uri.removesuffix("/manifest.json")
