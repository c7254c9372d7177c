"""`sluice graph resolve|profile|neighbors`: what the entity graph knows."""

from typing import Annotated, Any

import typer

from sluice_cli.options import DEFAULT_WIRING, AsJson, Tenant, WiringFile, print_json
from sluice_cli.reporting import reported
from sluice_cli.service_calls import ENTITY_GRAPH, ServiceCalls

graph_app = typer.Typer(
    help="Who shares what with whom, and how near a known fraud is.", no_args_is_help=True
)

Kind = Annotated[str, typer.Argument(help="customer, card, account, device, terminal, merchant or address.")]
Value = Annotated[str, typer.Argument(help="Its id, or an internet address.")]
Run = Annotated[str, typer.Option("--run", help="The run.")]
GraphUrl = Annotated[
    str | None,
    typer.Option("--graph-url", envvar="SLUICE_GRAPH_URL", help="The graph's REST address, else found here."),
]


@graph_app.command()
def resolve(  # noqa: PLR0917 - typer makes options of parameters
    kind: Kind,
    value: Value,
    run: Run,
    tenant: Tenant = "default",
    wiring: WiringFile = DEFAULT_WIRING,
    graph_url: GraphUrl = None,
    as_json: AsJson = False,
) -> None:
    """Show who is behind an entity: its component, the customers in it, every conflict."""
    with reported():
        calls = ServiceCalls(ENTITY_GRAPH, wiring, graph_url)
        answer = calls.get("/v1/graph/resolve", kind=kind, value=value, run_id=run, tenant=tenant)
    if as_json:
        print_json(answer)
        return
    typer.echo(_head(answer))
    more = "" if answer["complete"] else " (and more)"
    typer.echo(f"  customers: {', '.join(answer['customers']) or 'none'}{more}")
    _show_conflicts(answer)


@graph_app.command()
def profile(  # noqa: PLR0917 - typer makes options of parameters
    kind: Kind,
    value: Value,
    run: Run,
    tenant: Tenant = "default",
    wiring: WiringFile = DEFAULT_WIRING,
    graph_url: GraphUrl = None,
    as_json: AsJson = False,
) -> None:
    """Show when an entity was seen, with whom, and how near a known fraud is."""
    with reported():
        calls = ServiceCalls(ENTITY_GRAPH, wiring, graph_url)
        answer = calls.get(f"/v1/graph/profile/{kind}/{value}", run_id=run, tenant=tenant)
    if as_json:
        print_json(answer)
        return
    typer.echo(_head(answer))
    typer.echo(f"  {answer['events']} payments, {answer['first_seen']} to {answer['last_seen']}")
    degrees = (
        f"{degree['count']}{'+' if degree['full'] else ''} {name}"
        for name, degree in answer["degrees"].items()
        if degree["count"]
    )
    typer.echo(f"  with {', '.join(degrees) or 'nobody'}")
    distance = answer["fraud_distance"]
    near = "out of reach" if distance is None else f"{distance} steps away"
    typer.echo(f"  known fraud: {near}; {answer['fraud_payments']} of its own payments")
    _show_conflicts(answer)


@graph_app.command()
def neighbors(  # noqa: PLR0917 - typer makes options of parameters
    kind: Kind,
    value: Value,
    run: Run,
    tenant: Tenant = "default",
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many.")] = 50,
    page: Annotated[str | None, typer.Option(help="next_page of the page before.")] = None,
    wiring: WiringFile = DEFAULT_WIRING,
    graph_url: GraphUrl = None,
    as_json: AsJson = False,
) -> None:
    """List the neighbours of an entity in the order in which they came."""
    with reported():
        calls = ServiceCalls(ENTITY_GRAPH, wiring, graph_url)
        answer = calls.get(
            f"/v1/graph/neighbors/{kind}/{value}", run_id=run, tenant=tenant, limit=limit, page_token=page
        )
    if as_json:
        print_json(answer)
        return
    typer.echo(_head(answer))
    for one in answer["neighbors"]:
        typer.echo(f"  {one['kind']} {one['value']}{'' if one['joins'] else '  (does not join)'}")
    if answer["next_page"]:
        typer.echo(f"more of {answer['total']}: --page {answer['next_page']}")


def _head(answer: dict[str, Any]) -> str:
    entity = answer["entity"]
    why = f" ({', '.join(answer['reasons'])})" if answer["reasons"] else ""
    part = ""
    if "component" in answer:
        component = answer["component"]
        part = f"  component {component['kind']} {component['value']}, {answer['component_size']} entities"
    version = f"graph version {answer['graph_version']}  late payments {answer['late_payments']}"
    return f"{entity['kind']} {entity['value']}  {answer['integrity']}{why}{part}  {version}"


def _show_conflicts(answer: dict[str, Any]) -> None:
    for conflict in answer["conflicts"]:
        customers = " and ".join(conflict["customers"])
        more = "" if conflict["complete"] else " and perhaps more"
        typer.echo(f"  CONFLICT {conflict['kind']} {conflict['value']} belongs to {customers}{more}")
