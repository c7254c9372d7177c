"""What the gate's process runs beside its stage: REST, receipt index, evidence. One call wires it."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fastapi import APIRouter

from services.ingestion_gate.api import GateApi, router
from services.ingestion_gate.disk_places import DiskPlaces
from services.ingestion_gate.governance_ledger import GovernanceLedger
from services.ingestion_gate.list_api import list_router
from services.ingestion_gate.list_desk import ListDesk
from services.ingestion_gate.operator_desk import OperatorDesk
from services.ingestion_gate.operator_lane import OperatorLane
from services.ingestion_gate.overlay import GateView
from services.ingestion_gate.posture_api import posture_router
from services.ingestion_gate.posture_desk import PostureDesk
from services.ingestion_gate.quarantine_view import QuarantineView
from services.ingestion_gate.receipt_follower import ReceiptFollower
from services.ingestion_gate.receipt_lookup import ReceiptLookup
from services.ingestion_gate.verifier import EvidenceReader, EvidenceVerifier
from sluice_kit.artifacts import ArtifactStore, open_oracle
from sluice_kit.config import Wiring
from sluice_kit.http.access import Access
from sluice_kit.kafka.record_fetcher import RecordFetcher
from sluice_kit.stage.process import AfterCommit
from sluice_kit.telemetry import Health

PRINCIPAL = "ingestion_gate"


@dataclass(frozen=True, slots=True)
class GateFace:
    """Routers, threads and commit hooks for the stage's process."""

    routers: Sequence[APIRouter]
    background: Sequence[Callable[[threading.Event], None]]
    after_commit: Sequence[AfterCommit]


def open_face(
    wiring: Wiring, view: Callable[[], GateView], store: ArtifactStore, health: Health, *, shard: int = 0
) -> GateFace:
    """Wire everything that looks at the gate's committed state and topics.

    Raises TokenFileError, SecretMissing, OSError (the index folder cannot be made).
    """
    index = DiskPlaces(wiring.state_dir / PRINCIPAL / str(shard) / "receipt-index")
    ledger = GovernanceLedger()
    fetcher = RecordFetcher(wiring, PRINCIPAL)
    follower = ReceiptFollower(wiring, PRINCIPAL, index, ledger, health)
    lookup = ReceiptLookup(index, fetcher)
    quarantine = QuarantineView(lookup, fetcher, ledger, store)
    lane = OperatorLane(wiring, lookup, follower.wait)
    desk = OperatorDesk(
        quarantine,
        lookup,
        lane,
        max_event_bytes=lambda: view().policy.limits.max_event_bytes,
    )
    access = Access.load(wiring.secret_source, health)
    verifier = EvidenceVerifier(wiring, view, EvidenceReader(store, open_oracle(wiring)), health)

    def close_after(stop: threading.Event) -> None:
        stop.wait()
        lane.close()
        fetcher.close()

    postures = PostureDesk(lane, lambda: view().policy.tenants)
    lists = ListDesk(lane, lambda: view().policy.tenants)
    return GateFace(
        routers=(
            access.guarded(router(GateApi(view, lookup, quarantine, desk))),
            access.guarded(posture_router(postures)),
            access.guarded(list_router(lists)),
        ),
        background=(follower.run, verifier.run, close_after),
        after_commit=(verifier.nudge, follower.committed),
    )
