"""Whether a record that the log answers with is the one asked for, and stands in the signed log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sluice_audit import HeadCheck, InclusionProof, KnownKeys, SignedHead, leaf_hash
from sluice_audit.decision_record import RECORD
from sluice_audit.value_forms import has_form
from sluice_kit.artifacts import canonical_json

GOOD, WRONG, ABSENT, GONE = "good", "WRONG", "missing", "not retained"


@dataclass(frozen=True, slots=True)
class Step:
    """One link. `state`: good, WRONG, missing from the chain, or not retained by the bus."""

    link: str
    state: str
    id: str = ""
    place: str = ""
    digest: str = ""
    detail: str = ""

    def to_json(self) -> dict[str, str]:
        """The plain dict."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for: a payment, in a run (None: in any), and the log whose heads are believed."""

    event_id: str
    tenant: str
    run_id: str | None
    origin: str

    def answered_by(self, identity: Mapping[str, Any]) -> bool:
        """Whether a record with this identity is an answer."""
        return (identity["event_id"], identity["tenant"]) == (self.event_id, self.tenant) and (
            self.run_id in {None, identity["run_id"]}
        )


def sound(steps: Sequence[Step]) -> bool:
    """Whether nothing is WRONG."""
    return all(step.state != WRONG for step in steps)


def proof_steps(answer: Mapping[str, Any], asked: Asked, keys: KnownKeys) -> list[Step]:
    """The record is the one asked for, its leaf is in the tree, the head is signed."""
    record, proof, (signed, said) = answer["record"], answer["proof"], checked_head(answer["head"], keys)
    found = leaf_hash(canonical_json(record))
    place = f"{answer['segment']['uri']} row {answer['row']}, leaf {proof['leaf']}"
    problem = _problem(record, asked, found.hex(), answer["leaf_hash"])
    detail = problem or _account(record["chain"])
    steps = [Step("record", WRONG if problem else GOOD, "", place, answer["leaf_hash"], detail)]
    if signed is None:
        unheld = "there is no head to hold it against"
        return [*steps, Step("proof", WRONG, detail=unheld), Step("head", WRONG, detail=said)]
    head = signed.head
    among = f"among {head.size} leaves by {len(proof['path'])} hashes"
    inside = _inside(proof, signed, found)
    steps.append(Step("proof", GOOD if inside else WRONG, "", "", head.root.hex(), among))
    if head.origin != asked.origin:
        said = f"it is of {head.origin}, not of {asked.origin}"
    state = GOOD if said == HeadCheck.GENUINE else WRONG
    return [*steps, Step("head", state, signed.key_id, head.origin, head.root.hex(), said)]


def checked_head(fields: Any, keys: KnownKeys) -> tuple[SignedHead | None, str]:
    """A head from its fields (None where they are none of a head), and what its signature is worth."""
    try:
        signed = SignedHead.load(fields)
    except ValueError as error:
        return None, f"MALFORMED: {error}"
    return signed, str(keys.check(signed))


def _problem(record: Any, asked: Asked, found: str, stated: str) -> str:
    """Why the record is no answer, '' when it is one."""
    if not has_form(RECORD, record):
        path, problem = RECORD.problem(record, "")
        return f"it is no decision record: {path or 'as a whole'}: {problem}"
    if found != stated:
        return f"found {found}"
    identity = record["identity"]
    if asked.answered_by(identity):
        return ""
    return f"it is about {identity['event_id']} of tenant {identity['tenant']} in run {identity['run_id']}"


def _account(chain: Mapping[str, Any]) -> str:
    missing = f", missing {', '.join(chain['missing'])}" if chain["missing"] else ""
    corrected = f", corrects {chain['corrects']}" if chain["corrects"] else ""
    return f"{chain['status']}{missing}{corrected}"


def _inside(proof: Mapping[str, Any], signed: SignedHead, leaf: bytes) -> bool:
    try:
        path = tuple(bytes.fromhex(node) for node in proof["path"])
    except ValueError:
        return False
    head = signed.head
    proven = InclusionProof(proof["leaf"], proof["size"], path).proves(leaf, head.root)
    return proven and proof["size"] == head.size
