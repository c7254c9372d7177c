"""Events as JSON: what NDJSON output shows of a record."""

import base64
from typing import Any

import orjson

from sluice_contracts import DecodeFailure, decode
from sluice_kit.kafka.messages import KafkaMessage


def record_line(topic: str, partition: int, message: KafkaMessage) -> bytes:
    """One record as a line of JSON.

    `{"topic", "partition", "offset", "key", "event"}`; times are integer microseconds, bytes base64. A value
    that does not decode gives `error` and `value_base64` instead of `event`.
    """
    key = message.key()
    line: dict[str, Any] = {
        "topic": topic,
        "partition": partition,
        "offset": message.offset(),
        "key": None if key is None else key.decode(errors="replace"),
    }
    value = message.value()
    decoded = decode(value)
    if isinstance(decoded, DecodeFailure):
        line["error"] = {"code": str(decoded.code), "detail": decoded.detail}
        line["value_base64"] = None if value is None else base64.b64encode(value).decode()
    else:
        line["event"] = decoded.fields
    return orjson.dumps(line, _plain, orjson.OPT_APPEND_NEWLINE)


def _plain(value: object) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"{type(value).__name__} in an event")
