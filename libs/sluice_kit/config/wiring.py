"""Wiring: hosts, folders and names of secrets. What differs between local, dev and prod, and nothing else."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic_settings import SettingsConfigDict

from sluice_kit.config.file_settings import FileSettings, SettingsFileError, load_settings
from sluice_kit.config.secrets import SecretSource

POLICY_DIR = Path(__file__).parents[3] / "deploy" / "policy"
"""The policy files that come with the code, in a checkout as in an image."""


class WiringError(SettingsFileError):
    """The wiring file is missing or wrong; the message names the file and each wrong key."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class KafkaWiring(_Section):
    """How to reach the cluster. Credentials are secrets called `kafka_<principal>`."""

    bootstrap_servers: str
    security_protocol: Literal["PLAINTEXT", "SASL_PLAINTEXT", "SASL_SSL", "SSL"] = "SASL_PLAINTEXT"
    sasl_mechanism: Literal["SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN"] = "SCRAM-SHA-256"
    ssl_ca_location: str | None = None


class PostgresWiring(_Section):
    """The DSN holds no password; it is the secret named by `password_secret` (none: peer or trust)."""

    dsn: str
    password_secret: str | None = None


class RegistryWiring(_Section):
    """A Confluent-compatible schema registry; only tools and outside consumers need it."""

    url: str | None = None


class ArtifactWiring(_Section):
    """Root of the artifact store: a folder or `s3://bucket/prefix`; S3 keys are secrets by these names."""

    root: str
    s3_endpoint: str | None = None
    s3_region: str = "us-east-1"
    s3_key_id_secret: str = "s3_key_id"
    s3_key_secret: str = "s3_key_secret"


class OracleWiring(_Section):
    """Root of the sealed worlds, same forms as the artifact root."""

    root: str


class SecretWiring(_Section):
    """Folder with one file a secret (mode 0600); the environment wins over it."""

    dir: Path | None = None


class HttpWiring(_Section):
    """Where a service listens; port 0 asks the system for a free one."""

    host: str = "127.0.0.1"
    port: int = Field(default=0, ge=0, le=65535)


class WebhookWiring(_Section):
    """Where an effector of kind `webhook` calls; in `status_url`, `{key}` becomes the idempotency key.

    `honours_key`: whoever answers there does each key once, however often it is called with it.
    """

    url: str = Field(pattern="^https?://")
    status_url: str | None = Field(default=None, pattern=r"^https?://.*\{key\}")
    signing_secret: str = "webhook_signing"
    honours_key: bool = False


class TelemetryWiring(_Section):
    """Where traces go (OTLP over HTTP; none: they are not exported) and how many events are traced."""

    otlp_endpoint: str | None = None
    trace_ratio: float = Field(default=0.001, ge=0, le=1)
    log_level: str = "INFO"


class Wiring(FileSettings):
    """One deployment's wiring. Precedence: environment (`SLUICE_KAFKA__BOOTSTRAP_SERVERS`) > file."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, env_prefix="SLUICE_", env_nested_delimiter="__"
    )

    profile: Literal["local", "dev", "prod"] = "local"
    environment: str = "local"
    region: str = "local"
    kafka: KafkaWiring
    postgres: PostgresWiring | None = None
    registry: RegistryWiring = RegistryWiring()
    artifacts: ArtifactWiring
    oracle: OracleWiring
    secrets: SecretWiring = SecretWiring()
    state_dir: Path
    policy_dir: Path = Field(default_factory=lambda: POLICY_DIR)
    """Folder of the policy files; none named: those that come with the code."""
    http: HttpWiring = HttpWiring()
    telemetry: TelemetryWiring = TelemetryWiring()
    webhooks: dict[str, WebhookWiring] = Field(default_factory=dict)

    @property
    def secret_source(self) -> SecretSource:
        """Where this deployment's secrets are looked up."""
        return SecretSource(self.secrets.dir)


def load_wiring(path: Path) -> Wiring:
    """Read a wiring file (YAML). Raises WiringError naming the file and every wrong key."""
    return load_settings(Wiring, path, "wiring", WiringError)
