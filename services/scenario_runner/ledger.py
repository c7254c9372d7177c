"""The run ledger: sealed, numbered, chained artifacts. The first writer wins, the others adopt its bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from services.scenario_runner.core import Ref, RunPlan, RunState
from services.scenario_runner.documents import (
    Document,
    plan_document,
    plan_from,
    record_document,
    status_document,
)
from sluice_kit.artifacts import ArtifactStore, Digest, Locator, SealConflict, canonical_json, token_path


@dataclass(frozen=True, slots=True)
class Sealed:
    """A document and where it is sealed."""

    document: Document
    ref: Ref


class Ledger:
    """Seals documents; blocking, so call it on threads. Raises StoreUnavailable, SensitiveContent."""

    def __init__(self, store: ArtifactStore) -> None:
        self.store = store

    def plan(self, plan: RunPlan) -> tuple[RunPlan, Ref]:
        """Seal run_plan, or return the one that was sealed for this run before."""
        sealed = self._seal(f"sr/run_plan/{_tokens(plan)}/run_plan.json", plan_document(plan))
        return plan_from(sealed.document), sealed.ref

    def receipt(self, plan: RunPlan, document: Mapping[str, Any]) -> Sealed:
        """Seal the verifier's receipt; the first verdict about a run is the verdict."""
        return self._seal(f"sr/receipts/verifier/{_tokens(plan)}/receipt.json", document)

    def facts_view(self, plan: RunPlan, document: Mapping[str, Any]) -> Sealed:
        """Seal run_facts_view."""
        return self._seal(f"sr/run_facts_view/{_tokens(plan)}/run_facts_view.json", document)

    def append(
        self,
        plan: RunPlan,
        plan_ref: Ref,
        state: RunState,
        previous: Sealed | None,
        *,
        at_utc: int,
        detail: Mapping[str, Any],
    ) -> Sealed:
        """Seal the next run_record and the run_status that follows from it; return the status."""
        number = previous.document["revision"] + 1 if previous else 1
        name = f"{_tokens(plan)}/{number:06d}.json"
        record = self._seal(
            f"sr/run_record/{name}", record_document(plan.run_id, number, state, at_utc, detail)
        )
        previous_ref = previous.ref if previous else None
        document = status_document(record.document, record.ref, plan_ref, previous_ref)
        return self._seal(f"sr/run_status/{name}", document)

    def read(self, ref: Ref) -> Document:
        """Read a sealed document, its digest verified. Raises ArtifactMissing, DigestMismatch."""
        document: Document = orjson.loads(self.store.read(locator_of(ref)))
        return document

    def _seal(self, path: str, document: Mapping[str, Any]) -> Sealed:
        data = canonical_json(document)
        outcome = self.store.seal(path, data)
        if isinstance(outcome, SealConflict):
            locator = self.store.locate(path)
            return Sealed(orjson.loads(self.store.read(locator)), ref_of(locator))
        return Sealed(orjson.loads(data), ref_of(outcome))


def locator_of(ref: Ref) -> Locator:
    """The kit's form of a reference."""
    return Locator(
        uri=ref.uri,
        digest=Digest(algo=ref.algo, hash=ref.hash),
        bytes=ref.bytes,
        schema_version=ref.schema_version,
    )


def ref_of(locator: Locator) -> Ref:
    """The core's form of a locator."""
    return Ref.from_fields(locator.to_fields())


def _tokens(plan: RunPlan) -> str:
    return token_path(
        seed=plan.seed,
        parameter_hash=plan.parameter_hash,
        manifest_fingerprint=plan.manifest_fingerprint,
        scenario_id=plan.scenario_id,
        run_id=plan.run_id,
    )
