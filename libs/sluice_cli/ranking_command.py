"""`sluice decision ranking`: how well the scores that decided a run rank the fraud of its world."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

import numpy as np
import typer

from sluice_cli.options import (
    DEFAULT_WIRING,
    AsJson,
    DelayDays,
    Reader,
    Tenant,
    TestDays,
    TrainDays,
    TrainFrom,
    TruthWorld,
    WiringFile,
    print_json,
)
from sluice_cli.progress import counting
from sluice_cli.recorded_run import DECISIONS, PAYMENTS, BusHistory, recorded_history
from sluice_cli.reporting import reported
from sluice_cli.run_truth import named_world, world_of_run
from sluice_cli.world_training import given_periods, last_periods, scored_table
from sluice_decisions.training import Evaluation, LabelledTable, Periods, TableProblem, split
from sluice_kit.config import load_wiring
from sluice_kit.replay import ReplayError
from sluice_kit.replay.reading import PRINCIPAL
from sluice_oracle import WorldError

_EXPECTED: Final = (TableProblem, WorldError, OSError, LookupError)


@dataclass(frozen=True, slots=True)
class Ranked:
    """How the test period's payments were ranked; `unscored` ones were decided without a model, or not."""

    payments: int
    unscored: int
    evaluation: Evaluation


def decision_ranking(  # noqa: PLR0917 - typer makes options of parameters
    run: Annotated[str, typer.Option("--run", help="Run whose decisions are rated.")],
    world: TruthWorld = None,
    train_from: TrainFrom = None,
    train_days: TrainDays = 7,
    delay_days: DelayDays = 7,
    test_days: TestDays = 7,
    tenant: Tenant = "default",
    principal: Reader = PRINCIPAL,
    wiring: WiringFile = DEFAULT_WIRING,
    as_json: AsJson = False,
) -> None:
    """Rate the recorded scores of a run on the days and payments on which `bundle train` tests a model.

    AUC ROC, average precision and card precision of the top 100, against the truth of the run's world.
    Payments that have no score are counted and left out.
    """
    with reported(*_EXPECTED, as_json=as_json), counting("records") as advance:
        wired = load_wiring(wiring)
        with recorded_history(wired, principal, advance) as history:
            scores, worlds = recorded_scores(history, (tenant, run))
            told = (
                world_of_run(history, wired, (tenant, run), "--world")
                if world is None
                else named_world(world, wiring, worlds)
            )
            table = scored_table(told, scores)
        ranked = ranking_of(table, given_periods(train_from, train_days, delay_days, test_days))
    print_json(_document(run, ranked)) if as_json else _show(run, ranked)


def recorded_scores(history: BusHistory, run: tuple[str, str]) -> tuple[dict[str, int], set[str]]:
    """Scores of a (tenant, run) by payment id, of those that have one; fingerprints of the worlds in it.

    Raises ReplayError RUN_NOT_FOUND when nothing of the run was decided.
    """
    scores: dict[str, int | None] = {}
    worlds: set[str] = set()
    for fields in history.events(DECISIONS, run):
        scores[fields["payload"]["subject_event_id"]] = fields["payload"]["score_ppm"]
        worlds.add(fields["manifest_fingerprint"])
    if not scores:
        raise ReplayError("RUN_NOT_FOUND", f"no decision of run {run[1]}, tenant {run[0]}, on {DECISIONS}")
    by_payment = {
        fields["payload"]["payment_id"]: score
        for fields in history.events(PAYMENTS, run)
        if (score := scores.get(fields["event_id"])) is not None
    }
    return by_payment, worlds


def ranking_of(table: LabelledTable, periods: Periods | None) -> Ranked:
    """Rate a table of scores on its test period (none: its last weeks). Raises TableProblem."""
    _, tested = split(table, last_periods(table) if periods is None else periods)
    scores = tested.rows[:, 0]
    known = ~np.isnan(scores)
    if not known.any():
        raise TableProblem("no payment of the test period has a score")
    return Ranked(
        len(tested),
        int((~known).sum()),
        Evaluation.of(tested.where(known), scores[known].astype(np.int64)),
    )


def _document(run: str, ranked: Ranked) -> Mapping[str, Any]:
    return {
        "ok": True,
        "run": run,
        "payments": ranked.payments,
        "unscored": ranked.unscored,
        "evaluation": ranked.evaluation.model_dump(),
    }


def _show(run: str, ranked: Ranked) -> None:
    typer.echo(f"{run}: {ranked.payments:,} payments in the test period, {ranked.unscored:,} without a score")
    for name, figure in ranked.evaluation.figures().items():
        typer.echo(f"{name:<24}{figure}")
