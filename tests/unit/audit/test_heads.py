"""Signed heads: canonical bytes, what a verifier needs, rotation, and that nothing else passes."""

import base64
import hashlib
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_public_key,
)

from sluice_audit import (
    HeadCheck,
    KnownKey,
    KnownKeys,
    SignedHead,
    SigningKey,
    SigningKeyUnusable,
    TreeHead,
    new_signing_key,
)
from sluice_kit.config import SecretMissing, SecretSource

HEAD = TreeHead("sluice.decision_log/test", 1000, bytes(range(32)), 1_600_000_000_000_000)


def test_the_signed_bytes_are_four_lines_of_text() -> None:
    assert HEAD.canonical() == (
        b"sluice.decision_log/test\n1000\n"
        b"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\nts_utc 1600000000000000\n"
    )


def test_anybody_checks_a_head_with_the_public_key_alone(key: SigningKey) -> None:
    signed = key.sign(HEAD)
    public: Any = load_pem_public_key(key.public_pem.encode())
    public.verify(signed.signature, HEAD.canonical())  # raises InvalidSignature
    body = "".join(key.public_pem.splitlines()[1:-1])
    assert signed.key_id == hashlib.sha256(base64.b64decode(body)).hexdigest()


def test_a_head_comes_back_from_its_fields_and_is_genuine(key: SigningKey, keys: KnownKeys) -> None:
    signed = key.sign(HEAD)
    assert SignedHead.load(signed.to_fields()) == signed
    assert keys.check(signed) is HeadCheck.GENUINE
    assert keys.key_ids == (key.key_id,)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("origin", "sluice.decision_log/prod"),
        ("size", 1001),
        ("root", bytes(32).hex()),
        ("ts_utc", 1_600_000_000_000_001),
        ("signature", bytes(64).hex()),
    ],
)
def test_an_altered_head_is_not_genuine(key: SigningKey, keys: KnownKeys, name: str, value: Any) -> None:
    altered = SignedHead.load(key.sign(HEAD).to_fields() | {name: value})
    assert keys.check(altered) is HeadCheck.SIGNATURE_INVALID


@pytest.mark.parametrize(
    "change",
    [
        {"root": "AA" * 32},
        {"root": "00"},
        {"root": None},
        {"key_id": "x"},
        {"signature": ""},
        {"size": "1000"},
        {"size": True},
        {"size": -1},
        {"ts_utc": 1.0},
        {"origin": "two\nlines"},
        {"origin": 7},
        {"note": "more"},
    ],
)
def test_fields_of_any_other_form_are_refused(key: SigningKey, change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        SignedHead.load(key.sign(HEAD).to_fields() | change)
    missing = key.sign(HEAD).to_fields()
    missing.pop(next(iter(change)), None)
    if len(missing) < 6:
        with pytest.raises(ValueError, match="a signed head has"):
            SignedHead.load(missing)


def test_rotation_keeps_the_old_key_for_what_it_signed(key: SigningKey) -> None:
    newer = SigningKey.from_secret(SecretSource(None, {"SLUICE_SECRET_NEXT": new_signing_key()}), "next")
    known = KnownKeys([KnownKey(key.public_pem, last_size=1000), newer.public_pem])
    later = TreeHead(HEAD.origin, 1001, HEAD.root, HEAD.ts_utc)
    assert known.check(key.sign(HEAD)) is HeadCheck.GENUINE
    assert known.check(key.sign(later)) is HeadCheck.KEY_RETIRED
    assert known.check(newer.sign(later)) is HeadCheck.GENUINE
    assert KnownKeys([newer.public_pem]).check(key.sign(HEAD)) is HeadCheck.UNKNOWN_KEY


def test_a_signature_does_not_pass_under_another_known_key(key: SigningKey) -> None:
    other = SigningKey.from_secret(SecretSource(None, {"SLUICE_SECRET_NEXT": new_signing_key()}), "next")
    claimed = SignedHead(HEAD, other.key_id, key.sign(HEAD).signature)
    known = KnownKeys([key.public_pem, other.public_pem])
    assert known.check(claimed) is HeadCheck.SIGNATURE_INVALID


def test_the_key_is_a_secret_by_name_in_a_file(tmp_path: Path, key: SigningKey) -> None:
    (tmp_path / "audit_signing_key").write_text(new_signing_key(), encoding="utf-8")
    mine = SigningKey.from_secret(SecretSource(tmp_path, {}))
    assert mine.key_id != key.key_id
    with pytest.raises(SecretMissing, match="other_key"):
        SigningKey.from_secret(SecretSource(tmp_path, {}), "other_key")


def elliptic_pem() -> str:
    private = generate_private_key(SECP256R1())
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.mark.parametrize("text", ["hunter22hunter22", elliptic_pem(), ""])
def test_what_is_no_ed25519_key_is_refused_without_showing_it(text: str) -> None:
    class One(SecretSource):
        def get(self, name: str) -> str:
            assert name == "audit_signing_key"
            return text

    with pytest.raises(SigningKeyUnusable, match="'audit_signing_key' is not an Ed25519") as caught:
        SigningKey.from_secret(One(None, {}))
    assert not text or text not in str(caught.value)
    assert caught.value.__cause__ is None
    with pytest.raises(SigningKeyUnusable, match="not an Ed25519 public key"):
        KnownKeys([text])


def test_the_private_key_is_in_no_repr(key: SigningKey) -> None:
    private = key._private.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    public = key._private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    shown = repr(key) + str(key) + key.public_pem
    assert private.hex() not in shown
    assert base64.b64encode(private).decode() not in shown
    assert private != public
