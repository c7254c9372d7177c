"""Where the examples find the broker: the environment, or the wiring file that `sluice up` writes.

Environment: KAFKA_BOOTSTRAP_SERVERS and KAFKA_PASSWORD (of the principal); the rest has usual values.
"""

import os
from pathlib import Path
from typing import Any

import yaml


def wiring_file(wiring: str) -> dict[str, Any]:
    """The wiring file, empty when there is none."""
    file = Path(wiring)
    return (yaml.safe_load(file.read_text(encoding="utf-8")) or {}) if file.is_file() else {}


def secret(wiring: str, name: str) -> str:
    """A secret by name: SLUICE_SECRET_<NAME>, or the file of that name in the wired secrets folder."""
    if value := os.environ.get(f"SLUICE_SECRET_{name.upper()}"):
        return value
    folder = (wiring_file(wiring).get("secrets") or {}).get("dir")
    file = Path(folder, name) if folder else None
    if file is None or not file.is_file():
        raise SystemExit(f"no secret {name}: set SLUICE_SECRET_{name.upper()}, or start `sluice up`")
    return file.read_text(encoding="utf-8").strip()


def kafka_settings(wiring: str, principal: str) -> dict[str, Any]:
    """Settings of librdkafka for a principal."""
    kafka = wiring_file(wiring).get("kafka") or {}
    servers = os.environ.get("KAFKA_BOOTSTRAP_SERVERS") or kafka.get("bootstrap_servers")
    if not servers:
        raise SystemExit(f"no broker: start one with `sluice up`, or set KAFKA_BOOTSTRAP_SERVERS ({wiring})")
    protocol = os.environ.get("KAFKA_SECURITY_PROTOCOL") or kafka.get("security_protocol")
    mechanism = os.environ.get("KAFKA_SASL_MECHANISM") or kafka.get("sasl_mechanism")
    return {
        "bootstrap.servers": servers,
        "security.protocol": protocol or "SASL_PLAINTEXT",
        "sasl.mechanism": mechanism or "SCRAM-SHA-256",
        "sasl.username": principal,
        "sasl.password": os.environ.get("KAFKA_PASSWORD") or secret(wiring, f"kafka_{principal}"),
    }
