"""The artifact store and sealed worlds against a real S3 API server (moto's, over HTTP)."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen
from uuid import uuid4

import pytest
from moto.server import ThreadedMotoServer
from obstore.store import S3Store

from sluice_engine import EngineSpec, ReferenceEngine
from sluice_kit.artifacts import ArtifactStore, DigestMismatch, StoreRoot, StoreUnavailable, open_store
from sluice_kit.artifacts.conformance import CHECKS
from sluice_kit.artifacts.s3_objects import S3Objects
from sluice_oracle import iter_batches, load_world, seal_world, verify_world

pytestmark = pytest.mark.integration

SEALED_AT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def endpoint() -> Any:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(endpoint: Any) -> Any:
    name = f"sluice-{uuid4().hex[:12]}"
    with urlopen(Request(f"{endpoint}/{name}", method="PUT"), timeout=10) as answer:
        assert answer.status == 200
    return name


@pytest.fixture
def settings(endpoint: Any, bucket: Any) -> Any:
    return StoreRoot(
        root=f"s3://{bucket}/platform",
        endpoint=endpoint,
        access_key_secret="s3_key_id",
        secret_key_secret="s3_key_secret",
    )


@pytest.fixture
def store(settings: Any) -> Any:
    return open_store(settings, secret={"s3_key_id": "test", "s3_key_secret": "test"}.__getitem__)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_bucket(check: Any, store: Any) -> None:
    check(store)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_bucket_with_uploads_in_parts(check: Any, endpoint: Any, bucket: Any) -> None:
    s3 = S3Store(
        bucket,
        prefix="parts",
        endpoint=endpoint,
        access_key_id="test",
        secret_access_key="test",
        region="us-east-1",
        copy_if_not_exists="multipart",
        client_options={"allow_http": True},
    )
    check(ArtifactStore(S3Objects(s3, single_put_limit=100_000)))
    assert [entry["path"] for page in s3.list(".staging/") for entry in page] == []


def test_a_world_seals_verifies_and_reads_in_a_bucket(settings: Any, store: Any, tmp_path: Path) -> None:
    oracle = ArtifactStore(store._objects, "oracle")
    ReferenceEngine().generate(EngineSpec("baseline", 3, SMALL), tmp_path / "draft")
    world = seal_world(tmp_path / "draft", oracle, SEALED_AT)
    again = seal_world(tmp_path / "draft", oracle, SEALED_AT)
    assert again == world
    assert verify_world(load_world(oracle, world.manifest_locator)).ok
    assert sum(batch.num_rows for batch in iter_batches(world, "payments", start_row=100)) == 1900

    path = oracle.path_of(world.locator(*first_file(world)).uri)
    S3Store.put(oracle._objects._store, path, b"other bytes", mode="overwrite")
    report = verify_world(world)
    assert report.first_bad.uri == f"oracle://{path}"
    with pytest.raises(DigestMismatch, match=path):
        list(iter_batches(world, "payments"))


def test_an_unreachable_endpoint_is_infrastructure(settings: Any) -> None:
    away = settings.model_copy(update={"endpoint": "http://127.0.0.1:9"})
    store = open_store(away, secret=lambda _: "test")
    store._objects._store = S3Store(
        "b",
        endpoint="http://127.0.0.1:9",
        access_key_id="x",
        secret_access_key="x",
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
    )
    with pytest.raises(StoreUnavailable, match=r"artifact://dla/x: cannot seal"):
        store.seal("dla/x", b"x")


SMALL = {"events": 2000, "customers": 50, "terminals": 60, "days": 3}


def first_file(world: Any) -> Any:
    output = world.manifest.output("payments")
    return output, output.files[0]
