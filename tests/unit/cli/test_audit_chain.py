"""A chain is followed by reference; what is not what was recorded is WRONG, what is gone is said."""

from pathlib import Path
from typing import Any

import pytest

from services.decision_log import store
from services.decision_log.chain import Place
from services.decision_log.core import Chains
from services.decision_log.events import checkpoint_event
from services.decision_log.links import TOPIC_OF, Kind, Link, link_reader
from services.decision_log.testing import HandMade
from sluice_audit import AuditLog, KnownKeys, LogDiverged, SigningKey, TreeHead, new_signing_key
from sluice_cli.audit_chain import follow
from sluice_cli.audit_proof import Asked, Step, sound
from sluice_cli.audit_verification import KeyFileError, head_fields, known_keys
from sluice_contracts import Decoded, decode, encode
from sluice_kit.artifacts import open_store
from sluice_kit.config import SecretSource, Wiring, load_wiring

SOURCES = list(TOPIC_OF.values())
KINDS = {topic: kind for kind, topic in TOPIC_OF.items()}
PAYMENT = HandMade("run-1", 1)
ORIGIN = "sluice.decision_log/test"
ASKED = Asked(PAYMENT.event_id, "default", "run-1", ORIGIN)


def signing_key() -> SigningKey:
    return SigningKey.from_secret(SecretSource(None, {"SLUICE_SECRET_AUDIT_SIGNING_KEY": new_signing_key()}))


class Bus:
    """Records by place, and what the service answers about the chain that they are."""

    def __init__(self, folder: Path, payment: HandMade = PAYMENT) -> None:
        self.values: dict[tuple[str, int, int], bytes] = {}
        self.key = signing_key()
        chains = Chains()
        for message in payment.whole():
            link = link_reader(KINDS[message.topic])(message.value)
            assert isinstance(link, Link)
            chains.take(link, Place(SOURCES.index(message.topic), 0, 0), 0)
            self.values[message.topic, 0, 0] = message.value
        chains.looked_up(chains.not_looked_up(), {})
        (due,) = chains.settle(-1, 10, 10)
        log = AuditLog.open(open_store(folder / "a"), folder / "n", self.key, ORIGIN)
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

    def steps(self, keys: KnownKeys | None = None, asked: Asked = ASKED) -> list[Step]:
        steps = follow(self.answer, asked, self.read, keys or KnownKeys([self.key.public_pem]))
        assert sound(steps) == all(step.state != "WRONG" for step in steps)
        return steps

    def states(self, keys: KnownKeys | None = None, asked: Asked = ASKED) -> dict[str, str]:
        return {step.link: step.state for step in self.steps(keys, asked)}

    def alter(self, kind: Kind, **fields: Any) -> None:
        """Change fields of what stands at a link's place (of its payload, where it has one)."""
        content = decode(self.values[TOPIC_OF[kind], 0, 0])
        assert isinstance(content, Decoded)
        whole = dict(content.fields)
        if "payload" in whole:
            whole["payload"] = whole["payload"] | fields
        else:
            whole |= fields
        self.values[TOPIC_OF[kind], 0, 0] = encode(content.contract.event_type, 1, whole)


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


@pytest.mark.parametrize(
    "change", [{"values": [7, *range(1, 24)]}, {"missing": []}, {"freshness": [0, 0]}, {"graph_version": 18}]
)
def test_a_snapshot_with_other_values_under_its_old_hash_is_wrong(bus: Bus, change: dict[str, Any]) -> None:
    bus.alter(Kind.SNAPSHOT, **change)
    found = bus.states()
    assert found.pop("snapshot") == "WRONG"
    assert set(found.values()) == {"good"}


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("other", Kind)
def test_an_event_of_another_type_at_the_place_of_a_link_is_wrong(bus: Bus, kind: Kind, other: Kind) -> None:
    before = bus.values[TOPIC_OF[kind], 0, 0]
    bus.values[TOPIC_OF[kind], 0, 0] = bus.values[TOPIC_OF[other], 0, 0]
    names = {Kind.PAYMENT: "event", Kind.INTENT: "intent", Kind.OUTCOME: "outcome"}
    same = before == bus.values[TOPIC_OF[kind], 0, 0]
    assert bus.states()[names.get(kind, kind.value)] == ("good" if same else "WRONG")


def test_a_wrong_receipt_is_not_followed_to_its_event(bus: Bus) -> None:
    bus.alter(Kind.RECEIPT, eb_topic=None, eb_partition=-1, eb_offset=-1)
    found = bus.states()
    assert (found["receipt"], found["event"]) == ("WRONG", "missing")


def test_the_genuine_proof_of_another_payment_is_no_answer(tmp_path: Path) -> None:
    other = Bus(tmp_path, HandMade("run-1", 2))
    assert other.states() == {"record": "WRONG", "proof": "good", "head": "good"}
    (record, *_) = other.steps()
    assert HandMade("run-1", 2).event_id in record.detail


@pytest.mark.parametrize(
    "asked",
    [
        Asked(PAYMENT.event_id, "other", None, ORIGIN),
        Asked(PAYMENT.event_id, "default", "run-2", ORIGIN),
    ],
)
def test_a_record_of_another_tenant_or_run_is_no_answer(bus: Bus, asked: Asked) -> None:
    assert bus.states(asked=asked)["record"] == "WRONG"


def test_without_a_run_the_record_of_any_run_is_an_answer(bus: Bus) -> None:
    found = bus.states(asked=Asked(PAYMENT.event_id, "default", None, ORIGIN))
    assert set(found.values()) == {"good"}


def test_a_head_of_another_log_is_wrong(bus: Bus) -> None:
    asked = Asked(PAYMENT.event_id, "default", "run-1", "sluice.decision_log/prod")
    found = bus.steps(asked=asked)[-1]
    assert (found.link, found.state) == ("head", "WRONG")
    assert ORIGIN in found.detail


@pytest.mark.parametrize("change", [{"root": "x"}, {"size": "1"}, {"more": 1}])
def test_a_malformed_head_is_wrong(bus: Bus, change: dict[str, Any]) -> None:
    bus.answer["head"] |= change
    assert bus.states() == {"record": "good", "proof": "WRONG", "head": "WRONG"}
    bus.answer["head"] = None
    assert bus.states()["head"] == "WRONG"


def test_a_malformed_stored_head_is_told_as_damage_of_the_log() -> None:
    for stored in ('{"size": 1}', "[]", "null"):
        with pytest.raises(LogDiverged, match="verify the log"):
            store.signed_head(stored)


@pytest.mark.parametrize("change", [{"receipt": {"id": "x"}}, {"intents": None}, {"more": 1}])
def test_what_is_no_record_is_wrong_and_is_not_followed(bus: Bus, change: dict[str, Any]) -> None:
    bus.answer["record"] |= change
    assert bus.states() == {"record": "WRONG", "proof": "WRONG", "head": "good"}


def test_a_path_that_is_no_path_proves_nothing(bus: Bus) -> None:
    bus.answer["proof"]["path"] = ["zz"]
    assert bus.states()["proof"] == "WRONG"


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


@pytest.fixture
def wiring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wiring:
    """Its signing key is a fresh one."""
    monkeypatch.setenv("SLUICE_SECRET_AUDIT_SIGNING_KEY", new_signing_key())
    return load_wiring(Path(__file__).parents[3] / "deploy" / "environments" / "dev" / "wiring.example.yaml")


def test_keys_are_files_or_the_wired_one(tmp_path: Path, wiring: Wiring) -> None:
    key, wired = signing_key(), SigningKey.from_secret(wiring.secret_source).key_id
    public = tmp_path / "audit_key.pem"
    public.write_text(key.public_pem)
    assert known_keys(wiring, [], []).key_ids == (wired,)
    assert known_keys(wiring, [public], []).key_ids == (key.key_id,)
    for wrong in (str(public), f"{public}:many", f"{tmp_path}/none.pem:1"):
        with pytest.raises(KeyFileError):
            known_keys(wiring, [], [wrong])


def test_after_a_rotation_the_key_of_now_is_believed_beside_the_retired_one(
    tmp_path: Path, wiring: Wiring
) -> None:
    old, now = signing_key(), SigningKey.from_secret(wiring.secret_source)
    public = tmp_path / "old.pem"
    public.write_text(old.public_pem)
    keys = known_keys(wiring, [], [f"{public}:12"])
    heads = [
        key.sign(TreeHead(ORIGIN, size, bytes(32), 1)) for key, size in ((old, 12), (old, 13), (now, 13))
    ]
    assert [keys.check(head) for head in heads] == ["GENUINE", "KEY_RETIRED", "GENUINE"]


def test_a_key_file_that_is_no_text_is_named(tmp_path: Path, wiring: Wiring) -> None:
    public = tmp_path / "audit_key.der"
    public.write_bytes(b"\x30\x2a\xff\xfe")
    with pytest.raises(KeyFileError, match=r"audit_key\.der is no text"):
        known_keys(wiring, [public], [])
