"""Writes the wiring file of a local stack, in the shape that `sluice_kit.config.load_wiring` reads."""

from typing import Any

import yaml

from sluice_substrate import postgres, registry
from sluice_substrate.folders import Home
from sluice_substrate.ports import LOOPBACK
from sluice_substrate.record import StackRecord
from sluice_substrate.secret_files import write_private


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
    header = "# Written at each start of the local stack: edits are lost.\n"
    write_private(home.wiring, header + yaml.safe_dump(content, sort_keys=False))
