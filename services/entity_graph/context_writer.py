"""Writing contexts on the wire: what those of a run and batch share is encoded once, by the codec."""

from typing import Final

from sluice_contracts import contract_for
from sluice_contracts.wire import NUMBER, moment
from sluice_graph.observing import EventContext

_CONTRACT: Final = contract_for("graph_context", 1)
_NULLS: Final = {"component_size": None, "shared_device_degree": None, "fraud_distance": None}
_DIFFERS: Final = {"event_id": "", "ts_utc": 0, **_NULLS, "graph_version": 0}
"""What differs from payment to payment and stands in front of the basis; a zero byte each as it is here."""


class ContextWriter:
    """Writes the contexts of one run and input basis (hex), byte for byte as the codec does."""

    def __init__(self, tenant: str, run_id: str, basis: str) -> None:
        self._shared = {"tenant": tenant, "run_id": run_id, "graph_basis": basis}
        bare = _CONTRACT.encode(self._shared | _DIFFERS | {"integrity": "", "conflicts": 0}).decode("latin-1")
        based = f"{NUMBER[len(basis)]}{basis}"
        front = bare.removesuffix(f"{based}\x00\x00")
        self._head = front[: -len(_DIFFERS)]
        self._ends = [
            f"{based}{NUMBER[len(word)]}{word}" for word in (_integrity(clean=False), _integrity(clean=True))
        ]

    def write(self, event_id: str, ts_utc: int, context: EventContext, version: int) -> bytes:
        """The context of a payment as of graph `version`; both times in microseconds. Raises EncodeError."""
        size, shared, distance, conflicts, _ = context
        clean = context.clean
        if not event_id.isascii():
            return _CONTRACT.encode(
                self._shared
                | {"event_id": event_id, "ts_utc": ts_utc, "graph_version": version}
                | {"component_size": size, "shared_device_degree": shared, "fraud_distance": distance}
                | {"integrity": _integrity(clean=clean), "conflicts": conflicts}
            )
        return (
            f"{self._head}{NUMBER[len(event_id)]}{event_id}{moment(ts_utc)}"
            f"{_optional(size)}{_optional(shared)}{_optional(distance)}"
            f"{moment(version)}{self._ends[clean]}{NUMBER[conflicts]}"
        ).encode("latin-1")


def _integrity(*, clean: bool) -> str:
    return "CLEAN" if clean else "DEGRADED"


def _optional(number: int | None) -> str:
    return "\x00" if number is None else f"\x02{NUMBER[number]}"
