"""A stack of its own whose broker also listens as one of production does: TLS, SCRAM-SHA-512."""

import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sluice_fleet import Deployment, Topology
from sluice_substrate import broker_config, ports
from sluice_substrate.broker_config import BrokerPorts

_ITERATIONS: Final = 4_096
_DAY: Final = timedelta(days=1)


class Authority:
    """A certificate authority of a test; `file` is what clients trust."""

    def __init__(self, folder: Path, name: str) -> None:
        self.file = folder / f"{name}.pem"
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        certificate = self._signed(self._name, self._key, x509.BasicConstraints(ca=True, path_length=0))
        self.file.write_bytes(certificate)

    def broker_file(self, folder: Path) -> Path:
        """Key and certificate of a broker at the loopback, as Kafka reads them."""
        key = ec.generate_private_key(ec.SECP256R1())
        at = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(ports.LOOPBACK))])
        form = (
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        file = folder / "broker.pem"
        file.write_bytes(key.private_bytes(*form) + self._signed(_named("broker"), key, at))
        return file

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType
    ) -> bytes:
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _DAY)
            .not_valid_after(now + _DAY)
            .add_extension(extension, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


@contextmanager
def secured(folder: Path, topology: Topology, patch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    """Broker and database, with the wiring's Kafka settings (in the environment) those of production."""
    authority = Authority(folder, "authority")
    (port,) = ports.choose([None])
    plain = broker_config.server_properties
    changed = {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": authority.broker_file(folder),
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "scram-sha-512.sasl.jaas.config": (
            "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        ),
    }

    def with_tls(data: Path, at: BrokerPorts, password: str, *, listen_on: str = ports.LOOPBACK) -> str:
        text = plain(data, at, password, listen_on=listen_on)
        own = dict(line.split("=", 1) for line in text.splitlines())
        for listeners in ("listeners", "advertised.listeners"):
            own[listeners] += f",SECURE://{ports.LOOPBACK}:{port}"
        own["listener.security.protocol.map"] += ",SECURE:SASL_SSL"
        own |= {f"listener.name.secure.{key}": str(value) for key, value in changed.items()}
        return "".join(f"{key}={value}\n" for key, value in own.items())

    deployment = Deployment(folder / "home", topology, bound=True)
    try:
        patch.setattr(broker_config, "server_properties", with_tls)
        deployment.substrate_up(components=("kafka", "postgres"))
        _give_passwords(deployment)
        for key, value in {
            "BOOTSTRAP_SERVERS": f"{ports.LOOPBACK}:{port}",
            "SECURITY_PROTOCOL": "SASL_SSL",
            "SASL_MECHANISM": "SCRAM-SHA-512",
            "SSL_CA_LOCATION": str(authority.file),
        }.items():
            patch.setenv(f"SLUICE_KAFKA__{key}", value)
        yield deployment
    finally:
        deployment.down()


def _give_passwords(deployment: Deployment) -> None:
    """Everybody's password for SCRAM-SHA-512 as well."""
    strength = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, _ITERATIONS)
    changes = [
        UserScramCredentialUpsertion(file.name.removeprefix("kafka_"), strength, file.read_bytes().strip())
        for file in sorted((deployment.home / "secrets").glob("kafka_*"))
    ]
    admin = deployment.stack.admin()
    for future in admin.alter_user_scram_credentials(changes).values():
        future.result(30)
