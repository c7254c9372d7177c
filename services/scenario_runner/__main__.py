"""``python -m services.scenario_runner --wiring FILE``: run one instance, or rebuild the index and leave."""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import sys
from pathlib import Path

from services.scenario_runner.app import ScenarioRunner
from services.scenario_runner.settings import DEFAULT_POLICY, SERVICE, Settings, load_policy
from sluice_kit.config import PolicyError, SecretMissing, WiringError, load_wiring
from sluice_kit.http.bearer_tokens import TokenFileError
from sluice_kit.telemetry import configure_logging


def main(argv: list[str] | None = None) -> int:
    """Start; the exit code is 2 for wrong settings, with the reason on stderr."""
    parser = argparse.ArgumentParser(prog="python -m services.scenario_runner", description=__doc__)
    parser.add_argument("--wiring", type=Path, required=True, help="wiring file (YAML)")
    parser.add_argument("--policy", type=Path, default=DEFAULT_POLICY, help="policy file (YAML)")
    parser.add_argument("--host", help="listen here instead of the wiring's http.host")
    parser.add_argument(
        "--http-port", type=int, help="listen here instead of the wiring's http.port; 0: any free one"
    )
    parser.add_argument(
        "--rebuild", action="store_true", help="make the index anew from the ledger and leave"
    )
    chosen = parser.parse_args(argv)
    try:
        wiring = load_wiring(chosen.wiring)
        configure_logging(SERVICE, level=wiring.telemetry.log_level)
        settings = Settings(
            wiring=wiring,
            policy=load_policy(chosen.policy),
            instance=f"{socket.gethostname()}:{os.getpid()}",
            host=chosen.host or wiring.http.host,
            port=wiring.http.port if chosen.http_port is None else chosen.http_port,
        )
        service = ScenarioRunner(settings)
    except (WiringError, PolicyError, TokenFileError, SecretMissing, LookupError) as error:
        print(f"scenario_runner: {error}", file=sys.stderr)  # noqa: T201 - before or beside logging
        return 2
    if chosen.rebuild:
        done = asyncio.run(service.rebuild())
        print(f"rebuilt {done.runs} runs; {done.events} events go to the lane again")  # noqa: T201
        return 0
    asyncio.run(service.run())
    return 0


if __name__ == "__main__":
    sys.exit(main())
