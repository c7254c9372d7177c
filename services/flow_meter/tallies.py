"""Writing the tallies of minutes on the wire: what those of a run share is encoded once, by the codec."""

from collections.abc import Mapping
from typing import Any, Final

from sluice_contracts import contract_for
from sluice_contracts.wire import NUMBER, moment
from sluice_kit.stage import TrailingOutput

TALLY: Final = "state.flow_meter.tally"
_CONTRACT: Final = contract_for("flow_tally", 1)
_NOTHING: Final = {"minute": 0, "events": 0, "amount_minor_total": 0, "last_event_id": ""}


class TallyWriter:
    """Writes the tallies of one run, byte for byte as the codec does."""

    def __init__(self, tenant: str, run_id: str) -> None:
        self._run = {"tenant": tenant, "run_id": run_id}
        self._key = f"{tenant}|{run_id}"
        bare = _CONTRACT.encode(self._run | _NOTHING)
        self._head = bare[: -len(_NOTHING)].decode("latin-1")  # a byte for each zero and for the empty text

    def write(self, minute: int, tally: Mapping[str, Any]) -> TrailingOutput:
        """The record of the minute that starts at `minute` (microseconds). Raises EncodeError."""
        events, amount, event_id = tally["events"], tally["amount"], tally["last"][1]
        if event_id.isascii():
            value = (
                f"{self._head}{moment(minute)}{NUMBER[events]}{NUMBER[amount]}"
                f"{NUMBER[len(event_id)]}{event_id}"
            ).encode("latin-1")
        else:
            counted = {"events": events, "amount_minor_total": amount, "last_event_id": event_id}
            value = _CONTRACT.encode(self._run | {"minute": minute} | counted)
        return TrailingOutput(TALLY, f"{self._key}|{minute}".encode(), value)
