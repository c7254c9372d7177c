"""`sluice decision explain EVENT_ID`: why a payment was decided as it was; nothing on the bus changes."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from sluice_cli.bundle_making import artifact_store
from sluice_cli.options import DEFAULT_WIRING, ArtifactRoot, AsJson, Reader, WiringFile, print_json
from sluice_cli.progress import counting
from sluice_cli.recorded_decision import Explained, explained
from sluice_cli.recorded_run import recorded_history
from sluice_cli.reporting import reported
from sluice_decisions import ModelRuntimeUnavailable
from sluice_kit.artifacts import ArtifactError
from sluice_kit.config import load_wiring
from sluice_kit.replay.reading import PRINCIPAL

_EXPECTED: Final = (ArtifactError, ModelRuntimeUnavailable, OSError, LookupError)


def explain_decision(  # noqa: PLR0917 - typer makes options of parameters
    event_id: Annotated[str, typer.Argument(help="Id of the payment event.")],
    tenant: Annotated[str | None, typer.Option(help="Only this tenant.")] = None,
    run: Annotated[str | None, typer.Option(help="Only this run.")] = None,
    principal: Reader = PRINCIPAL,
    artifacts: ArtifactRoot = None,
    wiring: WiringFile = DEFAULT_WIRING,
    as_json: AsJson = False,
) -> None:
    """Make a recorded decision again, with attributions also for ALLOW, and say what it stands on.

    Payment, snapshot, posture, lists and bundle are those that the decision names. Where outcome, mode,
    reason codes or score do not come out as recorded, it says DIFFERENT and the exit code is 1.
    """
    with reported(*_EXPECTED), counting("records") as advance:
        wired = load_wiring(wiring)
        with recorded_history(wired, principal, advance) as history:
            found = explained(history, artifact_store(wiring, artifacts), event_id, tenant, run)
    print_json(found.to_json()) if as_json else _show(found)
    if found.explanation.deviation is not None:
        raise typer.Exit(1)


def _show(found: Explained) -> None:
    again, rules, failures, deviation = found.explanation
    recorded = found.recorded
    lines = [
        (recorded.outcome.value, f"{recorded.mode}: {', '.join(recorded.reason_codes)}"),
        (
            "again",
            "the same"
            if deviation is None
            else f"DIFFERENT: {deviation.field} was {deviation.recorded}, now it is {deviation.again}",
        ),
        ("score", "none" if again.score_ppm is None else f"{again.score_ppm / 1e6:.6f}"),
        *(
            ("", f"{one.feature} = {one.value}: {one.contribution_ppm / 1e6:+.3f}")
            for one in again.attributions
        ),
        *(("rule", f"{one.id}: {one.outcome} {one.reason_code}, as {one.when}") for one in rules),
        *(("rule", f"{one.rule_id} raised: {one.message}") for one in failures),
        (
            "bundle",
            "none"
            if again.bundle_id is None
            else f"{again.bundle_id} {again.bundle_revision} {again.bundle_hash}",
        ),
        ("policy", again.policy_revision),
        ("snapshot", again.snapshot_hash or "none"),
        ("posture", again.posture.value),
        ("decision", f"{found.decision['event_id']}, run {found.decision['run_id']}"),
    ]
    for name, text in lines:
        typer.echo(f"{name:<10} {text}")
