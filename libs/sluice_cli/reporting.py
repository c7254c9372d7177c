"""What the commands say of trouble that is no fault of theirs: one line, and an exit code of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from confluent_kafka import KafkaException

from sluice_cli.options import fail
from sluice_cli.service_calls import CallError
from sluice_kit.artifacts import ArtifactError
from sluice_kit.config import SecretMissing, WiringError
from sluice_kit.kafka import admin as kafka_admin
from sluice_kit.replay import ReplayError
from sluice_kit.stage import StageError

_EXPECTED: Final[tuple[type[Exception], ...]] = (
    ArtifactError,
    CallError,
    KafkaException,
    ReplayError,
    SecretMissing,
    StageError,
    WiringError,
    kafka_admin.OneWriterViolation,
)


@contextmanager
def reported(*also: type[Exception], as_json: bool = False) -> Iterator[None]:
    """Leave with 2 when the block cannot be done; `also` are the command's own expected errors."""
    try:
        yield
    except (*_EXPECTED, *also) as error:
        fail(_said(error), as_json=as_json)


def _said(error: Exception) -> str:
    if isinstance(error, ReplayError):
        return f"{error.code}: {error}"
    if isinstance(error, StageError):
        return f"{type(error).__name__}: {error}"
    if isinstance(error, KafkaException):
        return f"BROKER: {error.args[0].str()}"
    return str(error)
