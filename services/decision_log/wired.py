"""What a log keeper needs of its deployment."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from services.decision_log.settings import PRINCIPAL, nodes_folder, origin_of
from sluice_audit import SigningKey
from sluice_kit.artifacts import ArtifactStore, open_artifacts
from sluice_kit.config import Wiring
from sluice_kit.kafka import ClientConfig, bulk_reader_config
from sluice_kit.workflow import DatabaseAddress

_PATIENCE_MS: Final = 500
"""A turn of the log: what it reads is sealed every other second only."""
_ENOUGH_BYTES: Final = 16_000_000
"""More than a steady flow brings in a turn, so that each is answered at its end."""


@dataclass(frozen=True, slots=True)
class LogParts:
    """Stores, key, names. `owner` says who writes, for people to read."""

    artifacts: ArtifactStore
    nodes: Path
    key: SigningKey
    origin: str
    address: DatabaseAddress
    reader_config: ClientConfig = field(repr=False)
    owner: str

    @classmethod
    def of(cls, wiring: Wiring) -> Self:
        """Raises LookupError (no Postgres), SecretMissing, SigningKeyUnusable."""
        return cls(
            artifacts=open_artifacts(wiring),
            nodes=nodes_folder(wiring),
            key=SigningKey.from_secret(wiring.secret_source),
            origin=origin_of(wiring),
            address=DatabaseAddress.from_wiring(wiring),
            reader_config=bulk_reader_config(wiring, PRINCIPAL, group=PRINCIPAL, patience_ms=_PATIENCE_MS)
            | {"fetch.min.bytes": _ENOUGH_BYTES},
            owner=f"{socket.gethostname()}:{os.getpid()}",
        )
