"""The reference engine: a deterministic, vectorised world of card payments, written day by day."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa
from pydantic import ValidationError

from sluice_engine.draws import generator
from sluice_engine.events import Events
from sluice_engine.fraud import added_fraud, bad_terminals, turn_bad
from sluice_engine.genuine import events_per_day, genuine_day
from sluice_engine.interface import EngineSpec, ParametersError, Progress
from sluice_engine.parameters import DAY_MICROS, WorldParameters
from sluice_engine.population import Customers, Terminals, make_customers, make_terminals
from sluice_engine.tables import (
    Names,
    card_table,
    customer_table,
    label_event_table,
    label_table,
    payment_table,
    terminal_table,
)
from sluice_oracle.columns import (
    LABEL_EVENT_SCHEMA,
    LABEL_EVENTS,
    LABEL_SCHEMA,
    PAYMENT_SCHEMA,
    OutputWriter,
)
from sluice_oracle.draft import DraftOutput, WorldDraft
from sluice_oracle.manifest import Engine, Role

ENGINE_VERSION = "1.1.0"


def _no_progress(done: int, total: int) -> None:
    del done, total


class ReferenceEngine:
    """Makes the world that the parameters and the seed describe; see WorldParameters.

    Memory is a few hundred bytes an event of the busiest day plus about 400 bytes a customer.
    """

    name = "sluice-reference"
    # the bytes depend on numpy's generators and pyarrow's Parquet writer too
    version = f"{ENGINE_VERSION}-numpy{np.__version__}-pyarrow{pa.__version__}"

    def generate(self, spec: EngineSpec, folder: Path, progress: Progress = _no_progress) -> WorldDraft:
        """Write the world into an empty or new `folder`; see WorldEngine.generate."""
        try:
            parameters = WorldParameters.model_validate(spec.parameters)
        except ValidationError as error:
            wrong = "; ".join(
                f"{'.'.join(str(part) for part in item['loc']) or 'parameters'}: {item['msg']}"
                for item in error.errors()
            )
            raise ParametersError(f"{self.name} does not take these parameters: {wrong}") from error
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise FileExistsError(f"{folder} is not empty; an engine writes into a folder of its own")
        terminals = make_terminals(parameters, spec.seed)
        customers = make_customers(parameters, spec.seed, terminals)
        names = Names(parameters)
        files = {
            "customers": _context(folder, "customers", customer_table(customers, names), "customer_id"),
            "cards": _context(folder, "cards", card_table(customers, names), "card_id"),
            "terminals": _context(folder, "terminals", terminal_table(terminals, names), "terminal_id"),
        }
        files |= _traffic(folder, parameters, spec.seed, (customers, terminals, names), progress)
        draft = self._draft(spec, parameters, files)
        draft.save(folder)
        return draft

    def _draft(
        self, spec: EngineSpec, parameters: WorldParameters, files: dict[str, list[str]]
    ) -> WorldDraft:
        def output(
            output_id: str, role: Role, key: str, references: dict[str, str], event_type: str | None = None
        ) -> DraftOutput:
            return DraftOutput(
                output_id=output_id,
                role=role,
                event_type=event_type,
                primary_key=key,
                files=tuple(files[output_id]),
                references=references,
            )

        to_context = {"customer_id": "customers", "card_id": "cards", "terminal_id": "terminals"}
        outputs = [
            output("payments", Role.BUSINESS_TRAFFIC, "row_key", to_context, "payment"),
            output("customers", Role.CONTEXT, "customer_id", {}),
            output("cards", Role.CONTEXT, "card_id", {"customer_id": "customers"}),
            output("terminals", Role.CONTEXT, "terminal_id", {}),
            output("labels", Role.TRUTH, "row_key", {"row_key": "payments"}),
        ]
        if LABEL_EVENTS in files:
            references = to_context | {"payment_id": "payments"}
            outputs.append(output(LABEL_EVENTS, Role.BUSINESS_TRAFFIC, "row_key", references, "label"))
        return WorldDraft(
            engine=Engine(name=self.name, version=self.version),
            scenario_id=spec.scenario_id,
            seed=spec.seed,
            parameters=parameters.model_dump(mode="json"),
            outputs=tuple(outputs),
            corridors={"labels": _corridor(parameters)},
        )


def _corridor(parameters: WorldParameters) -> tuple[float, float]:
    """Fraud between a third and twice what was asked for, with room for single cases in small worlds."""
    share, slack = parameters.fraud.total, 120 / parameters.events
    if share == 0:
        return 0.0, 0.0
    return max(0.0, share / 3 - slack), min(1.0, 2 * share + slack)


def _context(folder: Path, output_id: str, table: pa.Table, key: str) -> list[str]:
    with OutputWriter(folder, output_id, table.schema, key) as writer:
        writer.write(table)
    return writer.names


def _traffic(
    folder: Path,
    parameters: WorldParameters,
    seed: int,
    population: tuple[Customers, Terminals, Names],
    progress: Progress,
) -> dict[str, list[str]]:
    """Payments, the truth about them and labels as traffic; the files of each output that has rows."""
    _, terminals, names = population
    with ExitStack() as stack:
        payments = stack.enter_context(OutputWriter(folder, "payments", PAYMENT_SCHEMA, "row_key"))
        labels = stack.enter_context(OutputWriter(folder, "labels", LABEL_SCHEMA, "row_key"))
        told = stack.enter_context(
            OutputWriter(folder, LABEL_EVENTS, LABEL_EVENT_SCHEMA, "row_key", empty_file=False)
        )
        done = 0
        for events in _days(parameters, seed, population):
            payments.write(payment_table(done, events, names, terminals))
            labels.write(label_table(done, events, names, parameters))
            told.write(label_event_table(done, events, names, terminals, parameters))
            done += len(events)
            progress(done, parameters.events)
    written = {"payments": payments.names, "labels": labels.names}
    return written | ({LABEL_EVENTS: told.names} if told.names else {})


def _days(
    parameters: WorldParameters, seed: int, population: tuple[Customers, Terminals, Names]
) -> Iterator[Events]:
    """Each day's payments in time order; all days together are exactly `events`."""
    customers, terminals, _ = population
    added = added_fraud(parameters, seed, customers, terminals)
    if len(added) > parameters.events // 2:  # a tiny world: its few events cannot hold every case
        added = added.take(np.sort(generator(seed, 9).permutation(len(added))[: parameters.events // 2]))
    counts = events_per_day(parameters, seed, parameters.events - len(added))
    ends = parameters.start_micros + np.arange(1, parameters.days + 1, dtype=np.int64) * DAY_MICROS
    cuts = np.concatenate([[0], np.searchsorted(added.ts, ends, side="left")])
    bad = None
    for day in range(parameters.days):
        genuine = genuine_day(
            parameters, seed, day=day, count=int(counts[day]), customers=customers, terminals=terminals
        )
        if bad is None:
            visits = np.bincount(genuine.terminal, minlength=parameters.terminals)
            bad = bad_terminals(parameters, seed, visits.astype(np.int64))
        genuine = turn_bad(seed, day, genuine, bad)
        extra = added.take(slice(int(cuts[day]), int(cuts[day + 1])))
        yield Events.joined([genuine, extra]).in_time_order()
