"""Wiring (where things are) and secrets (by name). Policy lives in files of its own, with a revision."""

from sluice_kit.config.file_settings import FileSettings, PolicyError, SettingsFileError, load_settings
from sluice_kit.config.secrets import SecretMissing, SecretSource
from sluice_kit.config.wiring import (
    ArtifactWiring,
    HttpWiring,
    KafkaWiring,
    OracleWiring,
    PostgresWiring,
    RegistryWiring,
    SecretWiring,
    TelemetryWiring,
    Wiring,
    WiringError,
    load_wiring,
)

__all__ = [
    "ArtifactWiring",
    "FileSettings",
    "HttpWiring",
    "KafkaWiring",
    "OracleWiring",
    "PolicyError",
    "PostgresWiring",
    "RegistryWiring",
    "SecretMissing",
    "SecretSource",
    "SecretWiring",
    "SettingsFileError",
    "TelemetryWiring",
    "Wiring",
    "WiringError",
    "load_settings",
    "load_wiring",
]
