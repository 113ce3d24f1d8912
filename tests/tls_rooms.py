"""A certificate for loopback, and a small HTTP/2 client."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import h2.config
import h2.connection
import h2.events
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bad_gateway import Answer, BadGateway, honest
from ipfs_data import MemoryStore


def write_certificate(folder: Path) -> tuple[Path, Path]:
    """Write a certificate that signed itself, for localhost and 127.0.0.1, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    names: list[x509.GeneralName] = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    cert_path, key_path = folder / "cert.pem", folder / "key.pem"
    cert_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return cert_path, key_path


def trusting(cert: Path, *protocols: str) -> ssl.SSLContext:
    """A client's context that trusts one certificate."""
    context = ssl.create_default_context(cafile=str(cert))
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


def certified(cert: Path, key: Path) -> ssl.SSLContext:
    """A server's context with a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context


@contextlib.contextmanager
def gateways(certificate: tuple[Path, Path], answer: Answer = honest) -> Iterator[Callable[..., BadGateway]]:
    """Start gateways, plain or with TLS, that end with the ``with`` block; each may have an answer of its own."""
    with contextlib.ExitStack() as stack:

        def begin(answer: Answer = answer, store: MemoryStore | None = None, *, tls: bool = False) -> BadGateway:
            gateway = BadGateway(answer, store)
            stack.callback(gateway.stop)
            context = certified(*certificate)
            gateway.start((lambda sock: context.wrap_socket(sock, server_side=True)) if tls else None)
            return gateway

        yield begin


class Http2:
    """One connection that sends a request at a time."""

    def __init__(self, address: tuple[str, int], context: ssl.SSLContext) -> None:
        self.socket = context.wrap_socket(socket.create_connection(address, timeout=20), server_hostname="localhost")
        assert self.socket.selected_alpn_protocol() == "h2"
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self._h2.initiate_connection()

    def __enter__(self) -> Http2:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, target: str, method: str = "GET", **headers: str) -> None:
        """Send a request."""
        pseudo = [(":method", method), (":path", target), (":scheme", "https"), (":authority", "localhost")]
        sent = [(name.replace("_", "-"), value) for name, value in headers.items()]
        self._h2.send_headers(self._h2.get_next_available_stream_id(), pseudo + sent, end_stream=True)
        self.socket.sendall(self._h2.data_to_send())

    def receive(self) -> tuple[dict[str, str], bytes]:
        """Return an answer's headers and body; raises EOFError where the connection ends before the answer does."""
        headers: dict[str, str] = {}
        body = b""
        while received := self._read():
            for event in self._h2.receive_data(received):
                if isinstance(event, h2.events.ResponseReceived):
                    headers = dict(event.headers)  # type: ignore[arg-type]
                elif isinstance(event, h2.events.DataReceived):
                    body += event.data
                    self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.StreamEnded):
                    return headers, body
            # Where the other side is gone already, the next read says so.
            with contextlib.suppress(OSError):
                self.socket.sendall(self._h2.data_to_send())
        raise EOFError(body)

    def wait_for_end(self) -> None:
        """Read until the other side ends the connection."""
        while self._read():
            pass

    def _read(self) -> bytes:
        try:
            return self.socket.recv(1 << 16)
        except OSError:
            return b""
