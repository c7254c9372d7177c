"""`python -m sluice_checker --wiring FILE [--json]`: exit 0 when all is right, 1 when not, 2 when unable."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from sluice_checker.bus_reader import CheckerError, Partition
from sluice_checker.checking import CheckSettings, check
from sluice_checker.connection import read_wiring
from sluice_checker.report import table


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
            ),
            _show_progress if sys.stderr.isatty() else lambda _what, _count: None,
        )
    except CheckerError as error:
        sys.stderr.write(f"sluice_checker: {error}\n")
        return 2
    text = json.dumps(report.to_json()) if options.json else table(report)
    sys.stdout.write(text + "\n")
    return 0 if report.ok else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sluice_checker",
        description="Reads lanes and event bus back: is nothing lost, doubled or altered?",
    )
    parser.add_argument("--wiring", type=Path, required=True, help="wiring file (YAML)")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument("--until-sent", type=int, metavar="N", help="wait until the lanes hold N records")
    parser.add_argument(
        "--settle", type=float, default=2.0, metavar="SECONDS", help="rest: no end offset moves for so long"
    )
    parser.add_argument(
        "--deadline",
        type=float,
        default=120.0,
        metavar="SECONDS",
        help="stop waiting and judge (NOT_SETTLED)",
    )
    parser.add_argument(
        "--ready-pending",
        type=float,
        default=120.0,
        metavar="SECONDS",
        help="a READY without a receipt may be so old before it counts as missing",
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


def _show_progress(what: str, count: int) -> None:
    sys.stderr.write(f"\rreading {what}: {count:,} records")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
