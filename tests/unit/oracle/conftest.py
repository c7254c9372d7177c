from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from sluice_engine import EngineSpec, ReferenceEngine
from sluice_kit.artifacts import ArtifactStore, open_store
from sluice_oracle import (
    LABEL_SCHEMA,
    PAYMENT_SCHEMA,
    DraftOutput,
    Engine,
    OutputWriter,
    Role,
    World,
    WorldDraft,
    seal_world,
)

SEALED_AT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def oracle(tmp_path: Path) -> ArtifactStore:
    return open_store(tmp_path / "oracle", "oracle")


@pytest.fixture
def small_draft(tmp_path: Path) -> Path:
    """A reference world of 3,000 payments, unsealed."""
    folder = tmp_path / "small"
    parameters = {"events": 3000, "customers": 60, "terminals": 60, "days": 4}
    ReferenceEngine().generate(EngineSpec("baseline", 5, parameters), folder)
    return folder


@pytest.fixture
def small_world(small_draft: Path, oracle: ArtifactStore) -> World:
    world = seal_world(small_draft, oracle, SEALED_AT)
    assert isinstance(world, World)
    return world


def payment(number: int, **changes: Any) -> dict[str, Any]:
    """One plain payment row."""
    return {
        "ts_utc": 1_767_225_600_000_000 + number * 1_000_000,
        "row_key": f"P{number:06d}",
        "payment_id": f"P{number:06d}",
        "customer_id": f"C{number % 7}",
        "terminal_id": f"T{number % 5}",
        "amount_minor": 100 + number,
        "currency": "EUR",
    } | changes


def payments(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(
        rows, schema=pa.schema([field.with_nullable(True) for field in PAYMENT_SCHEMA])
    )


@pytest.fixture
def draft_of(tmp_path: Path) -> Callable[..., Path]:
    """Write an unsealed world of the given payment rows (and labels), straight to the format."""

    def write(
        rows: list[dict[str, Any]],
        labels: list[dict[str, Any]] | None = None,
        name: str = "draft",
        corridors: dict[str, tuple[float, float]] | None = None,
    ) -> Path:
        folder = tmp_path / name
        with OutputWriter(folder, "payments", PAYMENT_SCHEMA, "row_key") as writer:
            writer.write(payments(rows))
        outputs = [
            DraftOutput(
                output_id="payments",
                role=Role.BUSINESS_TRAFFIC,
                event_type="payment",
                primary_key="row_key",
                files=tuple(writer.names),
            )
        ]
        if labels is not None:
            with OutputWriter(folder, "labels", LABEL_SCHEMA, "row_key") as label_writer:
                label_writer.write(pa.Table.from_pylist(labels, schema=LABEL_SCHEMA))
            outputs.append(
                DraftOutput(
                    output_id="labels",
                    role=Role.TRUTH,
                    primary_key="row_key",
                    files=tuple(label_writer.names),
                    references={"row_key": "payments"},
                )
            )
        WorldDraft(
            engine=Engine(name="by-hand", version="1"),
            scenario_id="test",
            seed=None,
            parameters={"rows": len(rows)},
            outputs=tuple(outputs),
            corridors=corridors or {},
        ).save(folder)
        return folder

    return write


def label(number: int, is_fraud: bool = False) -> dict[str, Any]:
    return {
        "row_key": f"P{number:06d}",
        "is_fraud": is_fraud,
        "scenario": "fraud" if is_fraud else "none",
        "effective_time": 0,
        "observed_time": 1,
    }


@pytest.fixture
def rows_of() -> Callable[..., dict[str, Any]]:
    return payment


@pytest.fixture
def label_of() -> Callable[..., dict[str, Any]]:
    return label
