"""What several modules send: a sealed world, and a payment as a publisher posts it."""

import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sluice_engine import ReferenceEngine
from sluice_engine.interface import EngineSpec
from sluice_kit.artifacts import open_oracle
from sluice_kit.config import Wiring
from sluice_oracle import World, seal_world


def make_world(wiring: Wiring, folder: Path, *, seed: int, events: int = 300) -> World:
    """A sealed world of two days in the wired Oracle Store."""
    spec = EngineSpec("baseline", seed, {"events": events, "customers": 20, "terminals": 40, "days": 2})
    ReferenceEngine().generate(spec, folder, lambda _done, _all: None)
    world = seal_world(folder, open_oracle(wiring), datetime(2026, 1, 1, tzinfo=UTC))
    assert isinstance(world, World)
    return world


def streamed_rows(world: World) -> dict[str, int]:
    """Rows of each output that a run of the world streams."""
    return {
        output.output_id: output.rows
        for output in world.manifest.outputs
        if output.role == "business_traffic"
    }


def posted_payment(**changes: Any) -> dict[str, Any]:
    """A payment with an id of its own, as `POST /v1/events` takes it."""
    number = uuid.uuid4().hex
    return {
        "event_id": f"e-{number}",
        "event_type": "payment",
        "ts_utc": datetime.now(UTC).isoformat(),
        "payload": {
            "payment_id": f"p-{number}",
            "customer_id": "c-1",
            "terminal_id": "t-1",
            "amount_minor": 1999,
            "currency": "EUR",
        },
    } | changes
