"""Contracts of Sluice: Avro codec, typed records, identity formulas and topics."""

from sluice_contracts.codec import (
    CONTRACTS,
    MAX_VALUE_BYTES,
    Contract,
    DecodeCode,
    Decoded,
    DecodeFailure,
    EncodeError,
    UnknownContractError,
    check,
    contract_by_id,
    contract_for,
    decode,
    encode,
    to_record,
)
from sluice_contracts.envelope import ContextPins, context_pins, derived_id, event_id_for, payload_hash
from sluice_contracts.receipts import NO_COORDINATES, coordinate_tails
from sluice_contracts.record_base import EventRecord
from sluice_contracts.topics import (
    LANES,
    PRINCIPALS,
    TOPICS,
    Principal,
    Topic,
    lane_for,
    partition_key_of,
    topic_for,
)
from sluice_contracts.violations import Violation

__all__ = [
    "CONTRACTS",
    "LANES",
    "MAX_VALUE_BYTES",
    "NO_COORDINATES",
    "PRINCIPALS",
    "TOPICS",
    "ContextPins",
    "Contract",
    "DecodeCode",
    "DecodeFailure",
    "Decoded",
    "EncodeError",
    "EventRecord",
    "Principal",
    "Topic",
    "UnknownContractError",
    "Violation",
    "check",
    "context_pins",
    "contract_by_id",
    "contract_for",
    "coordinate_tails",
    "decode",
    "derived_id",
    "encode",
    "event_id_for",
    "lane_for",
    "partition_key_of",
    "payload_hash",
    "to_record",
    "topic_for",
]
