"""What blocking sockets have of their own: threads, timeouts, selectors, upgrades, and the way back to plain."""

from __future__ import annotations

import contextlib
import errno
import selectors
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

import handclasp
from handclasp import (
    ClientConfig,
    ConfigError,
    ConnectionClosed,
    NotEstablished,
    PeerNotTLS,
    ServerConfig,
    TLSError,
    TLSSocket,
    TruncatedError,
)
from handclasp.io.blocking import PIECE

from .patience import waits_less_than
from .peers import farewell, in_thread

DATA = bytes(range(256)) * 4096


@contextlib.contextmanager
def pair(client: ClientConfig, server: ServerConfig) -> Iterator[tuple[TLSSocket, TLSSocket]]:
    ours, theirs = socket.socketpair()
    made: list[TLSSocket] = []
    with in_thread(lambda: made.append(handclasp.wrap(theirs, server))):
        near = handclasp.wrap(ours, client, server_name="localhost")
    try:
        yield near, made[0]
    finally:
        with in_thread(made[0].close):
            near.close()


def read_exactly(tls: TLSSocket, size: int) -> bytes:
    whole = bytearray()
    while len(whole) < size:
        whole += tls.recv(size - len(whole)) or pytest.fail("it ended early")
    return bytes(whole)


def test_a_reader_that_gives_up_does_not_stop_a_writer(
    client_config: ClientConfig, server_config: ServerConfig
) -> None:
    """Each thread has its own deadline; a write that waits for its peer survives a read that did not."""
    with pair(client_config, server_config) as (near, far):
        with in_thread(lambda: near.sendall(DATA)):
            near.settimeout(0.05)
            for _ in range(3):
                with pytest.raises(TimeoutError):
                    near.recv(1)
            near.settimeout(None)
            assert read_exactly(far, len(DATA)) == DATA
        far.sendall(b"x")
        assert near.recv(1) == b"x"


def test_a_write_that_timed_out_leaves_no_gap(client_config: ClientConfig, server_config: ServerConfig) -> None:
    with pair(client_config, server_config) as (near, far):
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # no piece of it has room
        near.settimeout(0.1)
        while not near.wants_write:  # the time may be up before anything was sealed
            with pytest.raises(TimeoutError):
                near.sendall(DATA)
        near.settimeout(None)
        received = bytearray()

        def read() -> None:
            while not received.endswith(b"<the end>"):
                received.extend(far.recv(65536))

        with in_thread(read):
            near.sendall(b"<the end>")
        assert len(received) > len(b"<the end>")
        assert DATA.startswith(received.removesuffix(b"<the end>"))


@pytest.mark.attack(68, "slow clients")
def test_a_trickle_does_not_extend_a_timeout(client_config: ClientConfig, server_config: ServerConfig) -> None:
    with pair(client_config, server_config) as (near, far):
        stop = threading.Event()

        def trickle() -> None:
            with socket.socket(fileno=socket.dup(far.fileno())) as below:
                below.sendall(b"\x17\x03\x03\x20\x00")
                while not stop.wait(0.02):
                    below.sendall(b"x")

        with in_thread(trickle):
            near.settimeout(0.2)
            with waits_less_than(1), pytest.raises(TimeoutError):
                near.recv(1)
            stop.set()


def test_shutting_down_wakes_a_reader(client_config: ClientConfig, server_config: ServerConfig) -> None:
    with pair(client_config, server_config) as (near, _):

        def read() -> None:
            with contextlib.suppress(TLSError, OSError):
                assert near.recv(1) == b""

        with in_thread(read):
            near.shutdown(socket.SHUT_RDWR)
        with pytest.raises(ValueError, match="no way"):
            near.shutdown(socket.SHUT_RD)


@pytest.mark.parametrize("answers", [True, False])
def test_closing_while_another_thread_reads(
    client_config: ClientConfig, server_config: ServerConfig, answers: bool
) -> None:
    """Both take bytes from the socket then; neither sees any out of order, and neither waits for ever."""
    for _ in range(3):
        with pair(client_config, server_config) as (near, far):
            received = bytearray()

            def read(near: TLSSocket = near, received: bytearray = received) -> None:
                # cut by ourselves, at the latest
                with contextlib.suppress(TruncatedError, ConnectionClosed, OSError):
                    while data := near.recv(1000):
                        received += data

            def answer(far: TLSSocket = far) -> None:
                with contextlib.suppress(TLSError, OSError):
                    far.sendall(DATA)
                    while answers and far.recv(1000):
                        pass

            with in_thread(read), in_thread(answer), waits_less_than(3):
                near.close()
            assert DATA.startswith(received)


@pytest.mark.parametrize("timeout", [None, 0, 5])
def test_what_came_is_read_though_our_answer_cannot_be_sent(
    client_config: ClientConfig, server_config: ServerConfig, timeout: float | None
) -> None:
    """The peer asks for new keys, says its last words, and is gone."""
    ours, theirs = socket.socketpair()

    def serve() -> None:
        with theirs:
            farewell(handclasp.wrap(theirs, server_config))

    with in_thread(serve):
        near = handclasp.wrap(ours, client_config, server_name="localhost")
    near.settimeout(timeout)
    assert read_exactly(near, 11) == b"first, last"
    assert near.recv(1) == b""
    near.close()


@pytest.mark.parametrize("timeout", [None, 0, 5])
def test_a_socket_that_is_closed(
    client_config: ClientConfig, server_config: ServerConfig, timeout: float | None
) -> None:
    with pair(client_config, server_config) as (near, _):
        near.settimeout(timeout)
        near.close()
        with pytest.raises(OSError, match=r"closed|descriptor") as caught:
            near.recv(1)
        assert caught.value.errno == errno.EBADF


# --- sockets that do not block ---------------------------------------------------------------------------------------


def ready(selector: selectors.BaseSelector, tls: TLSSocket) -> None:
    selector.modify(tls.fileno(), selectors.EVENT_WRITE if tls.wants_write else selectors.EVENT_READ)
    assert selector.select(10)


def test_selectors(client_config: ClientConfig, server_config: ServerConfig) -> None:
    """A whole conversation, without one call that waits."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)

    full = threading.Event()

    def serve() -> None:
        with handclasp.wrap(theirs, server_config) as far:
            assert full.wait(10)
            far.sendall(read_exactly(far, len(DATA)))
            assert far.recv(1) == b""

    def patiently(call: Callable[[], object]) -> object:
        while True:
            try:
                return call()
            except BlockingIOError:
                ready(selector, near)

    with in_thread(serve), selectors.DefaultSelector() as selector:
        near = handclasp.wrap(ours, client_config, server_name="localhost")
        assert near.gettimeout() == 0
        with pytest.raises(NotEstablished):
            near.recv(1)
        selector.register(near.fileno(), selectors.EVENT_READ)
        patiently(near.do_handshake)
        assert near.info.verified_chain
        rest = memoryview(DATA)
        refused = 0
        while rest:
            try:
                rest = rest[near.send(rest) :]
            except BlockingIOError:
                refused += 1
                with pytest.raises(ConfigError) as caught:
                    near.send(b"something else")
                assert caught.value.code == "send-other-data"
                full.set()
                ready(selector, near)
        assert refused
        back = bytearray()
        while len(back) < len(DATA):
            data = patiently(lambda: near.recv(10_000))
            assert isinstance(data, bytes)
            back += data
            while near.pending():
                back += near.recv(10_000)
        assert back == DATA
        near.close()


def test_who_only_reads_sends_what_had_no_room(client_config: ClientConfig, server_config: ServerConfig) -> None:
    """An answer of TLS above all: the socket gets writable, and no writer comes again."""
    with pair(client_config, server_config) as (near, far), selectors.DefaultSelector() as selector:
        near.setblocking(False)
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        rest = memoryview(DATA)
        with contextlib.suppress(BlockingIOError):
            while True:
                rest = rest[near.send(rest) :]
        far.update_keys(request_peer=True)
        far.sendall(b"x")
        assert near.recv(1) == b"x"
        selector.register(near.fileno(), selectors.EVENT_READ)

        def read() -> None:
            read_exactly(far, len(DATA) - len(rest) + PIECE)

        with in_thread(read):
            turns = 0
            while near.wants_write:
                ready(selector, near)
                with pytest.raises(BlockingIOError):
                    near.recv(1)
                turns += 1
                assert turns < 10_000
        assert near.send(rest) == PIECE
        near.sendall(b"y")
        assert far.recv(1) == b"y"


def test_what_the_peer_said_is_read_though_it_listens_no_more(
    client_config: ClientConfig, server_config: ServerConfig
) -> None:
    ours, theirs = socket.socketpair()
    made: list[TLSSocket] = []
    with in_thread(lambda: made.append(handclasp.wrap(theirs, server_config))):
        near = handclasp.wrap(ours, client_config, server_name="localhost")
    near.settimeout(0)
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    with contextlib.suppress(BlockingIOError):
        while True:
            near.send(DATA)
    made[0].sendall(b"farewell")
    theirs.close()
    assert near.recv(100) == b"farewell"
    near.close()


@pytest.mark.parametrize("depth", [2, 3])
def test_what_an_outer_connection_holds_is_pending(
    client_config: ClientConfig, server_config: ServerConfig, depth: int
) -> None:
    """What came with one look at the socket, a selector does not tell of twice."""
    with pair(client_config, server_config) as (near, far), selectors.DefaultSelector() as selector:
        made = [far]

        def serve() -> None:
            for _ in range(depth - 1):
                made.append(handclasp.wrap(made[-1], server_config))
            made[-1].sendall(b"one")
            made[-1].sendall(b"two")

        inner = near
        with in_thread(serve):
            for _ in range(depth - 1):
                inner = handclasp.wrap(inner, client_config, server_name="localhost")
        selector.register(inner.fileno(), selectors.EVENT_READ)
        assert not inner.pending()
        assert selector.select(10)
        words = [inner.recv(3)]
        while inner.pending():
            words.append(inner.recv(3))
        assert words == [b"one", b"two"]
        assert not selector.select(0)


def test_files_of_sockets_that_do_not_block(client_config: ClientConfig, server_config: ServerConfig) -> None:
    with pair(client_config, server_config) as (near, far):
        near.setblocking(False)
        file = near.makefile("rb")
        assert file.read1(1) in (None, b"")
        far.sendall(b"x")
        near.setblocking(True)
        assert near.recv(1) == b"x"


# --- before and after TLS --------------------------------------------------------------------------------------------


def test_bytes_that_were_read_before(client_config: ClientConfig, server_config: ServerConfig) -> None:
    ours, theirs = socket.socketpair()

    def serve() -> None:
        first = theirs.recv(7)
        with handclasp.wrap(theirs, server_config, received=first) as far:
            far.sendall(far.recv(10))

    with in_thread(serve), handclasp.wrap(ours, client_config, server_name="localhost") as near:
        near.sendall(b"x")
        assert near.recv(1) == b"x"


def test_bytes_that_were_read_of_tls_in_tls(client_config: ClientConfig, server_config: ServerConfig) -> None:
    with pair(client_config, server_config) as (near, far):

        def serve() -> None:
            first = far.recv(7)
            with handclasp.wrap(far, server_config, received=first) as inner:
                inner.sendall(inner.recv(10))
                assert inner.recv(10) == b""

        with in_thread(serve), handclasp.wrap(near, client_config, server_name="localhost") as inner:
            inner.sendall(b"x")
            assert inner.recv(1) == b"x"


def test_tls_in_tls_without_blocking(client_config: ClientConfig, server_config: ServerConfig) -> None:
    with pair(client_config, server_config) as (near, far), selectors.DefaultSelector() as selector:

        def serve() -> None:
            with handclasp.wrap(far, server_config) as inner:
                inner.sendall(read_exactly(inner, len(DATA)))
                assert inner.recv(10) == b""

        with in_thread(serve):
            near.setblocking(False)
            inner = handclasp.wrap(near, client_config, server_name="localhost")
            selector.register(inner.fileno(), selectors.EVENT_READ)
            while True:
                try:
                    inner.do_handshake()
                    break
                except BlockingIOError:
                    ready(selector, inner)
            rest = memoryview(DATA)
            while rest:
                try:
                    rest = rest[inner.send(rest) :]
                except BlockingIOError:
                    ready(selector, inner)
            inner.setblocking(True)
            assert read_exactly(inner, len(DATA)) == DATA
            inner.close()


@pytest.mark.attack(15, "STARTTLS injection")
def test_plain_words_before_tls_fail_it(server_config: ServerConfig) -> None:
    ours, theirs = socket.socketpair()
    with ours:
        ours.shutdown(socket.SHUT_WR)
        with pytest.raises(PeerNotTLS):
            handclasp.wrap(theirs, server_config, received=b"MAIL FROM:<mallory>\r\n")
    assert theirs.fileno() == -1


def test_the_way_back_to_plain(client_config: ClientConfig, server_config: ServerConfig) -> None:
    ours, theirs = socket.socketpair()

    def serve() -> None:
        far = handclasp.wrap(theirs, server_config)
        far.sendall(b"the last protected words")
        plain, rest = far.unwrap()
        with plain:
            assert plain is theirs
            assert rest == b""
            plain.sendall(b"in the open")

    with in_thread(serve):
        near = handclasp.wrap(ours, client_config, server_name="localhost")
        plain, rest = near.unwrap()
        assert near.recv(100) == b"the last protected words"
        assert near.recv(100) == b""
        assert near.fileno() == -1
        near.close()
        with plain:
            while len(rest) < 11:
                rest += plain.recv(100)
            assert rest == b"in the open"


def test_what_comes_behind_close_notify_is_given_back(client_config: ClientConfig, server_config: ServerConfig) -> None:
    ours, theirs = socket.socketpair()
    said = threading.Event()

    def serve() -> None:
        connection = handclasp.ServerConnection(server_config)
        with theirs:
            while not connection.established:
                connection.receive_data(theirs.recv(65536))
                theirs.sendall(connection.data_to_send())
            connection.close()
            theirs.sendall(connection.data_to_send() + b"plain again")
            said.set()
            theirs.recv(65536)

    with in_thread(serve):
        near = handclasp.wrap(ours, client_config, server_name="localhost")
        assert said.wait(10)
        plain, rest = near.unwrap()
        with plain:
            assert rest == b"plain again"


@pytest.mark.parametrize("depth", [2, 3])
def test_tls_in_tls(client_config: ClientConfig, server_config: ServerConfig, depth: int) -> None:
    ours, theirs = socket.socketpair()

    def wrapped(sock: socket.socket, config: ClientConfig | ServerConfig, name: str | None) -> TLSSocket:
        tls = handclasp.wrap(sock, config, server_name=name)
        for _ in range(depth - 1):
            tls = handclasp.wrap(tls, config, server_name=name)
        return tls

    def serve() -> None:
        with wrapped(theirs, server_config, None) as far:
            far.sendall(read_exactly(far, len(DATA)))
            assert far.recv(1) == b""

    with in_thread(serve), wrapped(ours, client_config, "localhost") as near:
        near.settimeout(0.05)
        with pytest.raises(TimeoutError):
            near.recv(1)
        near.settimeout(20)
        near.sendall(DATA)
        assert read_exactly(near, len(DATA)) == DATA
        with pytest.raises(ConfigError):
            near.unwrap()
    assert ours.fileno() == -1
