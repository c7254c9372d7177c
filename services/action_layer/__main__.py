"""``python -m services.action_layer --wiring FILE``: carry actions out until SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from services.action_layer.app import ActionLayer
from services.action_layer.documents import SERVICE
from services.action_layer.settings import POLICY_FILE, Settings, load_policy
from sluice_kit.config import PolicyError, SecretMissing, WiringError, load_wiring
from sluice_kit.http.bearer_tokens import TokenFileError
from sluice_kit.telemetry import configure_logging
from sluice_kit.warm_up import warm_up


def main(argv: list[str] | None = None) -> int:
    """Start; the exit code is 2 for wrong settings, 75 for a foreign effect log, the reason on stderr."""
    parser = argparse.ArgumentParser(prog=f"python -m services.{SERVICE}", description=__doc__)
    parser.add_argument("--wiring", type=Path, required=True, help="wiring file (YAML)")
    parser.add_argument(
        "--policy", type=Path, help=f"policy file (YAML) instead of {POLICY_FILE} in the wiring's policy_dir"
    )
    parser.add_argument("--host", help="listen here instead of the wiring's http.host")
    parser.add_argument(
        "--http-port", type=int, help="listen here instead of the wiring's http.port; 0: any free one"
    )
    chosen = parser.parse_args(argv)
    try:
        wiring = load_wiring(chosen.wiring)
        configure_logging(SERVICE, level=wiring.telemetry.log_level)
        settings = Settings(
            wiring=wiring,
            policy=load_policy(chosen.policy or wiring.policy_dir / POLICY_FILE),
            host=chosen.host or wiring.http.host,
            port=wiring.http.port if chosen.http_port is None else chosen.http_port,
        )
        service = ActionLayer(settings)
    except (WiringError, PolicyError, TokenFileError, SecretMissing, LookupError) as error:
        print(f"{SERVICE}: {error}", file=sys.stderr)  # noqa: T201 - before or beside logging
        return 2
    warm_up()
    return asyncio.run(service.run())


if __name__ == "__main__":
    sys.exit(main())
