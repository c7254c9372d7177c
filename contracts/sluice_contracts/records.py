"""The typed records, one dataclass an event type version, and the shared shapes they are built from."""

from sluice_contracts.generated import records as _generated
from sluice_contracts.generated.records import *  # noqa: F403 - the generated module names its exports

__all__ = _generated.__all__
