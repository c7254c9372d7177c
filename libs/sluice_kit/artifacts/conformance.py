"""What every artifact store must do, whatever holds its bytes. Local folders and S3 pass the same checks.

Each check takes an empty store of scheme `artifact` and fails by AssertionError.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from sluice_kit.artifacts.errors import ArtifactMissing, ArtifactPathError, DigestMismatch, SensitiveContent
from sluice_kit.artifacts.locator import Digest, Locator
from sluice_kit.artifacts.store import ArtifactStore, SealConflict

_LARGE = b"0123456789abcdef" * 300_000  # 4.8 MB: several chunks, and above a small single-put limit


def _sealed(outcome: Locator | SealConflict) -> Locator:
    assert isinstance(outcome, Locator), outcome
    return outcome


def _raised(error: type[Exception], action: Callable[[], object]) -> Exception:
    try:
        action()
    except error as raised:
        return raised
    raise AssertionError(f"{error.__name__} was not raised")


def seal_is_write_once(store: ArtifactStore) -> None:
    """The same bytes again are a no-op; other bytes are refused and change nothing."""
    first = _sealed(store.seal("dla/one.json", b"one"))
    assert store.seal("dla/one.json", b"one") == first
    conflict = store.seal("dla/one.json", b"two")
    assert conflict == SealConflict("artifact://dla/one.json", Digest.of(b"one"), Digest.of(b"two"))
    assert store.read(first) == b"one"


def locator_names_the_bytes(store: ArtifactStore) -> None:
    """uri, digest and length are those of what was sealed; an empty artifact is one too."""
    locator = _sealed(store.seal("wsp/run_id=r1/plan.json", b"{}", schema_version=3))
    assert locator == Locator(
        uri="artifact://wsp/run_id=r1/plan.json", digest=Digest.of(b"{}"), bytes=2, schema_version=3
    )
    assert store.locate("wsp/run_id=r1/plan.json", schema_version=3) == locator
    assert store.read(_sealed(store.seal("wsp/empty", b""))) == b""


def content_is_idempotent(store: ArtifactStore) -> None:
    """put_content twice is one object."""
    first = store.put_content("ig/evidence", b"bytes", ".bin")
    assert store.put_content("ig/evidence", b"bytes", ".bin") == first
    assert [entry.size for entry in store.list("ig/evidence")] == [5]


def files_stream_both_ways(store: ArtifactStore) -> None:
    """A file larger than one put and one chunk seals, reads back and conflicts like bytes do."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "large.bin"
        source.write_bytes(_LARGE)
        locator = _sealed(store.seal("registry/large.bin", source))
        assert (locator.digest, locator.bytes) == (Digest.of(_LARGE), len(_LARGE))
        assert store.seal("registry/large.bin", source) == locator
        assert b"".join(store.open_verified(locator)) == _LARGE
        linked = _sealed(store.link_file("registry/linked.bin", source))
        assert linked.digest == locator.digest
        other = Path(folder) / "other.bin"
        other.write_bytes(_LARGE[:-1] + b"!")
        assert isinstance(store.seal("registry/large.bin", other), SealConflict)
        assert store.read(locator) == _LARGE


def wrong_digest_is_an_error(store: ArtifactStore) -> None:
    """Every way in which bytes can differ from a locator is named; nothing unverified ends a stream."""
    locator = _sealed(store.seal("registry/large.bin", _LARGE))
    wrong = locator.model_copy(update={"digest": Digest.of(b"other")})
    released: list[bytes] = []
    message = str(_raised(DigestMismatch, lambda: released.extend(store.open_verified(wrong))))
    assert all(part in message for part in (locator.uri, str(wrong.digest), str(locator.digest)))
    assert sum(map(len, released)) < len(_LARGE)
    for length in (locator.bytes - 1, locator.bytes + 1):
        _raised(DigestMismatch, partial(store.read, locator.model_copy(update={"bytes": length})))


def missing_is_named(store: ArtifactStore) -> None:
    """Reading what is not there names the URI."""
    ghost = Locator(uri="artifact://dla/ghost", digest=Digest.of(b""), bytes=0)
    assert not store.exists(ghost)
    assert "artifact://dla/ghost" in str(_raised(ArtifactMissing, lambda: store.read(ghost)))


def unpinned_paths_are_refused(store: ArtifactStore) -> None:
    """Unknown prefixes, unsafe segments and foreign schemes never reach the store."""
    for path in ("elsewhere/x", "dla/../sr/x", "dla//x", "/dla/x", "dla/.hidden", "dla/run_id=1/seed=2"):
        _raised(ArtifactPathError, partial(store.seal, path, b"x"))
    _raised(ArtifactPathError, lambda: store.path_of("oracle://worlds/seed=1"))


def secrets_are_quarantined(store: ArtifactStore) -> None:
    """Bytes with a secret go to quarantine; evidence is published as it is and flagged."""
    bad = b'{"password": "correct horse battery"}'
    error = _raised(SensitiveContent, lambda: store.seal("sr/run_plan/p.json", bad))
    assert not store.exists("sr/run_plan/p.json")
    assert isinstance(error, SensitiveContent)
    assert store.exists(store.path_of(error.quarantined_uri))
    assert store.read(store.put_content("ig/evidence", bad)) == bad
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "plan.json"
        source.write_bytes(b" " * 2_000_000 + bad)
        _raised(SensitiveContent, partial(store.seal, "sr/run_plan/q.json", source))
        source.write_bytes(b"")
        assert _sealed(store.seal("sr/run_plan/q.json", source)).bytes == 0


def only_checkpoints_are_pruned(store: ArtifactStore) -> None:
    """Old checkpoints go; everything else stays."""
    checkpoint = _sealed(store.seal("checkpoints/gate/0/state", b"state"))
    store.prune(checkpoint)
    assert not store.exists(checkpoint)
    store.prune(checkpoint)
    record = _sealed(store.seal("sr/run_record/r", b"record"))
    _raised(ArtifactPathError, lambda: store.prune(record))


CHECKS: tuple[Callable[[ArtifactStore], None], ...] = (
    seal_is_write_once,
    locator_names_the_bytes,
    content_is_idempotent,
    files_stream_both_ways,
    wrong_digest_is_an_error,
    missing_is_named,
    unpinned_paths_are_refused,
    secrets_are_quarantined,
    only_checkpoints_are_pruned,
)
