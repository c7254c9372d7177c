"""Worlds of plain payments and the READY that names them, for tests and benchmarks."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from services.world_stream_producer.core import STREAMED_ROLE
from sluice_contracts import derived_id, encode
from sluice_kit.artifacts import ArtifactStore, Locator, SealConflict, canonical_json
from sluice_oracle import (
    LABEL_EVENT_SCHEMA,
    PAYMENT_SCHEMA,
    DraftOutput,
    Engine,
    OutputWriter,
    Role,
    World,
    WorldDraft,
    seal_world,
)

START_MICROS: Final = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z
_SEALED_AT: Final = datetime(2026, 1, 1, tzinfo=UTC)
_CHUNK_ROWS: Final = 262_144
LABEL_DELAY_ROWS: Final = 100
"""A label is as late as its payment's row that many rows later, so that it ties with a payment."""


@dataclass(frozen=True, slots=True)
class ReadyWorld:
    """A sealed world, its facts view in the artifact store, and the READY that names it (decoded fields)."""

    world: World
    view: dict[str, Any]
    ready: dict[str, Any]

    @property
    def run_id(self) -> str:
        """The run of the READY."""
        return str(self.ready["run_id"])

    def ready_message(self) -> bytes:
        """READY as it stands on control.run."""
        return encode("run_ready", 1, self.ready)

    def data_files(self) -> list[Path]:
        """The files of the streamed outputs in a local store."""
        paths = []
        for output_id in self.ready["payload"]["streamed_outputs"]:
            output = self.world.manifest.output(output_id)
            for file in output.files:
                path = self.world.store.local_path(self.world.locator(output, file))
                assert path is not None
                paths.append(path)
        return paths


def payments(
    rows: int, *, first: int = 0, seed: int = 1, step_micros: int = 1_000_000, prefix: str = "p"
) -> pa.Table:
    """Payments number `first`.. in time order, `step_micros` apart; equal arguments give equal tables."""
    draw = np.random.default_rng([seed, first])
    numbers = np.arange(first, first + rows)
    keys = _ids(prefix, pa.array(numbers), 12)
    times = pa.array(START_MICROS + numbers * step_micros, pa.int64()).cast(pa.timestamp("us", tz="UTC"))
    channels = pa.array(draw.integers(0, 4, rows))
    online = pc.equal(channels, 1)
    nothing = pa.scalar(None, pa.string())

    def ids(letter: str, count: int, width: int = 7) -> pa.Array:
        return _ids(letter, pa.array(draw.integers(0, count, rows)), width)

    return pa.table(
        {
            "ts_utc": times,
            "row_key": keys,
            "payment_id": keys,
            "customer_id": ids("c", 50_000),
            "terminal_id": ids("t", 5_000),
            "amount_minor": pa.array(draw.integers(100, 100_000, rows)),
            "currency": pa.repeat("EUR", rows),
            "account_id": ids("a", 50_000),
            "card_id": ids("k", 60_000),
            "merchant_id": ids("m", 3_000),
            "merchant_category": ids("", 10_000, 4),
            "channel": pa.array(["pos", "ecom", "atm", "moto"]).take(channels),
            "device_id": pc.if_else(online, ids("d", 70_000), nothing),
            "country": pa.array(["DE", "FR", "NL"]).take(pa.array(draw.integers(0, 3, rows))),
            "ip_address": pc.if_else(online, ids("10.0.0.", 256, 1), nothing),
        },
        schema=PAYMENT_SCHEMA,
    )


def labels_of(rows: pa.Table, every: int, delay_micros: int) -> pa.Table:
    """A FRAUD label for each `every`-th of some payments, learnt `delay_micros` after it."""
    chosen = rows.take(pa.array(np.arange(0, rows.num_rows, every)))
    keys = pc.binary_join_element_wise(pa.scalar("L"), chosen["row_key"], "")
    observed = pc.add(chosen["ts_utc"].cast(pa.int64()), delay_micros).cast(pa.timestamp("us", tz="UTC"))
    made = {
        "ts_utc": observed,
        "row_key": keys,
        "label_id": keys,
        "label": pa.repeat("FRAUD", chosen.num_rows),
        "effective_time": chosen["ts_utc"],
        "observed_time": observed,
        "source": pa.repeat("world_truth", chosen.num_rows),
    }
    columns = {name: made[name] if name in made else chosen[name] for name in LABEL_EVENT_SCHEMA.names}
    return pa.table(columns, schema=LABEL_EVENT_SCHEMA)


def _ids(prefix: str, numbers: pa.Array, width: int) -> pa.Array:
    digits = pc.utf8_lpad(numbers.cast(pa.string()), width, "0")
    return pc.binary_join_element_wise(pa.scalar(prefix), digits, "")


def seal_payments(
    folder: Path,
    oracle: ArtifactStore,
    rows: int,
    *,
    seed: int = 1,
    step_micros: int = 1_000_000,
    outputs: Sequence[str] = ("payments",),
    label_every: int = 0,
) -> World:
    """Write and seal a world with `rows` payments in each of `outputs`.

    With `label_every`, each n-th payment of each output has a label, in the output `<output>_told`.
    """
    drafts = []
    for output_id in outputs:
        told = f"{output_id}_told"
        with (
            OutputWriter(folder, output_id, PAYMENT_SCHEMA, "payment_id") as writer,
            OutputWriter(folder, told, LABEL_EVENT_SCHEMA, "row_key", empty_file=False) as labels,
        ):
            for first in range(0, rows, _CHUNK_ROWS):
                count = min(_CHUNK_ROWS, rows - first)
                made = payments(count, first=first, seed=seed, step_micros=step_micros, prefix=output_id[0])
                writer.write(made)
                if label_every:
                    labels.write(labels_of(made, label_every, LABEL_DELAY_ROWS * step_micros))
        drafts.append(_streamed(output_id, "payment", "payment_id", writer))
        if labels.names:
            drafts.append(_streamed(told, "label", "row_key", labels))
    WorldDraft(
        engine=Engine(name="plain-payments", version="1"),
        scenario_id="plain",
        seed=seed,
        parameters={
            "rows": rows,
            "step_micros": step_micros,
            "outputs": list(outputs),
            "label_every": label_every,
        },
        outputs=tuple(drafts),
    ).save(folder)
    world = seal_world(folder, oracle, _SEALED_AT)
    if isinstance(world, SealConflict):
        raise RuntimeError(str(world))  # noqa: TRY004 - a conflict, not a type
    return world


def _streamed(output_id: str, event_type: str, primary_key: str, writer: OutputWriter) -> DraftOutput:
    return DraftOutput(
        output_id=output_id,
        role=Role.BUSINESS_TRAFFIC,
        event_type=event_type,
        primary_key=primary_key,
        files=tuple(writer.names),
    )


def ready_world(
    world: World, artifacts: ArtifactStore, *, run_id: str, tenant: str = "default", mode: str = "push"
) -> ReadyWorld:
    """Seal a facts view of a world, as the Scenario Runner lays it out, and make the READY that names it."""
    manifest = world.manifest
    outputs = [
        {
            "output_id": output.output_id,
            "role": output.role.value,
            "event_type": output.event_type,
            "primary_key": output.primary_key,
            "schema_version": output.schema_version,
            "rows": output.rows,
            "files": [world.locator(output, file).to_fields() | {"rows": file.rows} for file in output.files],
        }
        for output in manifest.outputs
    ]
    streamed = [output.output_id for output in manifest.outputs if output.role == STREAMED_ROLE]
    pins = {
        "tenant": tenant,
        "run_id": run_id,
        "scenario_id": manifest.scenario_id,
        "manifest_fingerprint": manifest.manifest_fingerprint,
        "parameter_hash": manifest.parameter_hash,
        "seed": manifest.seed,
    }
    view = pins | {
        "format_version": 1,
        "traffic_delivery_mode": mode,
        "world": world.manifest_locator.to_fields(),
        "outputs": outputs,
    }
    sealed = artifacts.put_content("sr/run_facts_view", canonical_json(view), ".json")
    return ReadyWorld(world, view, ready_fields(pins, sealed, streamed, view, mode))


def ready_fields(
    pins: dict[str, Any], facts_view: Locator, streamed: list[str], view: dict[str, Any], mode: str
) -> dict[str, Any]:
    """READY for a sealed facts view."""
    rows = sum(output["rows"] for output in view["outputs"] if output["output_id"] in streamed)
    return pins | {
        "event_id": derived_id("sluice.run_ready.v1", pins["run_id"]),
        "event_type": "run_ready",
        "ts_utc": START_MICROS,
        "schema_version": 1,
        "emitted_at_utc": None,
        "producer": "scenario_runner",
        "parent_event_id": None,
        "traceparent": None,
        "payload": {
            "facts_view": facts_view.to_fields(),
            "equivalence_key": f"key-{pins['run_id']}",
            "traffic_delivery_mode": mode,
            "oracle_engine": "plain-payments",
            "required_gates": [f"{output_id}.integrity" for output_id in streamed],
            "streamed_outputs": streamed,
            "expected_events": rows,
        },
    }
