"""Sealed artifacts: locators, digests, the pinned prefix map and the write-once store.

>>> store = open_store("/tmp/artifacts")
>>> locator = store.seal("sr/run_plan/" + token_path(run_id="r1") + "/run_plan.json", b"{}")
>>> store.read(locator)
b'{}'
"""

from sluice_kit.artifacts.async_store import AsyncArtifactStore
from sluice_kit.artifacts.errors import (
    ArtifactError,
    ArtifactMissing,
    ArtifactPathError,
    DigestMismatch,
    SensitiveContent,
    StoreUnavailable,
    UnsupportedDigest,
)
from sluice_kit.artifacts.locator import Digest, Locator, bundle_digest, canonical_json
from sluice_kit.artifacts.objects import StoredObject
from sluice_kit.artifacts.opening import StoreRoot, open_artifacts, open_oracle, open_store
from sluice_kit.artifacts.prefixes import PREFIXES, TOKEN_ORDER, Prefix, Scan, prefix_of, token_path
from sluice_kit.artifacts.sensitive import sensitive_findings
from sluice_kit.artifacts.store import ArtifactStore, SealConflict, SensitiveReport

__all__ = [
    "PREFIXES",
    "TOKEN_ORDER",
    "ArtifactError",
    "ArtifactMissing",
    "ArtifactPathError",
    "ArtifactStore",
    "AsyncArtifactStore",
    "Digest",
    "DigestMismatch",
    "Locator",
    "Prefix",
    "Scan",
    "SealConflict",
    "SensitiveContent",
    "SensitiveReport",
    "StoreRoot",
    "StoreUnavailable",
    "StoredObject",
    "UnsupportedDigest",
    "bundle_digest",
    "canonical_json",
    "open_artifacts",
    "open_oracle",
    "open_store",
    "prefix_of",
    "sensitive_findings",
    "token_path",
]
