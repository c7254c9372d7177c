"""The same windows as a Quix Streams job; runs in an environment of its own, which has `quixstreams`.

`python quix_job.py` reads a JSON object from its standard input: `connection` (of librdkafka), `input`,
`output`, `group`, `schema` (Avro, of a payment, times as plain longs), `state_dir`, `commit_seconds`. It goes
on until SIGTERM.

It uses the state API: a key has one value, its times and amounts as they count, packed. The library's own
sliding windows write every open window of a key again at each payment. Exactly once, state in RocksDB,
changelog topics on. From a topic of several partitions payments go through another one to their terminals.
"""

import json
import sys
from array import array
from bisect import bisect_right, insort
from typing import Any, Final

from quixstreams import Application, State  # type: ignore[import-not-found]
from quixstreams.kafka import ConnectionConfig  # type: ignore[import-not-found]
from quixstreams.models import Deserializer  # type: ignore[import-not-found]
from quixstreams.models.serializers.avro import AvroDeserializer  # type: ignore[import-not-found]

DAY: Final = 86_400_000_000
WINDOWS: Final = {"1d": DAY, "7d": 7 * DAY, "30d": 30 * DAY}
DELAY: Final = 7 * DAY
LATENESS: Final = DAY
_FRAME: Final = 5
"""The wire format's magic byte and schema id."""


class FramedAvro(Deserializer):  # type: ignore[misc]
    """Payments in the Confluent wire format, all of one schema."""

    def __init__(self, schema: dict[str, Any]) -> None:
        super().__init__()
        self._avro = AvroDeserializer(schema)

    def __call__(self, value: bytes, ctx: Any) -> Any:
        """The event's fields."""
        return self._avro(value[_FRAME:], ctx)


def customer_features(event: dict[str, Any], state: State) -> dict[str, Any]:
    """Count and mean amount over the windows, the payment itself in them."""
    payload = event["payload"]
    at: int = event["ts_utc"]
    times, amounts = _unpacked(state.get_bytes("seen"))
    place = bisect_right(times, at)
    times.insert(place, at)
    amounts.insert(place, payload["amount_minor"])
    end = place + 1
    known = {"event_id": event["event_id"], "at": at, "terminal_id": payload["terminal_id"]}
    for name, length in WINDOWS.items():
        start = bisect_right(times, at - length)
        known[f"customer_count_{name}"] = end - start
        known[f"customer_mean_amount_{name}"] = sum(amounts[start:end]) / (end - start)
    gone = bisect_right(times, times[-1] - WINDOWS["30d"] - LATENESS)
    state.set_bytes("seen", (times[gone:] + amounts[gone:]).tobytes())
    return known


def terminal_features(known: dict[str, Any], state: State) -> dict[str, Any]:
    """Count over the windows, a week behind."""
    at = known["at"]
    times = array("q", state.get_bytes("seen") or b"")
    if not times or times[-1] <= at:
        times.append(at)
    else:
        insort(times, at)
    end = bisect_right(times, at - DELAY)
    for name, length in WINDOWS.items():
        known[f"terminal_count_{name}"] = end - bisect_right(times, at - DELAY - length)
    gone = bisect_right(times, times[-1] - DELAY - WINDOWS["30d"] - LATENESS)
    state.set_bytes("seen", times[gone:].tobytes())
    return known


def main() -> None:
    """Run the job."""
    given = json.load(sys.stdin)
    # Quix Streams refuses settings that do not say where the broker is and who asks, such as backoffs.
    named = {key.replace(".", "_"): value for key, value in given["connection"].items()}
    app = Application(
        broker_address=ConnectionConfig(
            **{key: value for key, value in named.items() if key in ConnectionConfig.model_fields}
        ),
        consumer_group=given["group"],
        auto_offset_reset="earliest",
        processing_guarantee="exactly-once",
        commit_interval=given["commit_seconds"],
        state_dir=given["state_dir"],
        loglevel="WARNING",
    )
    payments = app.topic(given["input"], value_deserializer=FramedAvro(given["schema"]))
    features = app.topic(given["output"], key_serializer="str", value_serializer="json")
    frame = app.dataframe(payments)
    frame = frame.apply(customer_features, stateful=True)
    frame = frame.group_by("terminal_id")
    frame = frame.apply(terminal_features, stateful=True)
    frame.to_topic(features, key=lambda known: known["event_id"])
    app.run()


def _unpacked(value: bytes | None) -> tuple["array[int]", "array[int]"]:
    both = array("q", value or b"")
    half = len(both) // 2
    return both[:half], both[half:]


if __name__ == "__main__":
    main()
