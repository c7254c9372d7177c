"""One real stack for a whole test run, started by the first test that asks for it."""

import itertools
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from confluent_kafka.admin import AdminClient
from xdist.scheduler import LoadScopeScheduling

from sluice_contracts.topics import TOPICS
from sluice_fleet.signing_keys import ensure_signing_key
from sluice_fleet.tokens import ensure_tokens
from sluice_kit.config import Wiring, load_wiring
from sluice_kit.kafka import admin as kafka_admin
from sluice_substrate import LocalStack

hypothesis.settings.register_profile("sluice", deadline=None)
hypothesis.settings.load_profile("sluice")
"""A busy machine is no failure of a property; the time-out of a test ends one that hangs."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="also run the long tests")


def pytest_configure(config: pytest.Config) -> None:
    """A worker's command line reads as it would without workers, for code that looks at it."""
    worker: dict[str, Any] | None = getattr(config, "workerinput", None)
    if worker is not None:
        sys.argv = list(worker["mainargv"])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--soak"):
        return
    reason = pytest.mark.skip(reason="long: runs with --soak")
    for item in items:
        if "soak" in item.keywords:
            item.add_marker(reason)


class OneStack(LoadScopeScheduling):
    """With workers (`-n 2`): unit tests are shared out file by file, all that runs real parts stays with one.

    That one begins with them when no unit test is left (`--no-loadscope-reorder`), so they have the machine.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", 1)[0]
        return file if file.startswith(("tests/contracts/", "tests/unit/")) else "real parts"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneStack:
    return OneStack(config, log)


@pytest.fixture(scope="session")
def stack() -> Iterator[LocalStack]:
    """Kafka, PostgreSQL, registry and tokens, shared by the run and ended with it (Ctrl-C, SIGKILL included).

    A test that stops or kills a part must leave it running. Secrets, ports: see `wiring`.
    """
    home = Path(tempfile.mkdtemp(prefix="sluice-tests-"))
    keep = "SLUICE_KEEP_TEST_STACK" in os.environ
    local = LocalStack(home, bound=True, temporary=not keep)
    try:
        local.up()
        ensure_tokens(home / "secrets")
        ensure_signing_key(home / "secrets")
        yield local
    finally:
        local.down()
        if not keep:
            shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def wiring(stack: LocalStack) -> Wiring:
    """The wiring that services would be started with."""
    return load_wiring(stack.wiring_file)


@pytest.fixture(scope="session")
def wiring_file(stack: LocalStack) -> Path:
    """Path of the wiring file, for processes that tests start."""
    return stack.wiring_file


@pytest.fixture(scope="session")
def admin(stack: LocalStack) -> AdminClient:
    """The super user's client."""
    return stack.admin()


@pytest.fixture(scope="session")
def topics_applied(admin: AdminClient) -> None:
    """The contracts' topics and access exist on the shared broker."""
    kafka_admin.apply(admin, kafka_admin.plan(admin, TOPICS))


_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def unique() -> Callable[[str], str]:
    """`unique("lane")` gives a name that nothing else in this run has, for topics, groups or runs."""
    return lambda stem: f"{stem}-{os.getpid()}-{next(_numbers)}"
