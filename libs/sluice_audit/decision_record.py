"""The decision record, version 1: what led from an event to its outcomes, by reference.

A record is a dict of *field groups*; every field is always there. Times are microseconds since 1970 UTC,
digests sha256 in lowercase hex. What stands on the bus is named by id and coordinates, and pinned by the
digest of its bytes.

    identity   schema_version, event_id, tenant, run_id, ts_utc of the event
    receipt    reference of the gate's receipt, or None
    snapshot   {hash} of the feature snapshot, or None
    decision   reference of the decision (its id is the decision id), or None
    intents    references of the action intents, in order
    outcomes   the same, with the intent_id and the outcome, in order
    chain      status COMPLETE or INCOMPLETE, missing links, `corrects`: leaf hash of the record that this one
               takes the place of, or None

A reference is {id, topic, partition, offset, digest}.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sluice_audit.value_forms import DIGEST, NUMBER, TEXT, Form, ListOf, Matching, Nullable, Structure, one_of

SCHEMA_VERSION: Final = 1
COMPLETE: Final = "COMPLETE"
INCOMPLETE: Final = "INCOMPLETE"
COMPLETE_CHAIN: Final = '{"corrects":null,"missing":[],"status":"COMPLETE"}'
"""The canonical JSON of `chain` in a record that lacks nothing and corrects none: as in nearly all."""
LINKS: Final = ("receipt", "snapshot", "decision", "intents", "outcomes")
_LISTS: Final = ("intents", "outcomes")  # some of these may be there while others are missing
UNCERTAIN: Final = "UNCERTAIN"
OUTCOMES: Final = ("EXECUTED", "DENIED", "FAILED", UNCERTAIN)

_REFERENCE: Final[dict[str, Form]] = {
    "id": TEXT,
    "topic": TEXT,
    "partition": NUMBER,
    "offset": NUMBER,
    "digest": DIGEST,
}
RECORD: Final = Structure(
    {
        "identity": Structure(
            {
                "schema_version": Matching(str(SCHEMA_VERSION), f"the number {SCHEMA_VERSION}"),
                "event_id": TEXT,
                "tenant": TEXT,
                "run_id": TEXT,
                "ts_utc": NUMBER,
            }
        ),
        "receipt": Nullable(Structure(_REFERENCE)),
        "snapshot": Nullable(Structure({"hash": DIGEST})),
        "decision": Nullable(Structure(_REFERENCE)),
        "intents": ListOf(Structure(_REFERENCE)),
        "outcomes": ListOf(Structure(_REFERENCE | {"intent_id": TEXT, "outcome": one_of(*OUTCOMES)})),
        "chain": Structure(
            {
                "status": one_of(COMPLETE, INCOMPLETE),
                "missing": ListOf(one_of(*LINKS)),
                "corrects": Nullable(DIGEST),
            }
        ),
    }
)
GROUPS: Final = tuple(RECORD.fields)
"""Names of the field groups, in the order of canonical JSON."""


def contradiction(record: Mapping[str, Any]) -> str:
    """Why a record of the right form gives a wrong account of its chain, '' when it does not."""
    chain = record["chain"]
    missing = chain["missing"]
    if (chain["status"] == COMPLETE) == bool(missing):
        return f"status {chain['status']} with missing links {missing}"
    absent = {link for link in LINKS if record[link] is None}
    if not absent and not missing:
        return ""
    if len(set(missing)) != len(missing):
        return f"missing links {missing} name one twice"
    if unnamed := absent - set(missing):
        return f"{min(unnamed)} is None, but not among the missing links {missing}"
    claimed = [link for link in missing if link not in absent and link not in _LISTS]
    return f"{claimed[0]} is there, and among the missing links" if claimed else ""
