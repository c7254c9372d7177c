"""The manifest of a world: what it holds, with which digests, and which gates passed it."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from sluice_kit.artifacts import Digest, Locator, canonical_json, token_path

FORMAT_VERSION = 1
MANIFEST_NAME = "manifest.json"
MARKER_NAME = "_SEALED.json"


class Role(StrEnum):
    """What an output is for. Only business_traffic is ever streamed."""

    BUSINESS_TRAFFIC = "business_traffic"
    CONTEXT = "context"
    TRUTH = "truth"


class Verdict(StrEnum):
    """What a gate found."""

    PASS = "PASS"
    FAIL = "FAIL"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Engine(_Frozen):
    """Who made the world. The version names everything that its bytes depend on."""

    name: str
    version: str


class OutputFile(_Frozen):
    """One Parquet file. Times are microseconds UTC, None for an output without ts_utc or without rows."""

    path: str
    digest: Digest
    bytes: int
    rows: int
    min_ts_utc: int | None = None
    max_ts_utc: int | None = None


class Output(_Frozen):
    """One output: its files in row order."""

    output_id: str
    role: Role
    event_type: str | None = None
    primary_key: str
    schema_version: int = 1
    rows: int
    files: tuple[OutputFile, ...]


class GateCheck(_Frozen):
    """One thing that a gate looked at."""

    name: str
    passed: bool
    detail: str


class GateEvidence(_Frozen):
    """The receipt that a gate left, inside the world's folder."""

    path: str
    digest: Digest
    bytes: int


class Gate(_Frozen):
    """A gate's verdict on some outputs."""

    gate_id: str
    output_ids: tuple[str, ...]
    verdict: Verdict
    checks: tuple[GateCheck, ...]
    evidence: GateEvidence


class Manifest(_Frozen):
    """Everything about a world but the moment of its sealing, which is in the marker and in no hash."""

    format_version: int = FORMAT_VERSION
    engine: Engine
    scenario_id: str
    seed: int | None
    parameters: dict[str, Any]
    parameter_hash: str
    notes: dict[str, Any] = Field(default_factory=dict)
    outputs: tuple[Output, ...]
    gates: tuple[Gate, ...]
    manifest_fingerprint: str = ""

    def fingerprint(self) -> str:
        """sha256 (hex) of the manifest's canonical JSON without its own fingerprint."""
        return Digest.of(canonical_json(self.model_dump(mode="json", exclude={"manifest_fingerprint"}))).hash

    def to_bytes(self) -> bytes:
        """manifest.json: canonical JSON, so that equal worlds have equal manifests."""
        return canonical_json(self.model_dump(mode="json"))

    @property
    def path(self) -> str:
        """The world's folder in the Oracle Store."""
        tokens = token_path(
            seed=self.seed,
            parameter_hash=self.parameter_hash,
            manifest_fingerprint=self.manifest_fingerprint,
            scenario_id=self.scenario_id,
        )
        return f"worlds/{tokens}"

    @property
    def claim_path(self) -> str:
        """Where the store notes which bytes this identity (engine, seed, parameters, scenario) has."""
        tokens = token_path(seed=self.seed, parameter_hash=self.parameter_hash, scenario_id=self.scenario_id)
        return f"claims/{self.engine.name}/{self.engine.version}/{tokens}/claim.json"

    def output(self, output_id: str) -> Output:
        """One output by id; raises KeyError naming the known ones."""
        for output in self.outputs:
            if output.output_id == output_id:
                return output
        raise KeyError(f"no output {output_id!r}; this world has {[o.output_id for o in self.outputs]}")


class SealMarker(_Frozen):
    """Written last: a folder without it is not a world."""

    manifest: Locator
    manifest_fingerprint: str
    created_at: str = Field(description="When it was sealed, ISO 8601 UTC; in no hash.")
    bundle: Digest = Field(description="Digest of the sorted manifest of all files.")


def parameter_hash(parameters: dict[str, Any]) -> str:
    """sha256 (hex) of the parameters' canonical JSON."""
    return Digest.of(canonical_json(parameters)).hash
