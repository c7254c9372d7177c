"""`sluice`: one command line for everything. Sub-commands are loaded when they are asked for."""

import importlib
import sys
from typing import Any

import typer
from typer.core import TyperGroup

LAZY: dict[str, tuple[str, str, str]] = {
    "up": ("stack_commands", "up", "Start a stack for development and keep it running."),
    "down": ("stack_commands", "down", "Drain the services and stop the stack; data stays."),
    "status": ("stack_commands", "status", "What runs, where it listens, how it is."),
    "demo": ("demo_command", "demo", "Stream a sealed world through a fresh stack and check the outcome."),
    "world": ("world_commands", "world_app", "Make, import, seal, verify and look at worlds."),
    "run": ("run_commands", "run_app", "Submit runs of sealed worlds and see what became of them."),
    "stream": ("stream_commands", "stream_app", "Watch and steer the streams of READY runs."),
    "backfill": ("stream_commands", "backfill", "Feed a READY run through the gate by reference."),
    "receipt": ("receipt_commands", "receipt_app", "Look up what the gate decided about an event."),
    "quarantine": ("receipt_commands", "quarantine_app", "List, show, release and discard refused records."),
    "graph": ("graph_commands", "graph_app", "Who shares what with whom, and how near a known fraud is."),
    "features": ("feature_commands", "features_app", "Show what was known of a payment or an entity."),
    "bundle": ("bundle_commands", "bundle_app", "Train, seal, look at and activate what decides."),
    "decision": ("decision_commands", "decision_app", "Look up what was decided about a payment."),
    "whatif": ("whatif_command", "whatif", "Decide a recorded run again with another bundle or policy."),
    "audit": ("audit_commands", "audit_app", "Follow decisions back by reference; verify the log of them."),
    "actions": ("action_commands", "actions_app", "See what came of decisions, settle what is uncertain."),
    "policy": ("policy_commands", "policy_app", "Read, check and put in force the gate's policy."),
    "posture": ("posture_commands", "posture_app", "What decisions may use: show, force, release."),
    "list": ("list_commands", "list_app", "Lists that decision rules read: show, add, remove."),
    "topics": ("bus_commands", "topics_app", "Topics, access and retention from the contracts."),
    "replay": (
        "bus_commands",
        "replay_app",
        "Read offset ranges of the bus back, or prove that a stage replays.",
    ),
    "lag": ("bus_commands", "lag", "How far every reader of the bus is behind."),
    "contracts": ("contracts_commands", "contracts_app", "Check, publish, compare and document contracts."),
    "check": ("check_command", "check", "Read lanes and bus back and count: nothing lost, nothing twice."),
    "bench": ("bench_commands", "bench_app", "Benchmarks, each with its floor in the same run."),
}
"""Command: module, name in it, one line of help."""


class LazyGroup(TyperGroup):
    """Imports a sub-command's module when it is used, so that `sluice --help` answers at once."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names in the order of a newcomer's use."""
        del ctx
        return list(LAZY)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command, imported now; only its line of help when the whole list is shown."""
        entry = LAZY.get(cmd_name)
        if entry is None:
            return None
        module, attribute, text = entry
        if ctx.invoked_subcommand is None and _asks_for_list():
            listed = typer.Typer(add_completion=False)
            listed.command(cmd_name, help=text)(lambda: None)
            return typer.main.get_command(listed)
        found: Any = getattr(importlib.import_module(f"sluice_cli.{module}"), attribute)
        if isinstance(found, typer.Typer):
            command = typer.main.get_command(found)
        else:
            single = typer.Typer(add_completion=False)
            single.command(cmd_name)(found)
            command = typer.main.get_command(single)
        command.name = cmd_name
        return command


def _asks_for_list() -> bool:
    return len(sys.argv) == 1 or sys.argv[1] in {"--help", "-h"}


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "Sluice: a governed, real-time decision platform on Apache Kafka. "
        "Start with `sluice demo`, or `sluice up` for a stack that stays."
    ),
)


@app.callback()
def _root() -> None:
    """Sluice."""


def main() -> None:
    """Entry point of the `sluice` command."""
    app()


if __name__ == "__main__":
    main()
