"""Who signs tree heads, and who is believed. Ed25519; keys are PEM text, as openssl writes it.

    openssl genpkey -algorithm ed25519 -out audit_signing_key        the secret
    openssl pkey -in audit_signing_key -pubout -out audit_key.pem    what verifiers need

A key's id is the sha256 of its public key in DER (SubjectPublicKeyInfo), as a log's id is in RFC 6962.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from sluice_audit.errors import SigningKeyUnusable
from sluice_audit.heads import SignedHead, TreeHead
from sluice_kit.config import SecretSource

DEFAULT_KEY_NAME: Final = "audit_signing_key"


class SigningKey:
    """Signs heads. Holds the private key in memory only; its repr does not show it."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public_pem = (
            private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        )
        self.key_id = _fingerprint(private.public_key())

    @classmethod
    def from_secret(cls, secrets: SecretSource, name: str = DEFAULT_KEY_NAME) -> SigningKey:
        """The key that the secret `name` holds. Raises SecretMissing, SigningKeyUnusable."""
        try:
            private = load_pem_private_key(secrets.get(name).encode(), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            private = None  # the library's own message is not passed on: it may quote what it was given
        if not isinstance(private, Ed25519PrivateKey):
            raise SigningKeyUnusable(f"secret {name!r} is not an Ed25519 private key in PEM without password")
        return cls(private)

    def sign(self, head: TreeHead) -> SignedHead:
        """Sign the canonical bytes. The same head always gets the same signature."""
        return SignedHead(head, self.key_id, self._private.sign(head.canonical()))


def new_signing_key() -> str:
    """A new private key, PEM text, to be kept as a secret."""
    private = Ed25519PrivateKey.generate()
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


class HeadCheck(StrEnum):
    """What a head's signature is worth."""

    GENUINE = "GENUINE"
    UNKNOWN_KEY = "UNKNOWN_KEY"
    KEY_RETIRED = "KEY_RETIRED"
    SIGNATURE_INVALID = "SIGNATURE_INVALID"


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A public key in PEM, believed for heads of at most `last_size` leaves (None: of any size).

    A retired key stays known for what it signed, and signs nothing beyond.
    """

    public_pem: str
    last_size: int | None = None


class KnownKeys:
    """The public keys that are believed, by fingerprint. Raises SigningKeyUnusable for anything else."""

    def __init__(self, keys: Iterable[KnownKey | str]) -> None:
        self._keys: dict[str, tuple[Ed25519PublicKey, int | None]] = {}
        for key in keys:
            known = KnownKey(key) if isinstance(key, str) else key
            public = _public_key(known.public_pem)
            self._keys[_fingerprint(public)] = (public, known.last_size)

    @property
    def key_ids(self) -> tuple[str, ...]:
        """Fingerprints of all keys, in the order given."""
        return tuple(self._keys)

    def check(self, signed: SignedHead) -> HeadCheck:
        """Whether a known key signed exactly this head, and may have."""
        if signed.key_id not in self._keys:
            return HeadCheck.UNKNOWN_KEY
        public, last_size = self._keys[signed.key_id]
        try:
            public.verify(signed.signature, signed.head.canonical())
        except InvalidSignature:
            return HeadCheck.SIGNATURE_INVALID
        if last_size is not None and signed.head.size > last_size:
            return HeadCheck.KEY_RETIRED
        return HeadCheck.GENUINE


def _public_key(pem: str) -> Ed25519PublicKey:
    try:
        public = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        public = None
    if not isinstance(public, Ed25519PublicKey):
        raise SigningKeyUnusable("a known key is not an Ed25519 public key in PEM")
    return public


def _fingerprint(public: Ed25519PublicKey) -> str:
    spki = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(spki).hexdigest()
