"""Sealing: from an engine's folder to a world that never changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

from sluice_kit.artifacts import (
    ArtifactStore,
    Digest,
    DigestMismatch,
    Locator,
    SealConflict,
    bundle_digest,
    canonical_json,
)
from sluice_kit.artifacts.prefixes import ENGINE_RECEIPTS
from sluice_oracle.draft import DraftOutput, WorldDraft, load_draft
from sluice_oracle.gates import GateFinding, judge, scan_world
from sluice_oracle.manifest import (
    MANIFEST_NAME,
    MARKER_NAME,
    Gate,
    GateEvidence,
    Manifest,
    Output,
    OutputFile,
    SealMarker,
    Verdict,
    parameter_hash,
)
from sluice_oracle.scanning import OutputFacts
from sluice_oracle.world import World, WorldNotSealed, load_world

Progress = Callable[[str], None]


def _silent(message: str) -> None:
    del message


def seal_world(
    folder: Path, store: ArtifactStore, created_at: datetime, progress: Progress = _silent
) -> World | SealConflict:
    """Judge an unsealed folder, then seal it: files, gate receipts, manifest, claim, and the marker last.

    Sealing the same bytes again changes nothing and gives the same world. Another folder with the same
    engine, seed, parameters and scenario but other bytes is a SealConflict. A world whose gates FAIL is
    sealed too: its manifest says so and nobody may read it. `created_at` (aware) is outside every hash.

    The folder is handed over: where the store is on the same file system its files are linked, not copied,
    and become read-only. Raises DraftError, DigestMismatch (a file changed meanwhile), StoreUnavailable.
    """
    draft = load_draft(folder)
    progress("checking the gates")
    facts = scan_world(folder, draft)
    progress("computing digests")
    outputs = tuple(_output(folder, output, facts[output.output_id]) for output in draft.outputs)
    receipts = {finding: _receipt(finding, outputs) for finding in judge(draft, facts)}
    manifest = _manifest(draft, outputs, receipts)

    claim = canonical_json({"manifest_fingerprint": manifest.manifest_fingerprint})
    taken = _claim_conflict(store, manifest, claim)
    if taken is not None:
        return taken
    progress("sealing the files")
    conflict = _seal_members(folder, store, manifest, receipts)
    if conflict is not None:
        return conflict
    sealed = store.seal(f"{manifest.path}/{MANIFEST_NAME}", manifest.to_bytes())
    if isinstance(sealed, SealConflict):
        return sealed
    claimed = store.seal(manifest.claim_path, claim)
    if isinstance(claimed, SealConflict):
        return claimed
    return _marked(store, manifest, sealed, created_at)


def _output(folder: Path, output: DraftOutput, facts: OutputFacts) -> Output:
    files = []
    for name in output.files:
        found = facts.files[name]
        path = folder / name
        files.append(
            OutputFile(
                path=f"outputs/{name}",
                digest=Digest.of_file(path),
                bytes=path.stat().st_size,
                rows=found.rows,
                min_ts_utc=found.min_ts_utc,
                max_ts_utc=found.max_ts_utc,
            )
        )
    return Output(
        output_id=output.output_id,
        role=output.role,
        event_type=output.event_type,
        primary_key=output.primary_key,
        schema_version=output.schema_version,
        rows=facts.rows,
        files=tuple(files),
    )


def _receipt(finding: GateFinding, outputs: tuple[Output, ...]) -> bytes:
    """What a gate leaves: its verdict and the digest of exactly what it looked at."""
    judged = [output for output in outputs if output.output_id in finding.output_ids]
    members = [(file.path, file.digest) for output in judged for file in output.files]
    return canonical_json(
        {
            "gate_id": finding.gate_id,
            "output_ids": list(finding.output_ids),
            "verdict": finding.verdict,
            "checks": [check.model_dump() for check in finding.checks],
            "digest": bundle_digest(members).model_dump(),
        }
    )


def _receipt_path(finding: GateFinding) -> str:
    """`_passed.flag` is the name that says PASS; a failing gate never leaves it."""
    name = "_passed.flag" if finding.verdict is Verdict.PASS else "_failed.flag"
    return f"{ENGINE_RECEIPTS}/{finding.gate_id}/{name}"


def _manifest(
    draft: WorldDraft, outputs: tuple[Output, ...], receipts: Mapping[GateFinding, bytes]
) -> Manifest:
    gates = tuple(
        Gate(
            gate_id=finding.gate_id,
            output_ids=finding.output_ids,
            verdict=finding.verdict,
            checks=finding.checks,
            evidence=GateEvidence(path=_receipt_path(finding), digest=Digest.of(receipt), bytes=len(receipt)),
        )
        for finding, receipt in receipts.items()
    )
    unnamed = Manifest(
        engine=draft.engine,
        scenario_id=draft.scenario_id,
        seed=draft.seed,
        parameters=draft.parameters,
        parameter_hash=parameter_hash(draft.parameters),
        notes=draft.notes,
        outputs=outputs,
        gates=gates,
    )
    return unnamed.model_copy(update={"manifest_fingerprint": unnamed.fingerprint()})


def _claim_conflict(store: ArtifactStore, manifest: Manifest, claim: bytes) -> SealConflict | None:
    if not store.exists(manifest.claim_path):
        return None
    held = store.locate(manifest.claim_path)
    offered = Digest.of(claim)
    return None if held.digest == offered else SealConflict(held.uri, held.digest, offered)


def _seal_members(
    folder: Path, store: ArtifactStore, manifest: Manifest, receipts: Mapping[GateFinding, bytes]
) -> SealConflict | None:
    for output in manifest.outputs:
        for file in output.files:
            source = folder / file.path.removeprefix("outputs/")
            sealed = store.link_file(f"{manifest.path}/{file.path}", source)
            if isinstance(sealed, SealConflict):
                return sealed
            if sealed.digest != file.digest:
                raise DigestMismatch(str(source), str(file.digest), str(sealed.digest))
    for finding, receipt in receipts.items():
        sealed = store.seal(f"{manifest.path}/{_receipt_path(finding)}", receipt)
        if isinstance(sealed, SealConflict):
            return sealed
    return None


def _marked(store: ArtifactStore, manifest: Manifest, sealed: Locator, created_at: datetime) -> World:
    """Write the marker unless an earlier seal of the same bytes did; its time stays the first one."""
    uri = store.uri(manifest.path)
    try:
        return load_world(store, uri)
    except WorldNotSealed:
        members = [(file.path, file.digest) for output in manifest.outputs for file in output.files]
        members += [(gate.evidence.path, gate.evidence.digest) for gate in manifest.gates]
        marker = SealMarker(
            manifest=sealed,
            manifest_fingerprint=manifest.manifest_fingerprint,
            created_at=created_at.isoformat(),
            bundle=bundle_digest(members),
        )
        store.seal(f"{manifest.path}/{MARKER_NAME}", canonical_json(marker.model_dump(mode="json")))
        return load_world(store, uri)
