"""From wiring to a store: a folder path or `s3://bucket/prefix`, credentials by secret name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from obstore.store import S3Store
from pydantic import BaseModel, ConfigDict

from sluice_kit.artifacts.errors import ArtifactPathError
from sluice_kit.artifacts.local_objects import LocalObjects
from sluice_kit.artifacts.objects import Objects
from sluice_kit.artifacts.s3_objects import S3Objects
from sluice_kit.artifacts.store import ArtifactStore, SensitiveReport
from sluice_kit.config import SecretMissing, Wiring


class StoreRoot(BaseModel):
    """Where a store's bytes are. For S3, secrets are named here and resolved at run time only."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: str
    endpoint: str | None = None
    region: str = "us-east-1"
    access_key_secret: str | None = None
    secret_key_secret: str | None = None


def _no_secret(name: str) -> str:
    raise LookupError(f"secret {name!r} is named by the store's wiring, but no secret source was given")


def _no_report(report: SensitiveReport) -> None:
    del report


def open_store(
    root: StoreRoot | str | Path,
    scheme: str = "artifact",
    *,
    secret: Callable[[str], str] = _no_secret,
    on_sensitive: Callable[[SensitiveReport], None] = _no_report,
) -> ArtifactStore:
    """Open (and for a folder, create) the store of one scheme.

    Raises ArtifactPathError for a root that is neither a folder path nor s3://bucket[/prefix], OSError when
    the folder cannot be made, and whatever `secret` raises for an unknown name.
    """
    settings = root if isinstance(root, StoreRoot) else StoreRoot(root=str(root))
    return ArtifactStore(_objects(settings, secret), scheme, on_sensitive)


def open_artifacts(
    wiring: Wiring, on_sensitive: Callable[[SensitiveReport], None] = _no_report
) -> ArtifactStore:
    """The wired artifact store (`artifact://`)."""
    return open_store(
        _wired_root(wiring, wiring.artifacts.root),
        "artifact",
        secret=wiring.secret_source.get,
        on_sensitive=on_sensitive,
    )


def open_oracle(
    wiring: Wiring, on_sensitive: Callable[[SensitiveReport], None] = _no_report
) -> ArtifactStore:
    """The wired Oracle Store (`oracle://`): sealed worlds. Same endpoint and credentials as the artifacts."""
    return open_store(
        _wired_root(wiring, wiring.oracle.root),
        "oracle",
        secret=wiring.secret_source.get,
        on_sensitive=on_sensitive,
    )


def _wired_root(wiring: Wiring, root: str) -> StoreRoot:
    s3 = wiring.artifacts
    keys: tuple[str | None, str | None] = (s3.s3_key_id_secret, s3.s3_key_secret)
    if root.startswith("s3://"):
        try:
            wiring.secret_source.get(s3.s3_key_id_secret)
        except SecretMissing:  # no key of ours: the platform's own (instance role, service account)
            keys = (None, None)
    return StoreRoot(
        root=root,
        endpoint=s3.s3_endpoint,
        region=s3.s3_region,
        access_key_secret=keys[0],
        secret_key_secret=keys[1],
    )


def _objects(settings: StoreRoot, secret: Callable[[str], str]) -> Objects:
    parts = urlsplit(settings.root)
    if parts.scheme in ("", "file"):
        return LocalObjects(Path(parts.path if parts.scheme else settings.root).expanduser())
    if parts.scheme != "s3" or not parts.netloc:
        raise ArtifactPathError(f"store root {settings.root!r}: use a folder path or s3://bucket/prefix")
    options: dict[str, str] = {"region": settings.region, "copy_if_not_exists": "multipart"}
    if settings.access_key_secret is not None:
        options["access_key_id"] = secret(settings.access_key_secret)
    if settings.secret_key_secret is not None:
        options["secret_access_key"] = secret(settings.secret_key_secret)
    if settings.endpoint is not None:
        options["endpoint"] = settings.endpoint
    plain_http = (settings.endpoint or "").startswith("http://")
    store = S3Store(
        parts.netloc,
        prefix=parts.path.strip("/") or None,
        client_options={"allow_http": plain_http},
        config=options,  # type: ignore[arg-type]  # a TypedDict of many optional keys
    )
    return S3Objects(store)
