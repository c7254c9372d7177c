"""`sluice bench`: benchmarks, each with its floor in the same run."""

import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from sluice_bench import actions_bench, decision_log_bench
from sluice_bench.features_bench import FEATURE_PARTS, features_effort, run_features
from sluice_bench.ingress import PARTS, effort, run_parts
from sluice_bench.loop import LOOP_PARTS, loop_effort, run_loop
from sluice_cli.options import AsJson, fail, print_json
from sluice_cli.progress import bring_up_progress
from sluice_fleet import Deployment, FleetError
from sluice_kit.config import load_wiring
from sluice_substrate import COMPONENTS, Component, SubstrateError

bench_app = typer.Typer(no_args_is_help=True, add_completion=False)


@bench_app.callback()
def _benches() -> None:
    """Benchmarks, each with its floor in the same run. They start a stack of their own."""


@bench_app.command("ingress")
def ingress(  # noqa: PLR0917 - typer makes options of parameters
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="PART", help=f"One of {', '.join(PARTS)}; repeat.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Small amounts: shows that it works.")] = False,
    repetitions: Annotated[int, typer.Option(min=1, max=20, help="Runs of each variant.")] = 3,
    batch: Annotated[
        list[int] | None, typer.Option("--batch", min=1, help="Batch size of the admission part; repeat.")
    ] = None,
    home: Annotated[
        Path | None, typer.Option(help="Folder for the stack; a temporary one that is removed if none.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Admission, latency, streaming, replay, memory and restart, from a sealed world to receipts.

    Exit code 1 when a part could not run. A missed target is part of the report, not a failure.
    """
    names = _chosen(only, PARTS, as_json=as_json)
    work = effort(quick=quick, repetitions=repetitions, batches=tuple(batch or ()))

    def run(deployment: Deployment) -> dict[str, Any]:
        return run_parts(deployment.home, names, work, _say(time.monotonic()))

    _in_parts(run, _show, home, as_json=as_json)


@bench_app.command("loop")
def loop(
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="PART", help=f"One of {', '.join(LOOP_PARTS)}; repeat."),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Small amounts: shows that it works.")] = False,
    repetitions: Annotated[int, typer.Option(min=1, max=20, help="Runs of each part; quick: one.")] = 3,
    home: Annotated[
        Path | None, typer.Option(help="Folder for the stack; a temporary one that is removed if none.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """The decision loop: latency, burst, rate, cost, replay and restart, from a payment to its audit record.

    Exit code 1 when a part could not run. A missed target is part of the report, not a failure.
    """
    names = _chosen(only, LOOP_PARTS, as_json=as_json)
    work = loop_effort(quick=quick, repetitions=repetitions)

    def run(deployment: Deployment) -> dict[str, Any]:
        return run_loop(deployment.home, names, work, _say(time.monotonic()))

    _in_parts(run, _show_loop, home, as_json=as_json)


@bench_app.command("features")
def features(
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="PART", help=f"One of {', '.join(FEATURE_PARTS)}; repeat."),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Small amounts: shows that it works.")] = False,
    repetitions: Annotated[int, typer.Option(min=1, max=20, help="Runs of each part; quick: one.")] = 3,
    quix_python: Annotated[
        Path | None,
        typer.Option(
            metavar="PYTHON", help="An interpreter that has quixstreams; none: one is installed for the run."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """The features stage against Quix Streams, reads of snapshots, scoring, state and restart.

    Exit code 1 when a part could not run. A missed target is part of the report, not a failure.
    """
    names = _chosen(only, FEATURE_PARTS, as_json=as_json)
    work = features_effort(quick=quick, repetitions=repetitions, quix_python=quix_python)

    def run(deployment: Deployment) -> dict[str, Any]:
        found = run_features(deployment.home, names, work, _say(time.monotonic()))
        _show_features(found)
        return found

    found = _on_own_stack(run, as_json=as_json)
    if found["failed"]:
        raise typer.Exit(1)


@bench_app.command("decisions")
def decisions(
    batches: Annotated[int, typer.Option(min=1, help="Batches of 200 payments.")] = 100,
    explained: Annotated[
        float, typer.Option(min=0, max=1, help="Share of payments that look like fraud and get attributions.")
    ] = 0.0,
    as_json: AsJson = False,
) -> None:
    """CPU a payment of the decision fabric's step, a rule, and scoring against LightGBM's own. No stack."""
    from sluice_bench.decision_bench import decision_bench  # noqa: PLC0415 - imports LightGBM

    found = decision_bench(batches, fraud_share=explained)
    if as_json:
        print_json(found)
        return
    cpu, rules, scoring = found["cpu_us_a_payment"], found["rules"], found["scoring"]
    typer.echo(
        f"step      {cpu['median']} us a payment (p90 {cpu['p90']}), at most {found['target_us']} wanted\n"
        f"rules     {rules['us_a_rule']['median']} us a rule (p90 {rules['us_a_rule']['p90']}), "
        f"{rules['rules']} rules of {rules['policy']}, at most {rules['target_us']} wanted\n"
        f"scoring   {scoring['ours_batch_32_rows_s']:,}/s at batches of 32, LightGBM's own "
        f"{scoring['lightgbm_batch_32_rows_s']:,}/s: ratio {scoring['ratio_at_32']}, at least 0.5 wanted"
    )


@bench_app.command("decision-log")
def decision_log(
    payments: Annotated[
        int, typer.Option(min=100, help="Chains on the bus before the clock starts.")
    ] = 100_000,
    repetitions: Annotated[int, typer.Option(min=1, max=20, help="Runs of floor and ours.")] = 3,
    paced_seconds: Annotated[int, typer.Option(min=0, help="Length of the steady run at 3,000/s.")] = 20,
    as_json: AsJson = False,
) -> None:
    """The decision log from a backlog, against a bare consumer of the same records, and at 3,000/s."""

    def run(deployment: Deployment) -> dict[str, Any]:
        return decision_log_bench.run(
            load_wiring(deployment.wiring_file),
            deployment.wiring_file,
            payments=payments,
            repetitions=repetitions,
            paced_seconds=paced_seconds,
            say=_say(time.monotonic()),
        )

    _on_own_stack(run, as_json=as_json)


@bench_app.command("actions")
def actions(
    intents: Annotated[int, typer.Option(min=100, help="Intents that wait on their topic.")] = 60_000,
    webhook_share: Annotated[float, typer.Option(min=0, max=1, help="Share that calls a webhook.")] = 0.05,
    paced_seconds: Annotated[int, typer.Option(min=0, help="Length of the steady run at 3,000/s.")] = 10,
    as_json: AsJson = False,
) -> None:
    """The action layer from a backlog of intents to the last outcome on its lane, and at 3,000/s.

    Every effect is counted.

    Exit code 2 when it could not run. A missed target is part of the report, not a failure.
    """

    def run(deployment: Deployment) -> dict[str, Any]:
        say = _say(time.monotonic())
        return actions_bench.run(
            deployment.home,
            say,
            intents=intents,
            webhook_share=webhook_share,
            paced_seconds=paced_seconds,
        )

    _on_own_stack(run, as_json=as_json)


def _on_own_stack(run: Callable[[Deployment], dict[str, Any]], *, as_json: bool) -> dict[str, Any]:
    """Run a bench on a broker and a database of its own, which go with it, and show what it found."""
    with _own_stack(None, ("kafka", "postgres"), as_json=as_json) as deployment:
        found = run(deployment)
    if as_json:
        print_json(found)
    else:
        Console().print_json(data=found)
    return found


def _chosen(only: Sequence[str] | None, parts: Iterable[str], *, as_json: bool) -> list[str]:
    """The named parts, all where none is; leaves with a message when one does not exist."""
    known = list(parts)
    unknown = sorted({*(only or ())}.difference(known))
    if unknown:
        fail(f"no such part: {', '.join(unknown)}; there are {', '.join(known)}", as_json=as_json)
    return list(only or known)


def _in_parts(
    run: Callable[[Deployment], dict[str, Any]],
    show: Callable[[Mapping[str, Any]], None],
    home: Path | None,
    *,
    as_json: bool,
) -> None:
    """Run a bench of parts on a whole stack and show them; exit code 1 when one could not run."""
    with _own_stack(home, COMPONENTS, as_json=as_json) as deployment:
        found = run(deployment)
    show(found)
    if as_json:
        print_json(found)
    if found["failed"]:
        raise typer.Exit(1)


@contextmanager
def _own_stack(home: Path | None, components: Sequence[Component], *, as_json: bool) -> Iterator[Deployment]:
    """A stack that ends with the block, in a folder that goes with it where `home` names none."""
    folder = home or Path(tempfile.mkdtemp(prefix="sluice-bench-"))
    deployment = Deployment(folder, bound=True)
    try:
        with bring_up_progress() as tell:
            deployment.substrate_up(tell, components=components)
        yield deployment
    except (SubstrateError, FleetError, RuntimeError) as error:
        fail(str(error), as_json=as_json)
    finally:
        deployment.down()
        if home is None:
            shutil.rmtree(folder, ignore_errors=True)


def _say(started: float) -> Any:
    def say(text: str) -> None:
        sys.stderr.write(f"  {time.monotonic() - started:6.0f} s  {text}\n")
        sys.stderr.flush()

    return say


def _show(found: Mapping[str, Any]) -> None:
    table = Table("part", "floor", "ours", "ratio", "target", "verdict", "load")
    for name, part in found["parts"].items():
        table.add_row(name, *row(name, part), str(part["load_average"]["after"]))
    Console(stderr=True).print(table)


def _show_loop(found: Mapping[str, Any]) -> None:
    table = Table("part", "measured", "target", "verdict", "load")
    for name, part in found["parts"].items():
        table.add_row(name, *loop_row(name, part), str(part["load_average"]["after"]))
    Console(stderr=True).print(table)


def _show_features(found: Mapping[str, Any]) -> None:
    table = Table("part", "floor", "ours", "ratio", "target", "verdict", "load")
    for name, part in found["parts"].items():
        table.add_row(name, *features_row(name, part), str(part["load_average"]["after"]))
    Console(stderr=True).print(table)


def features_row(name: str, part: Mapping[str, Any]) -> tuple[str, str, str, str, str]:
    """Floor, ours, ratio, target and verdict of one part of the features bench, as text."""
    if "skipped" in part:
        return "", part["skipped"][:60], "", "", "left out"
    if "error" in part or name == "restart":
        return row(name, part)
    word = "met" if part["passed"] else "MISSED"
    if name == "read":
        floor, ours = (f"p99 {part[side]['p99_ms']['median']} ms" for side in ("floor", "ours"))
        return floor, ours, str(part["ratio"]), f"≤ {part['target']}", word
    if name == "state":
        ours = f"{part['bytes_per_entity']} bytes an entity, growth x{part['growth']}"
        return "", ours, "", f"≤ x{part['target']}", word
    return row(name, part)


def loop_row(name: str, part: Mapping[str, Any]) -> tuple[str, str, str]:
    """What was measured, target and verdict of one part of the loop, as text."""
    if "error" in part:
        return part["error"][:60], "", "could not run"
    word = {True: "met", False: "MISSED", None: ""}[part["passed"]]
    match name:
        case "latency" | "separate":
            ours = part["ours"]
            targets = ", ".join(f"{which} ≤ {limit:g}" for which, limit in part["targets_ms"].items())
            return f"p50 {ours['p50_ms']['median']} ms, p99 {ours['p99_ms']['median']} ms", targets, word
        case "burst":
            back = part["recovery_seconds"]
            text = "not within the part" if back is None else f"{back['median']} s"
            return text, f"≤ {part['target_seconds']:g} s", word
        case "restart":
            return f"{part['seconds']['median']} s", f"≤ {part['target_seconds']:g} s", word
        case "sustained":
            return f"{part['ours']['median']:,.0f}/s", f"≥ {part['target']:,.0f}/s", word
        case "backlog":
            return f"{part['ours']['median']:,.0f}/s ({part['ratio']} of the floor)", "all whole", word
        case "replay":
            texts = {
                which: f"{part[which]['payments_per_second']:,}/s, x{part[which]['ratio']}"
                for which in ("behind_gate", "whole_chain")
            }
            ours = f"{texts['behind_gate']} (with the gate {texts['whole_chain']})"
            return ours, f"≥ x{part['target']:g}", word
        case _:
            spent = part["stages_by_batch"]
            return ", ".join(f"{one['cpu_us_per_event']['all']} µs" for one in spent.values()), "", word


def row(name: str, part: Mapping[str, Any]) -> tuple[str, str, str, str, str]:
    """Floor, ours, ratio, target and verdict of one part, as text."""
    if "error" in part:
        return "", part["error"][:60], "", "", "could not run"
    word = "met" if part["passed"] else "MISSED"
    if name == "latency":
        floor, ours = part["floor"]["p99_ms"]["median"], part["ours"]["p99_ms"]["median"]
        return f"p99 {floor} ms", f"p99 {ours} ms", "", f"≤ {part['target_p99_ms']} ms", word
    if name == "checkpoint":
        return "", f"stop ≤ {part['stop_ms']['max']} ms", "", f"≤ {part['target_ms']} ms", word
    if name == "restart":
        return "", f"{part['seconds']['median']} s", "", f"≤ {part['target_seconds']} s", word
    if name == "memory":
        mib = part["at"][-1]["gate_rss_mib"]["peak_while_admitting"]
        target = f"≤ {part['target_mib']} MiB, ≤ x{part['target_growth']}"
        return "", f"{mib} MiB, an event's cost x{part['cost_growth']}", "", target, word
    return _rate(part, "floor"), _rate(part, "ours"), str(part["ratio"]), f"≥ {part['target']}", word


def _rate(part: Mapping[str, Any], side: str) -> str:
    if f"{side}_mib_per_second" in part:
        return f"{part[f'{side}_mib_per_second']['median']:,.0f} MiB/s"
    found = part[side]
    rate = found.get("events_per_second", found)
    median = rate["median"] if isinstance(rate, Mapping) else rate
    return f"{median:,.0f}/s"
