"""`sluice decision show|explain|ranking`: what was decided of a payment, from what, why; how well."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from sluice_cli.explain_command import explain_decision
from sluice_cli.options import DEFAULT_WIRING, AsJson, WiringFile, print_json
from sluice_cli.ranking_command import decision_ranking
from sluice_cli.reporting import reported
from sluice_cli.service_calls import DECISION_FABRIC, ServiceCalls

decision_app = typer.Typer(help="What was decided about a payment.", no_args_is_help=True)


@decision_app.callback()
def decisions() -> None:
    """What was decided about a payment."""


decision_app.command("explain")(explain_decision)
decision_app.command("ranking")(decision_ranking)


@decision_app.command("show")
def show_decision(
    event_id: Annotated[str, typer.Argument(help="Id of the payment event.")],
    tenant: Annotated[str | None, typer.Option(help="Only this tenant.")] = None,
    run: Annotated[str | None, typer.Option(help="Only this run.")] = None,
    wiring: WiringFile = DEFAULT_WIRING,
    as_json: AsJson = False,
) -> None:
    """Show the committed decision with everything that it stands on."""
    with reported():
        answer = ServiceCalls(DECISION_FABRIC, wiring).get(
            f"/v1/decisions/{event_id}", tenant=tenant, run_id=run
        )
    print_json(answer) if as_json else _print(answer)


def _print(decision: dict[str, Any]) -> None:
    bundle, snapshot, at = decision["bundle"], decision["snapshot"], decision["payment"]
    lines = [
        (decision["outcome"], f"{decision['mode']}: {', '.join(decision['reason_codes'])}"),
        (
            "payment",
            f"{decision['payment_id']}, {decision['amount_minor']} minor units {decision['currency']}",
        ),
        ("stands at", f"{at['topic']}/{at['partition']}@{at['offset']}"),
        ("score", "none" if decision["score_ppm"] is None else f"{decision['score_ppm'] / 1e6:.6f}"),
        *(
            ("", f"{one['feature']} = {one['value']}: {one['contribution_ppm'] / 1e6:+.3f}")
            for one in decision["attributions"]
        ),
        ("bundle", "none" if bundle is None else f"{bundle['id']} {bundle['revision']} {bundle['hash']}"),
        ("policy", decision["policy_revision"]),
        (
            "snapshot",
            "none" if snapshot is None else f"{snapshot['hash']} (graph {snapshot['graph_version']})",
        ),
        ("posture", f"{decision['posture']} ({decision['posture_event_id']})"),
        ("decided at", f"{decision['decided_at']}, deadline {decision['deadline']}"),
        ("basis", decision["input_basis"]),
        ("decision", decision["decision_id"]),
    ]
    for name, text in lines:
        typer.echo(f"{name:<10} {text}")
