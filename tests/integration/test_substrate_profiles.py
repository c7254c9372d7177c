"""The profiles that start nothing (external) or start containers."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from sluice_kit.config import KafkaWiring, PostgresWiring, RegistryWiring, SecretWiring, Wiring, load_wiring
from sluice_substrate import LocalStack, Unreachable, external
from sluice_substrate.containers import ContainerStack, missing_engine

pytestmark = pytest.mark.integration


def test_external_accepts_a_wiring_whose_parts_answer(wiring: Wiring) -> None:
    found = external.require(wiring)
    assert {item.name for item in found} == {"kafka", "postgres", "registry"}
    assert all(item.ok for item in found)


def test_external_names_every_part_that_does_not_answer(wiring: Wiring, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        closed = int(probe.getsockname()[1])
    broken = wiring.model_copy(
        update={
            "kafka": KafkaWiring(bootstrap_servers=f"127.0.0.1:{closed}"),
            "postgres": PostgresWiring(
                dsn=f"postgresql://sluice@127.0.0.1:{closed}/sluice", password_secret="postgres_sluice"
            ),
            "registry": RegistryWiring(url=f"http://127.0.0.1:{closed}"),
        }
    )
    with pytest.raises(Unreachable, match=f"kafka: 127.0.0.1:{closed}.*postgres: .*registry: ") as refused:
        external.require(broken)
    password = wiring.secret_source.get("postgres_sluice")
    assert password not in str(refused.value)

    without_secrets = wiring.model_copy(update={"secrets": SecretWiring(dir=tmp_path)})
    kafka, postgres, registry = external.check(without_secrets)
    assert not kafka.ok
    assert "no secret kafka_<principal>" in kafka.detail
    assert not postgres.ok
    assert "postgres_sluice" in postgres.detail
    assert registry.ok


@pytest.fixture
def containers(tmp_path: Path) -> Iterator[ContainerStack]:
    if (reason := missing_engine()) is not None:
        pytest.skip(reason)
    stack = ContainerStack(tmp_path)
    stack.up()
    yield stack
    stack.down()


def test_containers_answer_like_the_local_stack(containers: ContainerStack) -> None:
    assert all(item.ok for item in external.require(load_wiring(containers.wiring_file)))


def test_admin_password_lost_is_a_clear_error(stack: LocalStack, tmp_path: Path) -> None:
    # a copy of the home with another password: what a user has who deleted the secret file
    other = tmp_path / "secrets"
    other.mkdir()
    (other / "kafka_admin").write_text("not the password")
    broken = load_wiring(stack.wiring_file).model_copy(update={"secrets": SecretWiring(dir=other)})
    (kafka, *_) = external.check(broken)
    assert not kafka.ok
    assert "as admin" in kafka.detail
    assert "uthentication" in kafka.detail
