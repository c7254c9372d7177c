"""Publishing to a registry that takes ids, and addresses that are none.

No such registry runs without Docker: this one is a few lines of HTTP that answer as Confluent's documentation
says. The registry that gives ids in order is tested for real in tests/contracts/test_registry.py.
"""

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

import pytest

from sluice_contracts import CONTRACTS
from sluice_contracts.registry import Registry, RegistryError, publish


class ImportingRegistry(BaseHTTPRequestHandler):
    """Subjects, ids and modes, as far as publishing needs them."""

    server: Any

    def answer(self, status: int, content: Any) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def handle_one(self) -> None:
        state = self.server.state
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        path = unquote(self.path.partition("?")[0]).strip("/").split("/")
        state["asked"].append((self.command, "/".join(path), self.headers.get("Authorization")))
        match self.command, path:
            case "GET", ["subjects"]:
                self.answer(200, sorted({name for name, _ in state["subjects"]}))
            case "GET", ["schemas", "ids", number]:
                known = {found["id"]: found["schema"] for found in state["subjects"].values()}
                found = known.get(int(number))
                self.answer(200 if found else 404, {"schema": found} if found else {"error_code": 40403})
            case "GET", ["subjects", name, "versions", version]:
                found = state["subjects"].get((name, int(version)))
                self.answer(200 if found else 404, found or {"error_code": 40401})
            case "PUT", ["mode", name]:
                state["modes"][name] = body["mode"]
                self.answer(200, body)
            case "POST", ["subjects", name, "versions"]:
                if "id" in body and state["modes"].get(name) != "IMPORT":
                    self.answer(422, {"message": "not in import mode"})
                    return
                number = state["gives"] or body["id"]
                state["subjects"][name, body["version"]] = body | {"id": number}
                self.answer(200, {"id": number})
            case "PUT", ["config", name]:
                state["levels"][name] = body["compatibility"]
                self.answer(200, body)

    do_GET = do_POST = do_PUT = handle_one  # noqa: N815 - the names are the library's

    def log_message(self, *arguments: Any) -> None:
        """Keep quiet."""


@pytest.fixture
def server() -> Iterator[Any]:
    running: Any = ThreadingHTTPServer(("127.0.0.1", 0), ImportingRegistry)
    running.state = {"subjects": {}, "modes": {}, "levels": {}, "asked": [], "gives": None}
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield running
    running.shutdown()
    thread.join()
    running.server_close()


def address(server: Any) -> str:
    return f"http://127.0.0.1:{server.server_port}"


def test_ids_are_imported_and_the_mode_is_put_back(server: Any) -> None:
    assert {one.state for one in publish(Registry(address(server), "me:secret"))} == {"registered"}
    state = server.state
    assert {subject: found["id"] for subject, found in state["subjects"].items()} == {
        (contract.name, contract.version): contract.schema_id for contract in CONTRACTS.values()
    }
    assert set(state["modes"].values()) == {"READWRITE"}
    assert set(state["levels"].values()) == {"BACKWARD_TRANSITIVE"}
    assert {asked[2] for asked in state["asked"]} == {"Basic " + base64.b64encode(b"me:secret").decode()}
    state["asked"].clear()
    assert {one.state for one in publish(Registry(address(server)))} == {"present"}
    assert {asked[0] for asked in state["asked"]} == {"GET"}


def test_a_registry_that_gives_another_id_all_the_same_is_an_error(server: Any) -> None:
    server.state["gives"] = 4711
    with pytest.raises(RegistryError, match="the id 4711, the lock file says 1"):
        publish(Registry(address(server)))
    assert set(server.state["modes"].values()) == {"READWRITE"}


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://registry", "not an http"),
        ("registry:8081", "not an http"),
        ("http://user:password@registry", "must not hold credentials"),
    ],
)
def test_addresses_that_are_none(url: str, reason: str) -> None:
    with pytest.raises(RegistryError, match=reason):
        Registry(url)


def test_a_registry_that_is_not_there() -> None:
    with pytest.raises(RegistryError, match="no answer from the registry"):
        publish(Registry("http://127.0.0.1:9"))
