"""The pinned prefix map: who owns which folder of the stores, and the order of path tokens.

Changing a prefix moves data that locators already name, so additions only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from types import MappingProxyType

from sluice_kit.artifacts.errors import ArtifactPathError

TOKEN_ORDER = ("seed", "parameter_hash", "manifest_fingerprint", "scenario_id", "run_id", "utc_day")

_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:=-]{0,199}")
_TOKEN_VALUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}")


class Scan(StrEnum):
    """What happens to bytes that look like they hold a secret."""

    QUARANTINE = "quarantine"  # kept under the quarantine prefix, not published
    FLAG = "flag"  # published as they are (they are evidence), and reported
    NONE = "none"  # binary formats whose text is compressed: a scan would see nothing


@dataclass(frozen=True, slots=True)
class Prefix:
    """One pinned folder of a store. Only `owner` writes it; only `prunable` ones ever lose an object."""

    scheme: str
    path: str
    owner: str
    purpose: str
    scan: Scan = Scan.QUARANTINE
    prunable: bool = False


def _by_path(*prefixes: Prefix) -> Mapping[str, Prefix]:
    return MappingProxyType({f"{prefix.scheme}://{prefix.path}": prefix for prefix in prefixes})


PREFIXES: Mapping[str, Prefix] = _by_path(
    Prefix("artifact", "sr/run_plan", "scenario_runner", "what a run was asked to be"),
    Prefix("artifact", "sr/run_record", "scenario_runner", "what happened to a run, step by step"),
    Prefix("artifact", "sr/run_status", "scenario_runner", "states of a run, one document a transition"),
    Prefix("artifact", "sr/run_facts_view", "scenario_runner", "what may be read of a run, by reference"),
    Prefix("artifact", "sr/receipts/verifier", "scenario_runner", "instance proofs made by SR's verifier"),
    Prefix(
        "artifact", "ig/evidence", "ingestion_gate", "quarantined originals, one object a batch", Scan.FLAG
    ),
    Prefix(
        "artifact", "checkpoints", "every stage", "<service>/<shard>: sealed state", Scan.NONE, prunable=True
    ),
    Prefix("artifact", "wsp", "world_stream_producer", "stream plans"),
    Prefix("artifact", "dla", "decision_log", "decision records by reference", Scan.NONE),
    Prefix("artifact", "registry", "model_registry", "model and policy bundles", Scan.NONE),
    Prefix("artifact", "replay", "operator", "replayed ranges and their digests", Scan.NONE),
    Prefix("artifact", "quarantine/sensitive", "the store", "bytes that looked like a secret", Scan.NONE),
    Prefix("oracle", "worlds", "sluice_oracle", "sealed worlds, one folder each", Scan.NONE),
    Prefix("oracle", "claims", "sluice_oracle", "which bytes an identity was sealed with"),
    Prefix("oracle", "quarantine/sensitive", "the store", "bytes that looked like a secret", Scan.NONE),
)

ENGINE_RECEIPTS = "receipts/engine"
"""Inside a world's folder: instance proofs made by the engine's gates."""

VERIFIER_RECEIPTS = "sr/receipts/verifier"
"""In the artifact store: instance proofs made by SR's own verification. Never the engine's prefix."""

SENSITIVE_QUARANTINE = "quarantine/sensitive"


def token_path(**tokens: str | int | None) -> str:
    """`seed=1/parameter_hash=ab.../run_id=r1`: the given tokens in the pinned order, None left out.

    Raises ArtifactPathError for a token that is not pinned, a value with unsafe characters, or none at all.
    """
    unknown = sorted(set(tokens) - set(TOKEN_ORDER))
    if unknown:
        raise ArtifactPathError(f"unknown path tokens {unknown}; the pinned ones are {list(TOKEN_ORDER)}")
    parts = [f"{name}={tokens[name]}" for name in TOKEN_ORDER if tokens.get(name) is not None]
    for part in parts:
        if not _TOKEN_VALUE.fullmatch(part.partition("=")[2]):
            raise ArtifactPathError(f"path token {part!r}: the value may hold A-Z a-z 0-9 _ . : - only")
    if not parts:
        raise ArtifactPathError("a token path needs at least one token")
    return "/".join(parts)


def prefix_of(scheme: str, path: str) -> Prefix:
    """The pinned prefix that `path` lies in; raises ArtifactPathError for unknown or unsafe paths.

    Tokens (`name=value` segments) must be pinned, appear once and stand in the pinned order.
    """
    segments = path.split("/")
    for segment in segments:
        if not _SEGMENT.fullmatch(segment):
            raise ArtifactPathError(f"{scheme}://{path}: unsafe path segment {segment!r}")
    _check_token_order(scheme, path, segments)
    for depth in range(len(segments), 0, -1):
        prefix = PREFIXES.get(f"{scheme}://{'/'.join(segments[:depth])}")
        if prefix is not None:
            return prefix
    known = ", ".join(sorted(prefix.path for prefix in PREFIXES.values() if prefix.scheme == scheme))
    raise ArtifactPathError(f"{scheme}://{path}: not under a pinned prefix; these are {known}")


def _check_token_order(scheme: str, path: str, segments: list[str]) -> None:
    tokens = [segment.partition("=")[0] for segment in segments if "=" in segment]
    unknown = [token for token in tokens if token not in TOKEN_ORDER]
    if unknown:
        raise ArtifactPathError(f"{scheme}://{path}: unknown path tokens {unknown}")
    ranks = [TOKEN_ORDER.index(token) for token in tokens]
    if any(later <= earlier for earlier, later in pairwise(ranks)):
        raise ArtifactPathError(f"{scheme}://{path}: tokens must stand in the order {', '.join(TOKEN_ORDER)}")
