"""A connection gives each request its answer, or says that it is lost."""

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from aiokafka.protocol.coordination import FindCoordinatorRequest_v1, FindCoordinatorResponse_v1
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sluice_kit.kafka.wire import Connection, ConnectionLost

REQUEST = FindCoordinatorRequest_v1("writer-0", 1)
Answers = Callable[[int], list[bytes]]
"""From the number of a request to the pieces in which its answer is sent."""


def framed(number: int, body: bytes) -> bytes:
    return struct.pack(">ii", 4 + len(body), number) + body


def right(number: int) -> list[bytes]:
    body = FindCoordinatorResponse_v1(0, 0, None, number, "broker", 9092).encode()
    octets = framed(number, body)
    return [octets[:3], octets[3:9], octets[9:]]


@contextmanager
def broker(answers: Answers, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """The port of a broker that takes one client and hangs up when it has nothing to say."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with listening.accept()[0] as plain:
                try:
                    client = context.wrap_socket(plain, server_side=True) if context else plain
                except OSError:
                    return
                with client:
                    while length := client.recv(4):
                        request = client.recv(struct.unpack(">i", length)[0])
                        pieces = answers(struct.unpack_from(">i", request, 4)[0])
                        if not pieces:
                            return
                        for piece in pieces:
                            client.sendall(piece)

        served = threading.Thread(target=serve)
        served.start()
        try:
            yield listening.getsockname()[1]
        finally:
            served.join(10)


@contextmanager
def connected(port: int, seconds: float = 10, **config: Any) -> Iterator[Connection]:
    connection = Connection(
        "127.0.0.1",
        port,
        {"client.id": "test", "security.protocol": "PLAINTEXT"} | config,
        seconds=seconds,
    )
    try:
        yield connection
    finally:
        connection.close()


def test_answers_come_in_the_order_of_requests_however_they_are_cut() -> None:
    with broker(right) as port, connected(port) as connection:
        first: Any = connection.ask(REQUEST)
        for _ in range(2):
            connection.post(REQUEST)
        later: list[Any] = [FindCoordinatorResponse_v1.decode(connection.receive()) for _ in range(2)]
        assert [first.coordinator_id, *(answer.coordinator_id for answer in later)] == [1, 2, 3]
        assert connection.is_open()


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        (lambda _number: [], "hung up|reset"),
        (lambda number: [framed(number, b"")[:6]], "timed out"),
        (lambda number: [framed(number + 1, b"")], "request 2 instead of 1"),
        (lambda _number: [struct.pack(">i", -1)], "-1 bytes"),
    ],
    ids=["hangs up", "stops within an answer", "answers something else", "talks nonsense"],
)
def test_a_broker_that_gives_no_answer_is_a_lost_connection(answers: Answers, why: str) -> None:
    with (
        broker(answers) as port,
        connected(port, seconds=0.2) as connection,
        pytest.raises(ConnectionLost, match=f"127.0.0.1:{port}: .*({why})"),
    ):
        connection.ask(REQUEST)


def test_a_broker_that_is_away_is_a_lost_connection() -> None:
    with pytest.raises(ConnectionLost, match="refused"), connected(1):
        pass


def test_records_go_through_tls_to_a_broker_that_the_authority_vouches_for(tmp_path: Path) -> None:
    own, other = (authority(tmp_path / name) for name in ("own", "other"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own)

    def trusting(path: Path) -> dict[str, Any]:
        return {"security.protocol": "SSL", "ssl.ca.location": str(path)}

    with broker(right, context) as port, connected(port, **trusting(own)) as to:
        answer: Any = to.ask(REQUEST)
        assert answer.host == "broker"
        assert to.is_open()
    with (
        broker(right, context) as port,
        pytest.raises(ConnectionLost, match="certificate verify failed"),
        connected(port, **trusting(other)),
    ):
        pass


def authority(path: Path) -> Path:
    """A file with a key and a certificate for 127.0.0.1 that it signed itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path
