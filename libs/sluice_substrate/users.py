"""SCRAM users of a running broker: principals that came after its folder was formatted."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # public, not re-exported in type stubs
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialAlteration,
    UserScramCredentialUpsertion,
)

from sluice_substrate.broker_config import ADMIN, BROKER
from sluice_substrate.errors import StartFailed
from sluice_substrate.secret_files import ensure_secret

_ITERATIONS = 4096
_SECONDS = 15


def admin_config(secrets: Path, bootstrap_servers: str) -> dict[str, Any]:
    """Client configuration of the super user `admin`."""
    return {
        "bootstrap.servers": bootstrap_servers,
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "SCRAM-SHA-256",
        "sasl.username": ADMIN,
        "sasl.password": ensure_secret(secrets, f"kafka_{ADMIN}"),
        "client.id": "sluice-substrate",
        "log_level": 2,
    }


def ensure_users(admin: AdminClient, secrets: Path, principals: Iterable[str]) -> list[str]:
    """Create the principals that have no credential or no password file; returns those.

    Raises StartFailed when the broker does not accept the administrator.
    """
    wanted = sorted(set(principals) - {ADMIN, BROKER})
    try:
        described = admin.describe_user_scram_credentials(request_timeout=_SECONDS)
        assert not isinstance(described, dict), "one future for all users, as none was named"
        known: Mapping[str, Any] = described.result()
        missing = [name for name in wanted if name not in known or not (secrets / f"kafka_{name}").exists()]
        how = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, _ITERATIONS)
        changes: list[UserScramCredentialAlteration] = [
            UserScramCredentialUpsertion(name, how, ensure_secret(secrets, f"kafka_{name}").encode())
            for name in missing
        ]
        if changes:
            for future in admin.alter_user_scram_credentials(changes, request_timeout=_SECONDS).values():
                future.result()
    except KafkaException as error:
        raise StartFailed(
            f"the broker does not accept its administrator ({error}). If {secrets / 'kafka_admin'} was "
            "deleted or changed, restore it, or start from a fresh home folder"
        ) from error
    return missing
