"""What a verification of the decision log goes by: tables, artifacts, node files, heads on the bus."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from confluent_kafka import Consumer

from services.decision_log.committed import committed
from services.decision_log.index_account import IndexAccount
from services.decision_log.settings import nodes_folder, origin_of
from sluice_audit import KnownKey, KnownKeys, NodeFiles, NodesMissing, SigningKey, VerifyReport, verify_log
from sluice_cli.progress import Counted
from sluice_contracts import Decoded, decode
from sluice_kit.artifacts import open_artifacts
from sluice_kit.config import Wiring
from sluice_kit.replay import ReplayBatch, replay_consumer_config, whole_topic
from sluice_kit.replay.reading import read_ranges_back
from sluice_kit.workflow import DatabaseAddress

HEADS_TOPIC: Final = "audit.decision_record"


class KeyFileError(Exception):
    """A key file cannot be read or named; the message says which."""


def known_keys(wiring: Wiring, files: Sequence[Path], retired: Sequence[str]) -> KnownKeys:
    """The public keys to believe: those of `files`, without any the wired key's; and those of `retired`.

    `retired` are FILE:LAST_SIZE, the keys before it.

    Raises KeyFileError, SecretMissing, SigningKeyUnusable.
    """
    wired = [] if files else [SigningKey.from_secret(wiring.secret_source).public_pem]
    keys: list[KnownKey | str] = [*wired, *map(_read, files)]
    for text in retired:
        path, _, size = text.rpartition(":")
        if not path or not size.isdigit():
            raise KeyFileError(f"{text!r}: a retired key is given as FILE:LAST_SIZE")
        keys.append(KnownKey(_read(Path(path)), int(size)))
    return KnownKeys(keys)


@dataclass(frozen=True, slots=True)
class Verification:
    """`unindexed`: why the leaf index was not used, '' when it was."""

    report: VerifyReport
    unindexed: str


def verify(wiring: Wiring, keys: KnownKeys, *, with_bus: bool, progress: Counted) -> Verification:
    """Walk the whole log. The heads on the bus are read first: the tables have them, too, by then.

    `progress` is told how many records are done, and of how many. Nothing is written.

    Raises ReplayError, KafkaException, DatabaseAwayError, LookupError, StoreUnavailable, OSError.
    """
    heads = heads_of_bus(wiring) if with_bus else []
    with committed(DatabaseAddress.from_wiring(wiring)) as tables:
        size = max((segment.end_leaf for segment in tables.segments), default=0)
        nodes, unindexed = open_leaf_index(nodes_folder(wiring), size)
        try:
            report = verify_log(
                open_artifacts(wiring),
                tables.segments,
                [*tables.heads, *heads],
                keys,
                origin=origin_of(wiring),
                nodes=nodes,
                beside=IndexAccount(tables.index()),
                progress=lambda done: progress(done, size),
            )
        finally:
            if nodes is not None:
                nodes.close()
    return Verification(report, unindexed)


def heads_of_bus(wiring: Wiring) -> list[dict[str, Any]]:
    """Fields of all signed heads on the bus, as `SignedHead.to_fields` gives them."""
    heads: list[dict[str, Any]] = []

    def take(batch: ReplayBatch) -> None:
        for value in batch.values:
            content = decode(value)
            if isinstance(content, Decoded) and content.contract.event_type == "audit_checkpoint":
                heads.append(head_fields(content.fields["payload"]))

    consumer = Consumer(replay_consumer_config(wiring))
    try:
        read_ranges_back(consumer, [item for item in whole_topic(consumer, HEADS_TOPIC) if item.end], take)
    finally:
        consumer.close()
    return heads


def head_fields(payload: dict[str, Any]) -> dict[str, Any]:
    """A signed head from an `audit_checkpoint`."""
    try:
        signature = b64decode(payload["signature"], validate=True).hex()
    except ValueError:
        signature = payload["signature"]  # no head of ours: the verification says so
    return {
        "origin": payload["origin"],
        "size": payload["tree_size"],
        "root": payload["root"],
        "ts_utc": payload["signed_at"],
        "key_id": payload["key_id"],
        "signature": signature,
    }


def open_leaf_index(folder: Path, size: int) -> tuple[NodeFiles | None, str]:
    """The writer's node files, to be read; else None and why: elsewhere, not whole, not readable."""
    if not folder.is_dir():
        return None, f"{folder} is not on this host"
    try:
        return NodeFiles(folder, size, read_only=True), ""
    except (NodesMissing, OSError) as error:
        return None, str(error)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise KeyFileError(f"{path}: {error}") from error
    except UnicodeDecodeError as error:
        raise KeyFileError(f"{path} is no text; a public key is PEM (openssl pkey -pubout)") from error
