"""Verification of a sealed world: every byte against the manifest, at the speed of sha256."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from sluice_kit.artifacts import ArtifactError, ArtifactMissing, DigestMismatch, Locator, bundle_digest
from sluice_oracle.manifest import Verdict
from sluice_oracle.world import World, read_marker


@dataclass(frozen=True, slots=True)
class BadFile:
    """A file that is not what the manifest says, and how."""

    uri: str
    problem: str


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What verification found. `bad` is in manifest order; `failed_gates` are honest FAILs, not damage."""

    uri: str
    manifest_fingerprint: str
    files: int
    bytes: int
    bad: tuple[BadFile, ...]
    failed_gates: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Every byte is as sealed."""
        return not self.bad

    @property
    def first_bad(self) -> BadFile | None:
        """The first bad file, None when there is none."""
        return self.bad[0] if self.bad else None


def _silent(done_bytes: int) -> None:
    del done_bytes


def verify_world(world: World, progress: Callable[[int], None] = _silent) -> VerifyReport:
    """Hash every file and receipt of the world, and hold the marker against them. Constant memory.

    `progress` is called with the bytes done so far, after each file.
    """
    manifest = world.manifest
    locators = [world.locator(output, file) for output in manifest.outputs for file in output.files]
    locators += [world.receipt_locator(gate.gate_id) for gate in manifest.gates]
    bad: list[BadFile] = []
    done = 0
    for locator in locators:
        problem = _problem(world, locator)
        if problem:
            bad.append(BadFile(locator.uri, problem))
        done += locator.bytes
        progress(done)
    marker = read_marker(world.store, world.uri)
    members = [(locator.uri.removeprefix(f"{world.uri}/"), locator.digest) for locator in locators]
    if marker.bundle != bundle_digest(members) or marker.manifest_fingerprint != manifest.fingerprint():
        bad.append(BadFile(f"{world.uri}/_SEALED.json", "the seal marker belongs to another manifest"))
    failed = tuple(gate.gate_id for gate in manifest.gates if gate.verdict is Verdict.FAIL)
    return VerifyReport(world.uri, manifest.manifest_fingerprint, len(locators), done, tuple(bad), failed)


def _problem(world: World, locator: Locator) -> str:
    """What is wrong with one file, '' when nothing is."""
    path = world.store.local_path(locator)
    try:
        if path is None:
            deque(world.store.open_verified(locator), maxlen=0)  # the stream verifies itself
        else:
            with path.open("rb", buffering=0) as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != locator.digest.hash:
                return f"digest mismatch: expected {locator.digest}, actual sha256:{found}"
    except DigestMismatch as error:
        return f"digest mismatch: expected {error.expected}, actual {error.actual}"
    except (FileNotFoundError, ArtifactMissing):
        return "missing"
    except (OSError, ArtifactError) as error:
        return f"cannot be read: {error}"
    return ""
