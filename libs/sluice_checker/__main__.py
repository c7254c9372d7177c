"""`python -m sluice_checker --wiring FILE [--json]`: exit 0 when all is right, 1 when not, 2 when unable."""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from sluice_checker.bus_reader import CheckerError, Partition
from sluice_checker.checking import CheckSettings, Progress, check
from sluice_checker.connection import read_wiring
from sluice_checker.memory import peak_memory_mib
from sluice_checker.report import table

PROGRESS_SECONDS = 0.5


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the checker; see the module's docstring."""
    options = _parser().parse_args(arguments)
    try:
        wiring = read_wiring(options.wiring)
        report = check(
            wiring.connection,
            wiring.evidence,
            CheckSettings(
                until_sent=options.until_sent,
                settle_seconds=options.settle,
                deadline_seconds=options.deadline,
                ready_pending_seconds=options.ready_pending,
                starts=dict(options.start),
                loop=options.loop,
                effects=options.effects,
                logged_effects=options.logged_effects,
            ),
            _progress(lines=options.progress),
        )
    except CheckerError as error:
        sys.stderr.write(f"sluice_checker: {error}\n")
        return 2
    memory = peak_memory_mib()
    if options.json:
        text = json.dumps(report.to_json() | {"peak_memory_mib": memory})
    else:
        text = f"{table(report)}\npeak memory {memory:,} MiB"
    sys.stdout.write(text + "\n")
    return 0 if report.ok else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sluice_checker",
        description="Reads lanes and event bus back: is nothing lost, doubled or altered?",
    )
    parser.add_argument("--wiring", type=Path, required=True, help="wiring file (YAML)")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument(
        "--progress", action="store_true", help="progress on standard error as JSON lines, for programs"
    )
    parser.add_argument("--until-sent", type=int, metavar="N", help="wait until the lanes hold N records")
    parser.add_argument(
        "--settle", type=float, default=2.0, metavar="SECONDS", help="rest: no end offset moves for so long"
    )
    parser.add_argument(
        "--deadline",
        type=float,
        default=120.0,
        metavar="SECONDS",
        help="when nothing has moved for so long, stop waiting and judge (NOT_SETTLED)",
    )
    parser.add_argument(
        "--ready-pending",
        type=float,
        default=120.0,
        metavar="SECONDS",
        help="a READY without a receipt may be so old before it counts as missing",
    )
    parser.add_argument(
        "--loop", action="store_true", help="judge decisions, actions and audit records too; waits for them"
    )
    parser.add_argument(
        "--effects", type=Path, metavar="FILE", help="with --loop: the effect log of the webhook's receiver"
    )
    parser.add_argument(
        "--logged-effects", type=Path, metavar="FOLDER", help="with --loop: the files of the log effector"
    )
    parser.add_argument(
        "--start",
        type=_start,
        action="append",
        default=[],
        metavar="TOPIC:PARTITION:OFFSET",
        help="first offset to read of a partition (repeatable)",
    )
    return parser


def _start(text: str) -> tuple[Partition, int]:
    topic, partition, offset = text.rsplit(":", 2)
    return (topic, int(partition)), int(offset)


def _progress(*, lines: bool) -> Progress:
    """Twice a second: JSON lines where asked for, a line written over on a terminal, else nothing."""
    said = time.monotonic()

    def show(what: str, count: int, total: int) -> None:
        nonlocal said
        if time.monotonic() - said < PROGRESS_SECONDS:
            return
        said = time.monotonic()
        if lines:
            sys.stderr.write(json.dumps({"reading": what, "records": count, "of": total}) + "\n")
        else:
            sys.stderr.write(f"\rreading {what}: {count:,} of about {total:,} records ")
        sys.stderr.flush()

    return show if lines or sys.stderr.isatty() else lambda _what, _count, _total: None


if __name__ == "__main__":
    sys.exit(main())
