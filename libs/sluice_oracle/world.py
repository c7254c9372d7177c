"""A sealed world, opened by reference: its manifest is verified before anything in it is believed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import orjson
from pydantic import ValidationError

from sluice_kit.artifacts import ArtifactMissing, ArtifactStore, DigestMismatch, Locator
from sluice_oracle.manifest import (
    FORMAT_VERSION,
    MANIFEST_NAME,
    MARKER_NAME,
    Manifest,
    Output,
    OutputFile,
    SealMarker,
    Verdict,
)


class WorldError(ValueError):
    """What a locator names is not a world of this format; the message says what it is instead."""


class WorldNotSealed(WorldError):
    """There is no seal marker: sealing did not finish, or the URI is wrong."""


@dataclass(frozen=True, slots=True)
class World:
    """A sealed world in a store. `uri` is its folder, `manifest_locator` what readers are handed."""

    store: ArtifactStore
    uri: str
    manifest: Manifest
    manifest_locator: Locator

    def locator(self, output: Output, file: OutputFile) -> Locator:
        """The locator of one of an output's files."""
        return Locator(
            uri=f"{self.uri}/{file.path}",
            digest=file.digest,
            bytes=file.bytes,
            schema_version=output.schema_version,
        )

    def receipt_locator(self, gate_id: str) -> Locator:
        """The locator of a gate's receipt; raises KeyError for an unknown gate."""
        for gate in self.manifest.gates:
            if gate.gate_id == gate_id:
                evidence = gate.evidence
                return Locator(
                    uri=f"{self.uri}/{evidence.path}", digest=evidence.digest, bytes=evidence.bytes
                )
        raise KeyError(f"no gate {gate_id!r}; this world has {[g.gate_id for g in self.manifest.gates]}")


def load_world(store: ArtifactStore, where: str | Locator) -> World:
    """Open a world by its folder's URI or by the locator of its manifest.

    Raises WorldNotSealed, WorldError, DigestMismatch, ArtifactMissing, ArtifactPathError.
    """
    locator = where if isinstance(where, Locator) else read_marker(store, where).manifest
    try:
        manifest = Manifest.model_validate(orjson.loads(store.read(locator)))
    except (ValidationError, orjson.JSONDecodeError) as error:
        raise WorldError(f"{locator.uri} is no manifest of format {FORMAT_VERSION}: {error}") from error
    actual = manifest.fingerprint()
    if manifest.manifest_fingerprint != actual:
        raise DigestMismatch(locator.uri, manifest.manifest_fingerprint, actual)
    uri = locator.uri.removesuffix(f"/{MANIFEST_NAME}")
    if uri != store.uri(manifest.path):
        raise WorldError(f"{locator.uri}: the manifest belongs to {store.uri(manifest.path)}")
    return World(store, uri, manifest, locator)


def read_marker(store: ArtifactStore, uri: str) -> SealMarker:
    """The seal marker of a world's folder; raises WorldNotSealed where there is none."""
    path = f"{store.path_of(uri.rstrip('/'))}/{MARKER_NAME}"
    try:
        content = store.read(store.locate(path))
    except ArtifactMissing as error:
        raise WorldNotSealed(f"{uri} is not a sealed world: {MARKER_NAME} is missing") from error
    try:
        raw = orjson.loads(content)
        manifest = Locator.load(raw["manifest"])
        return SealMarker.model_validate({**raw, "manifest": manifest.model_dump()})
    except (ValidationError, orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise WorldError(f"{uri}/{MARKER_NAME} cannot be read: {error}") from error


def gate_problems(
    manifest: Manifest, required_gates: Iterable[str], output_ids: Iterable[str]
) -> tuple[str, ...]:
    """Why these outputs may not be read: unknown gates or outputs, missing PASS. Empty: they may.

    Every output needs at least one gate on it, and every gate on it, required or not, must be PASS.
    """
    problems = []
    gates = {gate.gate_id: gate for gate in manifest.gates}
    known = {output.output_id for output in manifest.outputs}
    for gate_id in required_gates:
        if gate_id not in gates:
            problems.append(f"required gate {gate_id} is unknown; this world has {', '.join(sorted(gates))}")
        elif gates[gate_id].verdict is not Verdict.PASS:
            problems.append(f"required gate {gate_id} is {gates[gate_id].verdict}")
    for output_id in output_ids:
        if output_id not in known:
            problems.append(f"output {output_id} is unknown; this world has {', '.join(sorted(known))}")
            continue
        on_it = [gate for gate in manifest.gates if output_id in gate.output_ids]
        if not on_it:
            problems.append(f"output {output_id} has no gate")
        problems += [
            f"gate {gate.gate_id} on {output_id} is FAIL" for gate in on_it if gate.verdict is Verdict.FAIL
        ]
    return tuple(dict.fromkeys(problems))
