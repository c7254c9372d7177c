"""Writes the wiring file of a local stack, in the shape that `sluice_kit.config.load_wiring` reads."""

from pathlib import Path
from typing import Any

import yaml

from sluice_substrate import postgres, registry
from sluice_substrate.folders import Home
from sluice_substrate.ports import LOOPBACK
from sluice_substrate.record import StackRecord
from sluice_substrate.secret_files import write_private

KEPT = ("webhooks", "telemetry", "policy_dir", "environment", "region")
"""What the stack knows nothing of: it stays as whoever runs the stack has written it."""


def write_wiring(home: Home, record: StackRecord) -> None:
    """Write `wiring.yaml` for the components in the record (one never started is left out)."""
    parts = record.components
    content: dict[str, Any] = {"profile": "local"}
    if "kafka" in parts:
        content["kafka"] = {
            "bootstrap_servers": f"{LOOPBACK}:{parts['kafka'].ports[0]}",
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_mechanism": "SCRAM-SHA-256",
        }
    if "postgres" in parts:
        content["postgres"] = {
            "dsn": postgres.dsn(parts["postgres"].ports[0]),
            "password_secret": postgres.SECRET,
        }
    if "registry" in parts:
        content["registry"] = {"url": registry.url(parts["registry"].ports[0])}
    content |= {
        "artifacts": {"root": str(home.root / "artifacts")},
        "oracle": {"root": str(home.root / "oracle")},
        "secrets": {"dir": str(home.secrets)},
        "state_dir": str(home.root / "state"),
        "http": {"host": LOOPBACK, "port": 0},
    }
    content |= _kept(home.wiring)
    header = f"# Written at each start of the local stack: only edits of {', '.join(KEPT)} are kept.\n"
    write_private(home.wiring, header + yaml.safe_dump(content, sort_keys=False))


def wire_webhook(
    wiring: Path, effector: str, url: str, status_url: str | None = None, *, honours_key: bool = False
) -> None:
    """Let the effector of that name call `url`, signed with the secret `webhook_signing`.

    `honours_key`: its target does each key once.
    Services read the file at their start; a local stack keeps the entry when it starts anew.
    """
    content = yaml.safe_load(wiring.read_text(encoding="utf-8"))
    target: dict[str, Any] = {"url": url}
    target |= {"status_url": status_url} if status_url is not None else {}
    target |= {"honours_key": True} if honours_key else {}
    content.setdefault("webhooks", {})[effector] = target
    write_private(wiring, yaml.safe_dump(content, sort_keys=False))


def _kept(wiring: Path) -> dict[str, Any]:
    if not wiring.is_file():
        return {}
    content = yaml.safe_load(wiring.read_text(encoding="utf-8"))
    return {name: content[name] for name in KEPT if name in content} if isinstance(content, dict) else {}
