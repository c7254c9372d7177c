"""A connection to one broker: requests go out in order, and answers come back in that order.

librdkafka sends one produce request for each partition. A stage's batch goes to forty of them, and every
request costs broker and client as much as a hundred records. This sends one for all (docs/adr/0016). How
requests are coded, and SCRAM, are aiokafka's.
"""

import socket
import ssl
import struct
from collections import deque
from contextlib import suppress
from typing import Any, Final

from aiokafka.conn import ScramAuthenticator
from aiokafka.protocol.admin import SaslAuthenticateRequest_v0, SaslHandShakeRequest_v1
from aiokafka.protocol.api import RequestStruct, Response

from sluice_kit.kafka.clients import ClientConfig

_CONNECT_SECONDS: Final = 5.0
_HEADER: Final = struct.Struct(">hhih")
_LENGTH: Final = struct.Struct(">i")
_GREATEST_ANSWER: Final = 100_000_000


class ConnectionLost(Exception):
    """The broker is away, or does not answer in time: whether it did what it was asked is not known."""


class AccessRefused(Exception):
    """The broker does not take this principal's word for who it is."""


class Connection:
    """An open connection; a failure makes it useless. `seconds` is how long a broker may take to answer."""

    def __init__(self, host: str, port: int, config: ClientConfig, *, seconds: float) -> None:
        self.address = f"{host}:{port}"
        self._client_id = str(config["client.id"]).encode()
        self._sent = 0
        self._waiting: deque[int] = deque()
        try:
            self._socket = _opened(host, port, config)
        except OSError as error:
            raise ConnectionLost(f"{self.address}: {error}") from error
        try:
            if config["security.protocol"].startswith("SASL"):
                self._authenticate(config)
        except BaseException:
            self.close()
            raise
        self._socket.settimeout(seconds)

    def ask(self, request: RequestStruct) -> Response:
        """Send a request and wait for its answer; none may be waited for. Raises ConnectionLost."""
        self.post(request)
        return request.RESPONSE_TYPE.decode(self.receive())

    def post(self, request: RequestStruct) -> None:
        """`send` for what aiokafka encodes. Raises ConnectionLost."""
        self.send(request.API_KEY, request.API_VERSION, request.encode())

    def send(self, key: int, version: int, *body: bytes | bytearray) -> None:
        """Send a request whose answer `receive` gives later. Raises ConnectionLost."""
        self._sent += 1
        header = _HEADER.pack(key, version, self._sent, len(self._client_id)) + self._client_id
        length = len(header) + sum(map(len, body))
        try:
            self._socket.sendall(b"".join((_LENGTH.pack(length), header, *body)))
        except OSError as error:
            raise ConnectionLost(f"{self.address}: {error}") from error
        self._waiting.append(self._sent)

    def receive(self) -> bytes:
        """The answer to the oldest request that has none yet, without its header. Raises ConnectionLost."""
        expected = self._waiting.popleft()
        (length,) = _LENGTH.unpack(self._bytes(_LENGTH.size))
        if not _LENGTH.size <= length <= _GREATEST_ANSWER:
            raise ConnectionLost(f"{self.address}: an answer of {length} bytes")
        answer = self._bytes(length)
        (number,) = _LENGTH.unpack_from(answer)
        if number != expected:
            raise ConnectionLost(f"{self.address}: an answer to request {number} instead of {expected}")
        return answer[_LENGTH.size :]

    def fileno(self) -> int:
        """What says, among others, whether an answer has begun to arrive."""
        return self._socket.fileno()

    def is_open(self) -> bool:
        """Whether the broker still listens; it hangs up on clients that are silent for minutes."""
        before = self._socket.gettimeout()
        try:
            self._socket.settimeout(0)
            self._socket.recv(1)  # the end of the connection, or an answer that nobody waits for
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            pass
        finally:
            self._socket.settimeout(before)
        return False

    def close(self) -> None:
        """Hang up."""
        with suppress(OSError):
            self._socket.close()

    def _bytes(self, length: int) -> bytes:
        parts = []
        left = length
        while left:
            try:
                part = self._socket.recv(left)
            except OSError as error:
                raise ConnectionLost(f"{self.address}: {error}") from error
            if not part:
                raise ConnectionLost(f"{self.address}: the broker hung up")
            parts.append(part)
            left -= len(part)
        return b"".join(parts)

    def _authenticate(self, config: ClientConfig) -> None:
        mechanism, name, password = (config[f"sasl.{key}"] for key in ("mechanism", "username", "password"))
        answer: Any = self.ask(SaslHandShakeRequest_v1(mechanism))
        if answer.error_code:
            raise AccessRefused(f"{self.address} offers {answer.enabled_mechanisms}, not {mechanism}")
        if mechanism == "PLAIN":
            self._told(f"\0{name}\0{password}".encode())
            return
        steps = ScramAuthenticator(
            loop=None, sasl_plain_username=name, sasl_plain_password=password, sasl_mechanism=mechanism
        ).authenticator_scram()
        message, _ = next(steps)
        with suppress(StopIteration):
            while True:
                message, _ = steps.send(self._told(message))

    def _told(self, message: bytes) -> bytes:
        answer: Any = self.ask(SaslAuthenticateRequest_v0(message))
        if answer.error_code:
            raise AccessRefused(f"{self.address}: {answer.error_message}")
        told: bytes = answer.sasl_auth_bytes
        return told


def _opened(host: str, port: int, config: ClientConfig) -> socket.socket:
    found = socket.create_connection((host, port), _CONNECT_SECONDS)
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if config["security.protocol"].endswith("SSL"):
        context = ssl.create_default_context(cafile=config.get("ssl.ca.location"))
        found = context.wrap_socket(found, server_hostname=host)
    return found
