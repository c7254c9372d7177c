"""`sluice features show|windows`: what was known of a payment, and what is known of an entity."""

from decimal import Decimal
from typing import Annotated, Any

import typer

from sluice_cli.options import DEFAULT_WIRING, AsJson, WiringFile, print_json
from sluice_cli.reporting import reported
from sluice_cli.service_calls import ONLINE_FEATURES, ServiceCalls

features_app = typer.Typer(help="What is known of payments and entities.", no_args_is_help=True)

Url = Annotated[
    str | None,
    typer.Option("--url", envvar="SLUICE_FEATURES_URL", help="The stage's REST address, else found here."),
]


@features_app.callback()
def features() -> None:
    """What is known of payments and entities."""


@features_app.command("show")
def show_snapshot(  # noqa: PLR0917 - typer makes options of parameters
    event_id: Annotated[str, typer.Argument(help="Id of the payment's event.")],
    tenant: Annotated[str | None, typer.Option(help="Only this tenant.")] = None,
    run: Annotated[str | None, typer.Option(help="Only this run.")] = None,
    wiring: WiringFile = DEFAULT_WIRING,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show the snapshot of a payment: the values that its decision stands on."""
    with reported():
        calls = ServiceCalls(ONLINE_FEATURES, wiring, url)
        answer = calls.get("/v1/features", event_id=event_id, tenant=tenant, run_id=run)
    if as_json:
        print_json(answer)
        return
    feature_set, graph = answer["feature_set"], answer["graph_version"]
    typer.echo(f"event {answer['event_id']}  run {answer['run_id']}  as of {answer['as_of']}")
    typer.echo(f"set {feature_set['name']} {feature_set['revision']}  snapshot {answer['snapshot_hash']}")
    if answer["degraded"]:
        typer.echo(f"degraded: {', '.join(answer['degraded'])}")
    elif graph is not None:
        typer.echo(f"graph version {graph}")
    if answer["features"] is None:
        typer.echo(f"this set is not among the stage's policy files; values: {answer['values']}")
    else:
        _show_features(answer["features"])


@features_app.command("windows")
def show_windows(  # noqa: PLR0917 - typer makes options of parameters
    entity: Annotated[str, typer.Argument(help="Entity of the feature set, such as customer.")],
    key: Annotated[str, typer.Argument(help="Its key, such as a customer id.")],
    run: Annotated[str, typer.Option(help="Run.")],
    tenant: Annotated[str, typer.Option(help="Tenant.")] = "default",
    as_of: Annotated[str | None, typer.Option(help="RFC 3339 time; default: how far the run is.")] = None,
    wiring: WiringFile = DEFAULT_WIRING,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show what the windows of an entity hold."""
    with reported():
        calls = ServiceCalls(ONLINE_FEATURES, wiring, url)
        answer = calls.get(f"/v1/features/{entity}/{key}", tenant=tenant, run_id=run, as_of=as_of)
    if as_json:
        print_json(answer)
        return
    typer.echo(f"{entity} {key}  run {run}  as of {answer['as_of']}")
    if not answer["complete"]:
        typer.echo("this is so long ago that some of what counted may have left")
    _show_features(answer["features"])


def _show_features(shown: list[dict[str, Any]]) -> None:
    width = max(len(feature["name"]) for feature in shown)
    for feature in shown:
        value = "-" if feature["value"] is None else f"{Decimal(feature['value']) / feature['scale']:f}"
        typer.echo(f"  {feature['name']:<{width}}  {value:>16} {feature['unit']}")
