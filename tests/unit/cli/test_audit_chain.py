"""A chain is followed by reference; what is not what was recorded is WRONG, what is gone is said."""

from pathlib import Path
from typing import Any

import pytest

from services.decision_log.core import Chains, Place
from services.decision_log.events import checkpoint_event
from services.decision_log.links import TOPIC_OF, Kind, Link, link_reader
from services.decision_log.testing import HandMade
from sluice_audit import AuditLog, KnownKeys, SigningKey, new_signing_key
from sluice_cli.audit_chain import Step, follow, sound
from sluice_cli.audit_verification import KeyFileError, head_fields, known_keys
from sluice_contracts import Decoded, decode
from sluice_kit.artifacts import open_store
from sluice_kit.config import SecretSource, load_wiring

SOURCES = list(TOPIC_OF.values())
KINDS = {topic: kind for kind, topic in TOPIC_OF.items()}
PAYMENT = HandMade("run-1", 1)


def signing_key() -> SigningKey:
    return SigningKey.from_secret(SecretSource(None, {"SLUICE_SECRET_AUDIT_SIGNING_KEY": new_signing_key()}))


class Bus:
    """Records by place, and what the service answers about the chain that they are."""

    def __init__(self, folder: Path) -> None:
        self.values: dict[tuple[str, int, int], bytes] = {}
        self.key = signing_key()
        chains = Chains()
        for message in PAYMENT.whole():
            link = link_reader(KINDS[message.topic])(message.value)
            assert isinstance(link, Link)
            chains.take(link, Place(SOURCES.index(message.topic), 0, 0), 0)
            self.values[message.topic, 0, 0] = message.value
        chains.looked_up(chains.not_looked_up(), {})
        (due,) = chains.settle(-1, 10, 10)
        log = AuditLog.open(open_store(folder / "a"), folder / "n", self.key, "sluice.decision_log/test")
        appended = log.append([due.record])
        sealed = log.seal(1)
        assert sealed is not None
        self.answer: dict[str, Any] = {
            "record": due.record,
            "leaf_hash": appended.leaf_hashes[0].hex(),
            "row": 0,
            "segment": sealed.segment.locator.to_fields(),
            "snapshot_at": {"topic": TOPIC_OF[Kind.SNAPSHOT], "partition": 0, "offset": 0},
            "proof": {"leaf": 0, "size": 1, "path": []},
            "head": sealed.head.to_fields(),
        }
        self.head = sealed.head

    def read(self, topic: str, partition: int, offset: int) -> bytes | None:
        return self.values.get((topic, partition, offset))

    def states(self, keys: KnownKeys | None = None) -> dict[str, str]:
        steps: list[Step] = follow(self.answer, self.read, keys or KnownKeys([self.key.public_pem]))
        found = {step.link: step.state for step in steps}
        assert sound(steps) == ("WRONG" not in found.values())
        return found


@pytest.fixture
def bus(tmp_path: Path) -> Bus:
    return Bus(tmp_path)


def test_everything_is_as_it_was_recorded(bus: Bus) -> None:
    assert set(bus.states().values()) == {"good"}


@pytest.mark.parametrize("kind", Kind)
def test_another_record_at_the_place_of_a_link_is_named(bus: Bus, kind: Kind) -> None:
    other = dict(zip(Kind, HandMade("run-1", 2).whole(), strict=True))[kind]
    bus.values[TOPIC_OF[kind], 0, 0] = other.value
    names = {Kind.PAYMENT: "event", Kind.INTENT: "intent", Kind.OUTCOME: "outcome"}
    assert bus.states()[names.get(kind, kind.value)] == "WRONG"


def test_what_the_bus_has_no_longer_is_said_and_is_not_wrong(bus: Bus) -> None:
    del bus.values[TOPIC_OF[Kind.SNAPSHOT], 0, 0]
    del bus.values[TOPIC_OF[Kind.RECEIPT], 0, 0]
    found = bus.states()
    assert (found["snapshot"], found["receipt"], found["event"]) == (
        "not retained",
        "not retained",
        "missing",
    )


def test_an_altered_record_a_wrong_proof_and_an_unknown_key(bus: Bus) -> None:
    assert bus.states(KnownKeys([signing_key().public_pem]))["head"] == "WRONG"
    bus.answer["record"]["identity"]["ts_utc"] += 1
    found = bus.states()
    assert (found["record"], found["proof"]) == ("WRONG", "WRONG")


def test_a_head_is_the_same_on_the_bus(bus: Bus) -> None:
    content = decode(checkpoint_event(bus.head).value)
    assert isinstance(content, Decoded)
    assert content.contract.check(content.fields) == ()
    assert head_fields(content.fields["payload"]) == bus.head.to_fields()


def test_keys_are_files_or_the_wired_one(tmp_path: Path) -> None:
    key = signing_key()
    public = tmp_path / "audit_key.pem"
    public.write_text(key.public_pem)
    wiring = load_wiring(
        Path(__file__).parents[3] / "deploy" / "environments" / "dev" / "wiring.example.yaml"
    )
    assert known_keys(wiring, [public], []).key_ids == (key.key_id,)
    assert known_keys(wiring, [], [f"{public}:12"]).key_ids == (key.key_id,)
    for wrong in (str(public), f"{public}:many", f"{tmp_path}/none.pem:1"):
        with pytest.raises(KeyFileError):
            known_keys(wiring, [], [wrong])
