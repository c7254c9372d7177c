"""The demo's webhook receiver: an HTTP server of its own that acts on calls and keeps its own effect log.

``python -m sluice_cli.demo_receiver --folder DIR --wiring FILE`` serves on loopback and writes `port` and
`effects.ndjson` (a line an effect, with its `key`) into the folder. The checker holds it against what the
action layer says.
"""

import argparse
import asyncio
import secrets
from dataclasses import dataclass
from pathlib import Path

from services.action_layer import testing_target
from services.action_layer.signing import signing_key
from sluice_cli.demo_waiting import DemoError, wait_until
from sluice_fleet import Deployment
from sluice_kit.config import load_wiring
from sluice_substrate.secret_files import write_private
from sluice_substrate.wiring_file import wire_webhook

NAME = "webhook_receiver"
EFFECTOR = "webhook"
"""Name of the effector in deploy/policy/action_layer.yaml that calls it."""
SECRET = "webhook_signing"


@dataclass(frozen=True, slots=True)
class Receiver:
    """A running receiver."""

    url: str
    effects: Path


def start_receiver(deployment: Deployment) -> Receiver:
    """Start it beside the services and wire the webhook effector to it; before the services start.

    Raises DemoError when it does not come up.
    """
    folder = deployment.home.expanduser().resolve() / "receiver"
    folder.mkdir(parents=True, exist_ok=True)
    write_private(deployment.home / "secrets" / SECRET, secrets.token_urlsafe(32))
    log = deployment.fleet.start_beside(NAME, ["-m", "sluice_cli.demo_receiver", "--folder", str(folder)])
    port_file = folder / "port"
    try:
        wait_until("the webhook receiver to listen", port_file.is_file)
    except DemoError as error:
        raise DemoError(f"{error}; its log: {log}") from error
    url = f"http://127.0.0.1:{port_file.read_text(encoding='utf-8')}/"
    wire_webhook(deployment.wiring_file, EFFECTOR, url, honours_key=True)
    effects = folder / "effects.ndjson"
    effects.touch()
    return Receiver(url, effects)


def main() -> None:
    """Serve until the process ends."""
    parser = argparse.ArgumentParser(prog="python -m sluice_cli.demo_receiver")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--wiring", type=Path, required=True)
    chosen = parser.parse_args()
    secret = load_wiring(chosen.wiring).secret_source.get(SECRET)
    key = signing_key(SECRET, secret)
    asyncio.run(testing_target.serve(chosen.folder, key, honours=True, port=0, behaves=True))


if __name__ == "__main__":
    main()
