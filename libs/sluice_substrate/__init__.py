"""The local substrate: Kafka, PostgreSQL and a schema registry without Docker, Java or Maven."""

from sluice_substrate.errors import (
    DownloadFailed,
    NotRunning,
    PortLost,
    StartFailed,
    SubstrateError,
    Unreachable,
)
from sluice_substrate.stack import (
    COMPONENTS,
    READER,
    Component,
    ComponentStatus,
    LocalStack,
    Progress,
    StackStatus,
)

__all__ = [
    "COMPONENTS",
    "READER",
    "Component",
    "ComponentStatus",
    "DownloadFailed",
    "LocalStack",
    "NotRunning",
    "PortLost",
    "Progress",
    "StackStatus",
    "StartFailed",
    "SubstrateError",
    "Unreachable",
]
