"""From a wiring file to librdkafka settings: the checker's own reading of it, of the few keys it needs."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sluice_checker.bus_reader import CheckerError
from sluice_checker.evidence import EvidenceSource, FolderEvidence, S3Evidence

PRINCIPAL = "auditor"


@dataclass(frozen=True, slots=True)
class CheckerWiring:
    """How the checker reaches the broker (as `auditor`) and the evidence."""

    connection: Mapping[str, Any]
    evidence: EvidenceSource


def read_wiring(path: Path, environment: Mapping[str, str] = os.environ) -> CheckerWiring:
    """Read the keys kafka, secrets and artifacts of a wiring file; `SLUICE_<SECTION>__<KEY>` wins.

    Raises CheckerError naming the file and what is missing.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise CheckerError(f"wiring file {path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise CheckerError(f"wiring file {path} must hold a mapping at its top")
    settings = _Settings(content, environment)
    return CheckerWiring(_connection(settings), _evidence(settings))


@dataclass(frozen=True, slots=True)
class _Settings:
    content: Mapping[str, Any]
    environment: Mapping[str, str]

    def get(self, section: str, key: str, default: str | None = None) -> str | None:
        from_file = (self.content.get(section) or {}).get(key, default)
        return self.environment.get(f"SLUICE_{section}__{key}".upper(), from_file)

    def required(self, section: str, key: str) -> str:
        value = self.get(section, key)
        if value is None:
            raise CheckerError(f"the wiring names no {section}.{key}")
        return value

    def secret(self, name: str) -> str | None:
        if value := self.environment.get(f"SLUICE_SECRET_{name}".upper()):
            return value
        folder = self.get("secrets", "dir")
        file = None if folder is None else Path(folder) / name
        return file.read_text(encoding="utf-8").rstrip("\n") if file is not None and file.is_file() else None


def _connection(settings: _Settings) -> dict[str, Any]:
    protocol = settings.get("kafka", "security_protocol", "SASL_PLAINTEXT")
    connection: dict[str, Any] = {
        "bootstrap.servers": settings.required("kafka", "bootstrap_servers"),
        "security.protocol": protocol,
        "client.id": "sluice-checker",
    }
    if str(protocol).startswith("SASL"):
        password = settings.secret(f"kafka_{PRINCIPAL}")
        if password is None:
            raise CheckerError(
                "secret kafka_auditor not found: set SLUICE_SECRET_KAFKA_AUDITOR or secrets.dir"
            )
        connection |= {
            "sasl.mechanism": settings.get("kafka", "sasl_mechanism", "SCRAM-SHA-256"),
            "sasl.username": PRINCIPAL,
            "sasl.password": password,
        }
    authority = settings.get("kafka", "ssl_ca_location")
    return connection if authority is None else connection | {"ssl.ca.location": authority}


def _evidence(settings: _Settings) -> EvidenceSource:
    root = settings.required("artifacts", "root")
    if not root.startswith("s3://"):
        return FolderEvidence(Path(root.removeprefix("file://")).expanduser())
    options = {
        "region": settings.get("artifacts", "s3_region", "us-east-1"),
        "endpoint": settings.get("artifacts", "s3_endpoint"),
        "access_key_id": settings.secret(str(settings.get("artifacts", "s3_key_id_secret", "s3_key_id"))),
        "secret_access_key": settings.secret(
            str(settings.get("artifacts", "s3_key_secret", "s3_key_secret"))
        ),
    }
    return S3Evidence(root, {name: value for name, value in options.items() if value is not None})
