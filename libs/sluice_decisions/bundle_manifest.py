"""The manifest of a sealed bundle: what it is made of, by locator and digest, and its fingerprint."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sluice_decisions.documents import Revision
from sluice_decisions.feature_binding import FeatureBinding
from sluice_kit.artifacts import Digest, Locator, canonical_json

BUNDLES = "registry/bundles"
MODELS = "registry/models"
DOCUMENTS = "registry/documents"
BundleId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Probe(_Part):
    """Rows and the scores that the sealed model gave them: whoever loads it must get the same.

    `rows` as integers at the features' scales, None where missing; `scores` in millionths;
    `contributions` of each row in millionths.
    """

    rows: tuple[tuple[int | None, ...], ...]
    scores: tuple[int, ...]
    contributions: tuple[tuple[int, ...], ...]


class ModelMember(_Part):
    """The model's text and its check."""

    format: Literal["lightgbm-text-v4"] = "lightgbm-text-v4"
    locator: Locator
    probe: Probe


class DocumentMember(_Part):
    """A policy or threshold table: canonical JSON, whose digest is its fingerprint."""

    revision: Revision
    locator: Locator


class BundleFingerprint(_Part):
    """The shared shape of fingerprints. `inputs` are what the hash is taken over, `created_at` is outside."""

    algo: Literal["sha256"] = "sha256"
    hash: str
    created_at: datetime
    inputs: dict[str, str]

    @classmethod
    def of(cls, inputs: dict[str, str], created_at: datetime) -> Self:
        """sha256 over the canonical JSON of `inputs`: a rebuild of the same members gives the same hash."""
        return cls(
            hash=Digest.of(canonical_json(inputs)).hash,
            created_at=created_at.astimezone(UTC),
            inputs=inputs,
        )


class BundleManifest(_Part):
    """What `load_bundle` starts from."""

    schema_version: Literal[1] = 1
    bundle_id: BundleId
    revision: Revision
    feature_set: FeatureBinding
    model: ModelMember
    policy: DocumentMember
    thresholds: DocumentMember
    evaluation: Locator | None = None
    fingerprint: BundleFingerprint

    def canonical(self) -> bytes:
        """The bytes that are sealed."""
        return canonical_json(self.model_dump(mode="json"))

    @classmethod
    def parse(cls, data: bytes) -> Self | str:
        """Read a manifest; a text says what is wrong with it."""
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            return f"{'.'.join(map(str, first['loc'])) or 'top level'}: {first['msg']}"


def fingerprint_inputs(
    binding: FeatureBinding, model: Locator, policy: Locator, thresholds: Locator
) -> dict[str, str]:
    """What identifies a bundle: the digests of its members and of its feature binding, by name."""
    return {
        "feature_set": f"sha256:{Digest.of(canonical_json(binding.model_dump(mode='json'))).hash}",
        "model": str(model.digest),
        "policy": str(policy.digest),
        "thresholds": str(thresholds.digest),
    }
