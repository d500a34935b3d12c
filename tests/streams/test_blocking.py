"""Blocking sockets: our client and server on loopback, and peers that stop, stall and lie."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import http.client
import logging
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

import handclasp
from handclasp import (
    Alert,
    AlertReceived,
    CertificateError,
    ClientAuth,
    ClientConfig,
    ConfigError,
    Credential,
    HandshakeTimeout,
    Listener,
    PeerNotTLS,
    PresentedChain,
    ServerConfig,
    SignatureScheme,
    TLSSocket,
    TruncatedError,
    TrustStore,
    VerifiedPeer,
)
from handclasp.crypto.signatures import PublicKey

from .patience import waits_less_than

Handler = Callable[[TLSSocket], None]


@contextlib.contextmanager
def serving(config: ServerConfig, handler: Handler, timeout: float = 10.0) -> Iterator[Listener]:
    """A server that runs `handler` on each connection in turn."""

    def serve() -> None:
        for tls in listener:
            with tls, contextlib.suppress(handclasp.TLSError, OSError):
                handler(tls)

    with handclasp.listen(("127.0.0.1", 0), config, timeout=timeout) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield listener
        finally:
            listener.close()
            thread.join(10)
            assert not thread.is_alive()


def echo(tls: TLSSocket) -> None:
    while data := tls.recv(65_536):
        tls.sendall(data)


@pytest.fixture
def server_config(credential: Credential) -> ServerConfig:
    return ServerConfig(credentials=[credential])


@pytest.fixture
def client_config(trust: TrustStore) -> ClientConfig:
    return ClientConfig(trust=trust)


def dial(listener: Listener, config: ClientConfig, name: str = "localhost", timeout: float = 10.0) -> TLSSocket:
    return handclasp.connect("127.0.0.1", listener.address[1], config, server_name=name, timeout=timeout)


def test_there_and_back(client_config: ClientConfig, server_config: ServerConfig) -> None:
    message = bytes(range(256)) * 4096
    with serving(server_config, echo) as listener, dial(listener, client_config) as tls:
        assert tls.info.version is handclasp.TLSVersion.TLS_1_3
        assert tls.getpeername() == listener.address
        writer = threading.Thread(target=tls.sendall, args=(message,), daemon=True)
        writer.start()
        received = bytearray()
        while len(received) < len(message):
            received += tls.recv(10_000)
        writer.join()
        assert received == message
        tls.update_keys(request_peer=True)
        assert tls.send(b"after") == 5
        buffer = bytearray(10)
        assert tls.recv_into(buffer) == 5
        assert buffer == b"after" + bytes(5)
        tls.shutdown_write()
        assert tls.recv(1) == b""
        assert tls.recv(1) == b""


def test_the_address_is_checked_when_no_name_is_given(client_config: ClientConfig, server_config: ServerConfig) -> None:
    with (
        serving(server_config, echo) as listener,
        handclasp.connect("127.0.0.1", listener.address[1], client_config) as tls,
    ):
        assert tls.info.server_name is None
        assert tls.info.verified_chain


def test_files_over_the_connection(client_config: ClientConfig, server_config: ServerConfig) -> None:
    with serving(server_config, echo) as listener, dial(listener, client_config) as tls:
        with tls.makefile("rwb") as file:
            file.write(b"one\ntwo\n")
            file.flush()
            assert file.readline() == b"one\n"
            assert file.readline() == b"two\n"
        with tls.makefile("rb") as reader:
            tls.sendall(b"three\n")
            assert reader.readline() == b"three\n"
        with tls.makefile("wb") as writer:
            writer.write(b"x\n")
        with tls.makefile("rw", encoding="latin-1", newline="\r\n") as text:
            text.write("\xe4\n")
            text.flush()
            assert tls.makefile("rb").read(5) == b"x\n\xe4\r\n"
        with tls.makefile("rb", buffering=0) as raw:
            tls.sendall(b"whatever is there")
            assert raw.read(1000) == b"whatever is there"
        for mode, buffering in (("x", None), ("r", 0)):
            with pytest.raises(ValueError, match=r"mode|binary"):
                tls.makefile(mode, buffering)  # type: ignore[call-overload]


@pytest.mark.parametrize("wrong", [{"encoding": "none such"}, {"newline": "x"}])
def test_a_file_that_could_not_be_opened(
    client_config: ClientConfig, server_config: ServerConfig, wrong: dict[str, Any]
) -> None:
    """It does not count as one that was closed: the connection lives as long as the next."""
    with serving(server_config, echo) as listener, dial(listener, client_config) as tls:
        with pytest.raises((LookupError, ValueError)):
            tls.makefile("r", None, **wrong)
        with tls.makefile("rwb", buffering=0) as file:
            tls.close()
            file.write(b"x")
            assert file.read(1) == b"x"
        assert tls.fileno() == -1


def test_a_file_that_timed_out_reads_no_more(client_config: ClientConfig, server_config: ServerConfig) -> None:
    """A buffer may have lost what came before: as with sockets, going on would be a gap."""
    with serving(server_config, echo) as listener, dial(listener, client_config) as tls, tls.makefile("rb") as file:
        tls.settimeout(0.05)
        with pytest.raises(TimeoutError):
            file.readline()
        tls.settimeout(10)
        with pytest.raises(OSError, match="timed out object"):
            file.readline()


def test_http_client(client_config: ClientConfig, server_config: ServerConfig) -> None:
    """It closes the socket and goes on reading from its file, where a server says `Connection: close`."""
    body = bytes(range(256)) * 1000

    def answer(tls: TLSSocket) -> None:
        with tls.makefile("rb") as request:
            while request.readline().strip():
                pass
        tls.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body)

    with serving(server_config, answer) as listener:
        connection = http.client.HTTPConnection("localhost", listener.address[1])
        connection.sock = tls = dial(listener, client_config)
        connection.request("GET", "/")
        with connection.getresponse() as response:
            assert response.read() == body
        connection.close()
        assert tls.fileno() == -1


def test_socketserver(client_config: ClientConfig, server_config: ServerConfig) -> None:
    """Its handlers take a file to read and one without a buffer to write."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            for line in self.rfile:
                self.wfile.write(line.upper())

    class Server(socketserver.ThreadingTCPServer):
        def get_request(self) -> tuple[socket.socket, Any]:
            tls = listener.accept()
            tls.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            assert tls.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            return cast(socket.socket, tls), tls.getpeername()

    with (
        handclasp.listen(("127.0.0.1", 0), server_config) as listener,
        Server(("127.0.0.1", 0), Handler, bind_and_activate=False) as server,
        dial(listener, client_config) as tls,
    ):
        handling = threading.Thread(target=server._handle_request_noblock, daemon=True)  # type: ignore[attr-defined]
        handling.start()
        with tls.makefile("rwb") as file:
            for line in (b"one\n", b"two\n"):
                file.write(line)
                file.flush()
                assert file.readline() == line.upper()
        tls.close()
        handling.join(10)


def test_an_existing_socket(client_config: ClientConfig, server_config: ServerConfig) -> None:
    ours, theirs = socket.socketpair()
    server: list[TLSSocket] = []
    thread = threading.Thread(target=lambda: server.append(handclasp.wrap(theirs, server_config)), daemon=True)
    thread.start()
    with handclasp.wrap(ours, client_config, server_name="localhost") as client:
        thread.join(10)
        with server[0] as accepted:
            assert client.export("test") == accepted.export("test")
            assert client.channel_binding("tls-exporter") == accepted.channel_binding("tls-exporter")
            closer = threading.Thread(target=accepted.close, daemon=True)
            closer.start()
            assert client.recv(10) == b""
            client.close()
            closer.join(10)
    assert ours.fileno() == theirs.fileno() == -1


def test_tls_in_tls(client_config: ClientConfig, server_config: ServerConfig) -> None:
    """A connection through a connection: what an HTTPS proxy needs."""
    ours, theirs = socket.socketpair()
    inner_ours, inner_theirs = socket.socketpair()

    def outer_server() -> None:
        with handclasp.wrap(theirs, server_config) as outer:
            pump = threading.Thread(target=_copy, args=(outer.recv, inner_theirs.sendall), daemon=True)
            pump.start()
            _copy(inner_theirs.recv, outer.sendall)
            pump.join(10)
            inner_theirs.close()

    def inner_server() -> None:
        with handclasp.wrap(inner_ours, server_config) as inner:
            inner.sendall(inner.recv(100))

    threads = [threading.Thread(target=outer_server, daemon=True), threading.Thread(target=inner_server, daemon=True)]
    for thread in threads:
        thread.start()
    near, far = socket.socketpair()
    with handclasp.wrap(ours, client_config, server_name="localhost") as outer:
        relays = [
            threading.Thread(target=_copy, args=(outer.recv, far.sendall), daemon=True),
            threading.Thread(target=_copy, args=(far.recv, outer.sendall), daemon=True),
        ]
        for thread in relays:
            thread.start()
        with handclasp.wrap(near, client_config, server_name="localhost") as inner:
            inner.sendall(b"deep")
            assert inner.recv(100) == b"deep"
        relays[1].join(10)
        outer.shutdown_write()
        relays[0].join(10)
    for thread in threads:
        thread.join(10)
    far.close()


def _copy(receive: Callable[[int], bytes], send: Callable[[bytes], None]) -> None:
    with contextlib.suppress(OSError, handclasp.TLSError):
        while data := receive(65_536):
            send(data)


def test_a_server_given_a_server_name_is_a_mistake(server_config: ServerConfig) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(ConfigError):
        handclasp.wrap(ours, server_config, server_name="localhost")


# --- failures --------------------------------------------------------------------------------------------------------


def test_a_wrong_name_leaves_no_socket_behind(client_config: ClientConfig, server_config: ServerConfig) -> None:
    with serving(server_config, echo) as listener, pytest.raises(CertificateError) as caught:
        dial(listener, client_config, "wrong.test")
    assert caught.value.code == "name-mismatch"


def test_a_server_that_refuses_says_why(trust: TrustStore, credential: Credential) -> None:
    config = ServerConfig(credentials=[credential], client_auth=ClientAuth(verify=trust))
    with serving(config, echo) as listener, dial(listener, ClientConfig(trust=trust)) as tls:
        with pytest.raises(AlertReceived) as caught:
            tls.recv(1)
        assert caught.value.alert is Alert.CERTIFICATE_REQUIRED
        with pytest.raises(AlertReceived):
            tls.recv(1)
        with pytest.raises(AlertReceived):
            tls.sendall(b"x")


def test_a_failed_handshake_costs_the_server_one_line(
    client_config: ClientConfig, server_config: ServerConfig, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="handclasp"), serving(server_config, echo) as listener:
        with socket.create_connection(listener.address) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert plain.recv(100) == b"\x15\x03\x03\x00\x02\x02" + bytes([Alert.PROTOCOL_VERSION])
            plain.shutdown(socket.SHUT_WR)
            assert plain.recv(100) == b""
        with dial(listener, client_config) as tls:
            tls.sendall(b"still here")
            assert tls.recv(100) == b"still here"
    (record,) = caplog.records
    assert "plain HTTP" in record.getMessage()
    assert record.exc_info is None


@pytest.mark.attack(68, "slow clients")
def test_a_slow_client_holds_up_nobody(client_config: ClientConfig, server_config: ServerConfig) -> None:
    with serving(server_config, echo) as listener, socket.create_connection(listener.address) as slow:
        slow.sendall(b"\x16")
        with dial(listener, client_config) as tls:
            tls.sendall(b"quick")
            assert tls.recv(100) == b"quick"


def _listening() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


@pytest.mark.attack(68, "slow clients")
def test_the_handshake_has_one_deadline(client_config: ClientConfig) -> None:
    with _listening() as silent:
        started = time.monotonic()
        with waits_less_than(2), pytest.raises(HandshakeTimeout, match=r"within 0\.3 s: ServerHello") as caught:
            handclasp.connect("127.0.0.1", silent.getsockname()[1], client_config, timeout=0.3)
        assert time.monotonic() - started > 0.2
        assert isinstance(caught.value, TimeoutError)


def test_all_addresses_of_a_name_share_the_deadline(
    client_config: ClientConfig, server_config: ServerConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them would have had all of it, one after the other."""
    silent = [("127.0.0.1", at) for at in (1, 2, 3)]
    waited: list[float] = []

    class Silent(socket.socket):
        def connect(self, address: Any) -> None:
            if address not in silent:
                return super().connect(address)
            waited.append(self.gettimeout() or 0)
            clock[0] += waited[-1] / 2
            raise TimeoutError

    def resolve(*_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", place) for place in (*silent, listener.address)]

    clock = [time.monotonic()]
    with serving(server_config, echo) as listener:
        monkeypatch.setattr(socket, "socket", Silent)
        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        with monkeypatch.context() as patch:
            patch.setattr(time, "monotonic", lambda: clock[0])
            tls = handclasp.connect("many.test", 443, client_config, server_name="localhost", timeout=8)
        with tls:
            assert waited == [8, 4, 2]


@pytest.mark.attack(68, "slow clients")
def test_trickling_bytes_do_not_extend_the_deadline(server_config: ServerConfig) -> None:
    ours, theirs = socket.socketpair()
    stop = threading.Event()

    def trickle() -> None:
        with contextlib.suppress(OSError):
            while not stop.wait(0.05):
                ours.sendall(b"\x01")

    # a header, then its body byte by byte
    ours.sendall(b"\x16\x03\x01\x3f\xff")
    thread = threading.Thread(target=trickle, daemon=True)
    thread.start()
    with pytest.raises(HandshakeTimeout):
        handclasp.wrap(theirs, server_config, timeout=0.4)
    stop.set()
    thread.join(10)
    ours.close()


def test_a_server_that_hangs_up(client_config: ClientConfig) -> None:
    with _listening() as listening:

        def hang_up() -> None:
            listening.accept()[0].close()

        thread = threading.Thread(target=hang_up, daemon=True)
        thread.start()
        with pytest.raises((TruncatedError, ConnectionError)):
            handclasp.connect("127.0.0.1", listening.getsockname()[1], client_config)
        thread.join(10)


def test_a_server_that_speaks_something_else(client_config: ClientConfig) -> None:
    with _listening() as listening:

        def greet() -> None:
            sock = listening.accept()[0]
            with sock:
                sock.sendall(b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n")
                while sock.recv(1000):
                    pass

        thread = threading.Thread(target=greet, daemon=True)
        thread.start()
        with pytest.raises(PeerNotTLS, match="SSH"):
            handclasp.connect("127.0.0.1", listening.getsockname()[1], client_config)
        thread.join(10)


@pytest.mark.attack(42, "truncation")
def test_a_cut_connection_is_truncated_after_its_data(client_config: ClientConfig, server_config: ServerConfig) -> None:
    def cut(tls: TLSSocket) -> None:
        tls.sendall(b"half an ans")
        with socket.socket(fileno=socket.dup(tls.fileno())) as raw:
            raw.shutdown(socket.SHUT_WR)
        tls.recv(1)

    with serving(server_config, cut) as listener, dial(listener, client_config) as tls:
        assert tls.recv(100) == b"half an ans"
        for _ in range(2):
            with pytest.raises(TruncatedError):
                tls.recv(100)


def test_reading_may_time_out_and_go_on(client_config: ClientConfig, server_config: ServerConfig) -> None:
    with serving(server_config, echo) as listener, dial(listener, client_config) as tls:
        tls.settimeout(0.05)
        assert tls.gettimeout() == 0.05
        with pytest.raises(TimeoutError):
            tls.recv(1)
        tls.settimeout(10)
        tls.sendall(b"late")
        assert tls.recv(10) == b"late"


def test_a_closed_listener_gives_no_connections(server_config: ServerConfig) -> None:
    listener = handclasp.listen(("127.0.0.1", 0), server_config)
    listener.close()
    listener.close()
    for _ in range(2):
        with pytest.raises(OSError, match="closed"):
            listener.accept()


class Exhausted(socket.socket):
    """Has no descriptor left, the first times."""

    failures = 3

    def accept(self) -> Any:
        if self.failures:
            self.failures -= 1
            raise OSError(errno.EMFILE, "too many open files")
        return super().accept()


def test_a_listener_outlives_a_lack_of_descriptors(client_config: ClientConfig, server_config: ServerConfig) -> None:
    sock = Exhausted(fileno=socket.create_server(("127.0.0.1", 0)).detach())
    with handclasp.listen(sock, server_config) as listener:
        with dial(listener, client_config) as tls:
            listener.accept().close()
            assert tls.recv(1) == b""
        assert sock.failures == 0


def test_a_listener_outlives_a_lack_of_threads(
    client_config: ClientConfig, server_config: ServerConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start
    failed: list[str] = []

    def none_left(thread: threading.Thread) -> None:
        if thread.name.startswith("handclasp-handshake") and len(failed) < 3:
            failed.append(thread.name)
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", none_left)
    with serving(server_config, echo) as listener:
        for _ in range(4):
            with dial(listener, client_config) as tls:
                tls.sendall(b"x")
                assert tls.recv(1) == b"x"
    assert len(failed) == 3


def test_unix_sockets(client_config: ClientConfig, server_config: ServerConfig, tmp_path: Path) -> None:
    with handclasp.listen(tmp_path / "socket", server_config) as listener:
        assert listener.address == str(tmp_path / "socket")
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(listener.address)
            with handclasp.wrap(sock, client_config, server_name="localhost") as tls, listener.accept() as accepted:
                accepted.sendall(b"x")
                assert tls.recv(1) == b"x"
                tls.shutdown_write()
        with pytest.raises(OSError, match=r"in use"):
            handclasp.listen(str(tmp_path / "socket"), server_config)


def test_connections_nobody_took_are_closed(client_config: ClientConfig, server_config: ServerConfig) -> None:
    listener = handclasp.listen(("127.0.0.1", 0), server_config)
    with dial(listener, client_config) as tls:
        closer = threading.Thread(target=listener.close, daemon=True)
        closer.start()
        assert tls.recv(1) == b""
        tls.close()
        closer.join(10)


def test_closing_waits_for_all_of_them_at_one_time(client_config: ClientConfig, server_config: ServerConfig) -> None:
    """Those who do not answer take a second in all, and have been told as well as the others."""
    listener = handclasp.listen(("127.0.0.1", 0), server_config)
    clients = [dial(listener, client_config) for _ in range(6)]
    while listener._ready.qsize() < len(clients):
        time.sleep(0.01)
    with waits_less_than(3):
        listener.close()
    for tls in clients:
        assert tls.recv(1) == b""
        tls.close()


# --- answers that take their time ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SlowSigner:
    public_key: PublicKey
    key: Credential

    async def sign(self, scheme: SignatureScheme, data: bytes) -> bytes:
        await asyncio.sleep(0)
        signature = self.key.signer.sign(scheme, data)
        assert isinstance(signature, bytes)
        return signature


@dataclass(frozen=True)
class SlowVerifier:
    trust: TrustStore

    async def verify(self, presented: PresentedChain) -> VerifiedPeer:
        await asyncio.sleep(0)
        return self.trust.verify(presented)


def test_async_answers_work_over_blocking_sockets(trust: TrustStore, credential: Credential) -> None:
    remote = Credential.from_signer(credential.chain, SlowSigner(credential.signer.public_key, credential))
    client = ClientConfig(trust=SlowVerifier(trust))
    with serving(ServerConfig(credentials=[remote]), echo) as listener:
        with dial(listener, client) as tls:
            tls.sendall(b"x")
            assert tls.recv(1) == b"x"
        with pytest.raises(CertificateError):
            dial(listener, client, "wrong.test")


def test_an_answer_that_is_cancelled(
    trust: TrustStore, credential: Credential, caplog: pytest.LogCaptureFixture
) -> None:
    """By whoever it waited for: it is one that failed, and costs a server no more than a line."""

    @dataclass(frozen=True)
    class Cancelled(SlowSigner):
        async def sign(self, scheme: SignatureScheme, data: bytes) -> bytes:
            raise asyncio.CancelledError

    remote = Credential.from_signer(credential.chain, Cancelled(credential.signer.public_key, credential))
    with (
        caplog.at_level(logging.INFO, logger="handclasp"),
        serving(ServerConfig(credentials=[remote]), echo) as listener,
        pytest.raises(AlertReceived),
    ):
        dial(listener, ClientConfig(trust=trust))
    assert len(caplog.records) == 1
