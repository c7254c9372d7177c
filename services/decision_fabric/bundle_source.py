"""Bundles for the step: an activation's content, read once by locator and digest, and held.

A step does no I/O. It calls `resolve` as a look-up of immutable content: what an activation's manifest and
its members hold is fixed by the digest in the event, so the answer is a function of the event. Two things are
not fixed by a digest: whether bytes are there at all, and whether they are still unharmed. So the first
resolution of an activation is sealed, once, in `registry/resolutions`, and holds from then on. A replay that
finds other than what was sealed stops instead of deciding differently.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import orjson
from pydantic import ValidationError

from services.decision_fabric.model import Activation
from sluice_contracts import derived_id
from sluice_decisions import (
    Bundle,
    BundleFault,
    BundleProblem,
    FeatureBinding,
    ModelRuntimeUnavailable,
    load_bundle,
)
from sluice_kit.artifacts import (
    ArtifactMissing,
    ArtifactStore,
    SealConflict,
    StoreUnavailable,
    canonical_json,
)
from sluice_kit.stage import StageError
from sluice_kit.stage.errors import TransactionAbortedError

RESOLUTIONS: Final = "registry/resolutions"
LOADED: Final = "LOADED"
_HELD: Final = 64


class BundleStoreAway(TransactionAbortedError):
    """The artifact store does not answer: the batch waits and is stepped again."""


class BundleGone(StageError):
    """A bundle that decided before cannot be loaded any more; going on would decide differently."""


class ResolutionSpoilt(StageError):
    """The file that says how an activation was resolved the first time cannot be read as that."""


class BundleUnloadable(StageError):
    """This machine cannot run models; says what to install."""


class BundleSource:
    """Resolves activations against the served feature set. Thread-safe.

    `on_problem` hears of every activation whose bundle cannot be used, once.
    """

    def __init__(
        self,
        store: ArtifactStore,
        served: FeatureBinding,
        on_problem: Callable[[Activation, BundleProblem], None] | None = None,
    ) -> None:
        self._store = store
        self._served = served
        self._on_problem = on_problem
        self._held: OrderedDict[Activation, Bundle | BundleProblem] = OrderedDict()
        self._lock = threading.Lock()

    def resolve(self, activation: Activation) -> Bundle | BundleProblem:
        """The bundle, or why it cannot be used; always the same answer for an activation.

        Raises BundleStoreAway, BundleGone, BundleUnloadable, ResolutionSpoilt.
        """
        with self._lock:
            found = self._held.get(activation)
            if found is None:
                found = self._held[activation] = self._resolved(activation)
                if len(self._held) > _HELD:
                    self._held.popitem(last=False)
                if isinstance(found, BundleProblem) and self._on_problem is not None:
                    self._on_problem(activation, found)
            self._held.move_to_end(activation)
            return found

    def held(self, activation: Activation) -> Bundle | BundleProblem | None:
        """What an activation was resolved to, None when it was not asked for; reads nothing."""
        return self._held.get(activation)

    def _resolved(self, activation: Activation) -> Bundle | BundleProblem:
        try:
            path = resolution_path(activation, self._served)
            sealed = self._sealed(path)
            if isinstance(sealed, BundleProblem):
                return sealed
            found = self._load(activation)
            if sealed is None:
                outcome = self._store.seal(path, _document(activation, found))
                sealed = self._sealed(path) if isinstance(outcome, SealConflict) else sealed
        except StoreUnavailable as error:
            raise BundleStoreAway(f"bundle of {activation.event_id}: {error}") from error
        if isinstance(sealed, BundleProblem):
            return sealed
        if sealed == LOADED and isinstance(found, BundleProblem):
            raise BundleGone(
                f"bundle {activation.bundle_id} {activation.revision} was in use and cannot be loaded now: "
                f"{found}. Restore the artifact: without it these batches would be decided differently"
            )
        return found

    def _sealed(self, path: str) -> BundleProblem | str | None:
        """How the activation was resolved the first time; None when it never was."""
        try:
            written = self._store.read(self._store.locate(path))
        except ArtifactMissing:
            return None
        try:
            content = orjson.loads(written)
            if content["outcome"] == LOADED:
                return LOADED
            return BundleProblem(BundleFault(content["outcome"]), content["uri"], content["message"])
        except (ValueError, LookupError, TypeError) as error:
            raise ResolutionSpoilt(
                f"{path} does not say how its bundle was resolved ({error}). Restore the file. If it is "
                "lost, remove it: the bundle is then resolved anew, and a replay may find other decisions"
            ) from error

    def _load(self, activation: Activation) -> Bundle | BundleProblem:
        try:
            locator = activation.locator()
        except ValidationError as error:
            message = error.errors(include_url=False)[0]["msg"]
            return BundleProblem(BundleFault.BUNDLE_INVALID, activation.uri, message)
        try:
            found = load_bundle(self._store, locator, self._served)
        except ModelRuntimeUnavailable as error:
            raise BundleUnloadable(str(error)) from error
        if isinstance(found, BundleProblem):
            return found
        named = (activation.bundle_id, activation.revision, activation.fingerprint)
        sealed = (found.bundle_id, found.revision, found.fingerprint)
        if named != sealed:
            message = f"the activation names {' '.join(named)}, the manifest is {' '.join(sealed)}"
            return BundleProblem(BundleFault.BUNDLE_INVALID, activation.uri, message)
        return found


def resolution_path(activation: Activation, served: FeatureBinding) -> str:
    """Where the resolution of an activation is sealed: one an activation event and served feature set."""
    name = derived_id(
        "sluice.bundle_resolution.v1", activation.event_id, activation.uri, activation.digest, served.hash
    )
    return f"{RESOLUTIONS}/{name[:2]}/{name}.json"


def _document(activation: Activation, found: Bundle | BundleProblem) -> bytes:
    problem = found if isinstance(found, BundleProblem) else None
    return canonical_json(
        {
            "schema_version": 1,
            "activation": activation.event_id,
            "manifest": {"uri": activation.uri, "digest": activation.digest},
            "outcome": LOADED if problem is None else problem.reason.value,
            "uri": activation.uri if problem is None else problem.uri,
            "message": "" if problem is None else problem.message,
        }
    )
