"""Facts about the outside that steer steps: looked up by the runner once a batch and logged in its basis."""

from collections.abc import Mapping
from typing import Final

EVIDENCE: Final = "evidence"
"""Where quarantine evidence goes: `object`, or `inline` while the artifact store is away."""
LAG_RECORDS: Final = "lag_records"
"""Records between what is committed and the ends of the process's inputs, as of the last look at them."""


def looked_up(lag_records: int) -> dict[str, str]:
    """The environment of a new batch."""
    return {EVIDENCE: "object", LAG_RECORDS: str(lag_records)}


def with_evidence(environment: Mapping[str, str], where: str) -> dict[str, str]:
    """The same environment, evidence going elsewhere."""
    return {**environment, EVIDENCE: where}


def lag_values(environment: Mapping[str, str]) -> dict[str, int]:
    """What a heartbeat says of the lag: nothing where the batch was logged without it."""
    lag = environment.get(LAG_RECORDS)
    return {} if lag is None else {LAG_RECORDS: int(lag)}
