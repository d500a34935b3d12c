"""The bounds of `limits.py` that are no field of `Limits`: each at its value, and one past it."""

from __future__ import annotations

import inspect
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import cryptography.x509 as pyca
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

import handclasp
from handclasp import (
    CertificateError,
    ClientSessions,
    ConfigError,
    EarlyData,
    ExternalPsk,
    PresentedChain,
    Revocation,
    Role,
    ServerSessions,
    TicketKeys,
    VerifiedPeer,
    aio,
    fetch_issuers,
    limits,
    rules,
)
from handclasp.crypto.keys import certificate_hash
from handclasp.errors import from_fault
from handclasp.fetching import fetch
from handclasp.identity import private as search
from handclasp.identity.aia import _longer
from handclasp.identity.certificates import Certificate, _parse_received, _urls
from handclasp.identity.names import peer_name
from handclasp.identity.path import PathRefused, _check_comparisons, check_leaf
from handclasp.identity.revocation.finding import Evidence, Unusable
from handclasp.identity.revocation.ocsp import _authorised, read_response
from handclasp.identity.roots import load
from handclasp.io.sockets import SocketTransport
from handclasp.io.stream import Stream
from handclasp.lab.ca import CertificateAuthority
from handclasp.lab.faults import inject
from handclasp.lab.responder import delegate
from handclasp.limits import Limits
from handclasp.rules import PeerFault, printable
from handclasp.sessions.cache import ClientSession
from handclasp.sessions.replay import ReplayGuard
from handclasp.sessions.tickets import NAME_SIZE
from handclasp.wire import messages
from handclasp.wire.blocks import extensions
from handclasp.wire.extensions import EncryptedExtensionsBlock, NewSessionTicketExtensions
from handclasp.wire.messages import NewSessionTicket
from handclasp.wire.names import ContentType
from property.tapes import attempt
from rules.stage import Stage, authority, credential
from sessions.made import HOUR, START, FakeClock, client_session, session

beyond_too = pytest.mark.parametrize("beyond", [0, 1], ids=["at", "past"])

NOW = datetime.now(UTC)
AN_INSTANT = timedelta(milliseconds=1)


# --- sessions --------------------------------------------------------------------------------------------------------


@pytest.mark.limit("MAX_TICKET_LIFETIME")
@beyond_too
def test_a_lifetime_of_a_ticket(beyond: int) -> None:
    scene = Stage().joined({"sessions": ClientSessions()})
    ticket = NewSessionTicket(604_800 + beyond, 0, b"\0", b"ticket", NewSessionTicketExtensions())
    inject(scene.other, ContentType.HANDSHAKE, ticket.encode())
    error = attempt(lambda: scene.victim.receive_data(scene.other.data_to_send()))
    assert (error and error.rule) == (rules.TICKET_LIFETIME if beyond else None)


@pytest.mark.limit("MOST_SESSIONS_PER_NAME", "MOST_NAMES", "MOST_SESSIONS", "MOST_REPLAYS")
@beyond_too
def test_stores_in_memory(beyond: int) -> None:
    clock = FakeClock()
    of_one, of_many = ClientSessions(clock=clock), ClientSessions(clock=clock)
    for _ in range(8 + beyond):
        of_one.put("a", client_session())
    for number in range(1000 + beyond):
        of_many.put(str(number), client_session())
    servers, guard = ServerSessions(clock=clock), ReplayGuard(clock=clock)
    for number in range(10_000 + beyond):
        servers.put(number.to_bytes(4), session(), START + HOUR)
    assert (len(of_one), len(of_many), len(servers)) == (8, 1000, 10_000)
    claims = [guard.claim(number.to_bytes(4), START, START + HOUR) for number in range(100_000 + beyond)]
    assert claims.count(False) == beyond


@pytest.mark.limit("MAX_SESSION")
@beyond_too
def test_a_stored_session(beyond: int) -> None:
    """What is too long is not looked at."""
    with pytest.raises(ValueError, match="not a client's session") as caught:
        ClientSession.from_bytes(bytes(512 * 1024 + beyond))
    assert ("are more than" in str(caught.value)) is bool(beyond)


@pytest.mark.limit("TICKET_ROTATION", "TICKET_ACCEPTED")
def test_times_of_ticket_keys() -> None:
    keys = TicketKeys()
    ticket = keys.seal(session(), START)
    six, twelve = START + timedelta(hours=6), START + timedelta(hours=12)
    assert keys.seal(session(), six - AN_INSTANT)[:NAME_SIZE] == ticket[:NAME_SIZE]
    assert keys.seal(session(), six)[:NAME_SIZE] != ticket[:NAME_SIZE]
    assert keys.open(ticket, twelve - AN_INSTANT) is not None
    assert keys.open(ticket, twelve) is None


@pytest.mark.limit("MOST_TICKET_KEYS")
def test_ticket_keys_at_one_time() -> None:
    TicketKeys(rotate=HOUR, accept=24 * HOUR)
    with pytest.raises(ValueError, match="rotate"):
        TicketKeys(rotate=HOUR, accept=24 * HOUR + AN_INSTANT)


@pytest.mark.limit("MAX_EARLY_DATA", "EARLY_DATA")
def test_early_data_that_can_be_allowed() -> None:
    guard = ReplayGuard()
    assert EarlyData(replay=guard).most == 14_336
    assert EarlyData(replay=guard, most=1 << 20).most == 1 << 20
    with pytest.raises(ConfigError):
        EarlyData(replay=guard, most=(1 << 20) + 1)


@pytest.mark.limit("EARLY_DATA")
@beyond_too
def test_early_data_that_is_allowed(beyond: int) -> None:
    """A client that has more keeps all of it for later."""
    stage, kept, tickets = Stage(), ClientSessions(), TicketKeys()
    server: dict[str, Any] = {"tickets": tickets, "early_data": EarlyData(replay=ReplayGuard())}
    stage.joined({"sessions": kept}, server)
    client = stage.client(sessions=kept, early_data=bytes(14_336 + beyond))
    victim = stage.server(**server)
    victim.receive_data(client.data_to_send())
    arrived = sum(len(getattr(event, "data", b"")) for event in victim.events())
    assert arrived == (0 if beyond else 14_336)


@pytest.mark.limit("MAX_WISHES")
def test_wishes_that_wait() -> None:
    """A store that has to be asked from outside is asked for a first ticket; sixteen more wait for its answer."""
    stage = Stage(mirrored=True)
    scene = stage.joined({"tickets": Asking(), "ticket_count": 0}, {"sessions": ClientSessions()})
    scene.victim.send_tickets(1)
    assert scene.victim.waiting_for[0] == "KeepSession"
    for _ in range(16):
        scene.victim.send_tickets(1)
    with pytest.raises(ConfigError, match="16 wishes wait"):
        scene.victim.send_tickets(1)


class Asking:
    """Ticket keys that are somewhere else."""

    blocking = True

    def seal(self, *_: object) -> bytes:
        raise NotImplementedError

    open = seal


@pytest.mark.limit("MAX_END_NAME")
@beyond_too
def test_names_of_ends(beyond: int) -> None:
    def make() -> ExternalPsk:
        return ExternalPsk.between(b"a", bytes(32), role="client", client=bytes(255 + beyond), server=b"b")

    if beyond:
        with pytest.raises(ConfigError, match="1 to 255"):
            make()
    else:
        make()


@pytest.mark.limit("MAX_PSK_IDENTITY", "LEAST_PSK")
def test_keys_known_beforehand() -> None:
    ExternalPsk(bytes(16_384), bytes(16), role="client")
    for identity, key in ((bytes(16_385), bytes(16)), (b"a", bytes(15))):
        with pytest.raises(ConfigError):
            ExternalPsk(identity, key, role="client")


# --- certificates ----------------------------------------------------------------------------------------------------


@pytest.mark.limit("MAX_NAME")
def test_names() -> None:
    longest = ".".join(["a" * 49] * 5) + ".abc"
    assert len(longest) == 253
    assert peer_name(longest).text == longest
    with pytest.raises(ConfigError, match="longer than 253"):
        peer_name("a" + longest)


@pytest.mark.limit("LEAST_RSA_BITS", "MAX_RSA_EXPONENT", "rsa_bits")
@pytest.mark.parametrize(
    ("bits", "exponent", "good"),
    [
        (1024, 65537, True),
        (1023, 65537, False),
        (2048, (1 << 32) - 1, True),
        (2048, (1 << 32) + 1, False),  # an even one is none
        (8192, 65537, True),
        (8193, 65537, False),
    ],
)
def test_rsa_keys(bits: int, exponent: int, good: bool) -> None:
    numbers = rsa.RSAPublicNumbers(exponent, (1 << bits - 1) + 15)
    builder = pyca.CertificateBuilder(
        pyca.Name([]), authority().certificate.x509.subject, numbers.public_key(), 1, NOW, NOW + timedelta(days=1)
    )
    ca: Any = authority()
    signed = builder.sign(ca._key, certificate_hash(ca._key))
    leaf = Certificate.from_der(signed.public_bytes(Encoding.DER))
    fault = None
    try:
        check_leaf(leaf, Limits())
    except PeerFault as caught:
        fault = caught.rule
    assert fault == (None if good else rules.CERTIFICATE_KEY_TYPE)


@pytest.mark.limit("MOST_SIGNATURES", "MOST_STEPS", "MOST_COMPARISONS")
@pytest.mark.parametrize(("kind", "most"), [("signatures", 24), ("steps", 500), ("comparisons", 20_000)])
def test_work_of_one_search(kind: str, most: int) -> None:
    """`test_hostile_chains` shows that searches spend it."""
    work = search._Search(_presented(), load(authority().trust.sources))
    work._spend(kind, most)
    with pytest.raises(search.TooCostly, match=f"more than {most} {kind}"):
        work._spend(kind, 1)


@pytest.mark.limit("MOST_COMPARISONS")
@beyond_too
def test_names_compared_with_constraints(beyond: int) -> None:
    """A leaf of 198 names, and its issuer with none, are compared with a hundred constraints."""
    ca = CertificateAuthority("constraining")
    middle = ca.intermediate("middle", permitted=[f"{number}.test" for number in range(100)])
    leaf = middle.issue(*(f"{number}.0.test" for number in range(198 + beyond)), common_name="many").leaf
    presented = PresentedChain((leaf, middle.certificate), Role.SERVER, None, NOW)

    def compare() -> None:
        _check_comparisons(presented, [middle.certificate], load(ca.trust.sources))

    if beyond:
        with pytest.raises(PathRefused, match="more names and name constraints"):
            compare()
    else:
        compare()


def _presented() -> PresentedChain:
    return PresentedChain(credential().chain, Role.SERVER, peer_name("example.test"), NOW)


@pytest.mark.limit("MAX_REMEMBERED", "MOST_REMEMBERED")
def test_certificates_that_are_remembered() -> None:
    assert _parse_received(0, _long(4096)) is not _parse_received(0, _long(4096))
    for size in (4096, 4097):
        der = _long(size)
        assert (_parse_received(0, der) is _parse_received(0, der)) is (size == 4096)
        body = b"\0" + (size - 4).to_bytes(3) + (size - 9).to_bytes(3) + bytes(size - 9) + bytes(2)
        assert (messages.Certificate.parse(body) is messages.Certificate.parse(body)) is (size == 4096)
    first = _long(4096)
    met = _parse_received(0, first)
    for certificates in (127, 128):
        for _ in range(certificates):
            _parse_received(0, _issued("other.test"))
        assert (_parse_received(0, first) is met) is (certificates == 127)


@pytest.mark.limit("MOST_REMEMBERED_PARTS")
def test_messages_of_many_parts_are_not_remembered() -> None:
    """Read, an empty extension takes a hundred times its four bytes."""
    for count in (16, 17):
        block = b"".join((0x1000 + number).to_bytes(2) + b"\0\0" for number in range(count))
        body = len(block).to_bytes(2) + block
        parse = messages.EncryptedExtensions.parse
        assert (parse(body) is parse(body)) is (count == 16)
        entry = b"\0\0\1\x30"
        listed = entry + (len(block) - 4).to_bytes(2) + block[4:]
        body = b"\0" + len(listed).to_bytes(3) + listed
        certificates = messages.Certificate.parse
        assert (certificates(body) is certificates(body)) is (count == 16)


@pytest.mark.limit("MAX_REMEMBERED_BODY", "MOST_REMEMBERED_BODIES")
def test_extensions_that_are_remembered() -> None:
    """A body that is read again is the same value, if it is short and not many others came in between."""

    def read(protocol: bytes) -> object:
        body = bytes((0, len(protocol) + 1, len(protocol))) + protocol
        extension = bytes((0, 16, 0, len(body))) + body
        value, _ = _BLOCK.read(bytes((0, len(extension))) + extension, 0, len(extension) + 2)
        return value.alpn

    for size in (93, 94):  # and three of lengths
        assert (read(b"p" * size) is read(b"p" * size)) is (size == 93)
    first = read(b"first")
    for others in (63, 64):
        for number in range(others):
            read(b"other %d %d" % (others, number))
        assert (read(b"first") is first) is (others == 63)


_BLOCK = extensions(EncryptedExtensionsBlock)


def _issued(*names: str) -> bytes:
    return authority().issue(*names, common_name="one").leaf.der


def _long(size: int) -> bytes:
    """A certificate of so many bytes; signatures differ in length by a few."""
    padding = size - len(_issued("a.test")) - 4
    while True:
        names = ["a.test", *("b" * 50 + ".test" for _ in range(padding // 57))]
        der = _issued(*names, "c" * (padding % 57 + 1) + ".test")
        if len(der) == size:
            return der
        padding += size - len(der)


# --- what is fetched, and what is said by a CA -----------------------------------------------------------------------


@pytest.mark.limit("MOST_URLS")
@beyond_too
def test_addresses_in_a_certificate(beyond: int) -> None:
    names = [pyca.UniformResourceIdentifier(f"http://{number}.test/") for number in range(4 + beyond)]
    assert len(_urls(iter(names))) == 4


@pytest.mark.limit("MOST_RESPONDERS", "FETCH_TIMEOUT", "MAX_LIST", "MAX_RESPONSE")
def test_addresses_that_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of three, with the usual time and for answers of the usual size."""
    asked: list[tuple[str, int, float]] = []

    def nothing(url: str, *, body: bytes | None, content_type: str | None, limit: int, timeout: float) -> bytes:
        asked.append((url, limit, timeout))
        raise OSError("nobody is there")

    urls = tuple(f"http://{number}.test/" for number in range(3))
    chain = (credential().leaf, authority().certificate)
    monkeypatch.setattr(Certificate, "ocsp_urls", property(lambda self: urls))
    Revocation("soft", fetch=nothing).check(_presented(), VerifiedPeer(chain, "yes"))
    assert [url for url, _, _ in asked] == list(urls[:2])
    assert all(limit == 64 * 1024 and 0 < timeout <= 5 for _, limit, timeout in asked)
    monkeypatch.setattr(Certificate, "ocsp_urls", property(lambda self: ()))
    monkeypatch.setattr(Certificate, "crl_urls", property(lambda self: urls))
    asked.clear()
    Revocation("soft", fetch=nothing).check(_presented(), VerifiedPeer(chain, "yes"))
    assert [limit for _, limit, _ in asked] == [10 * 1024 * 1024] * 2


@pytest.mark.limit("MAX_RESPONSE")
@beyond_too
def test_a_response(beyond: int) -> None:
    with pytest.raises(Unusable) as caught:
        read_response(
            bytes(64 * 1024 + beyond),
            credential().leaf,
            authority().certificate,
            NOW,
            evidence=Evidence.OCSP,
            limits=Limits(),
        )
    assert ("is longer than" in str(caught.value)) is bool(beyond)


@pytest.mark.limit("MOST_DELEGATES")
@pytest.mark.parametrize("place", [4, 5])
def test_delegates_in_a_response(place: int) -> None:
    """Whoever may speak for the CA is found in the fourth place, and not in the fifth."""
    ca = authority()
    able = delegate(ca).certificate

    class Response:
        certificates = [credential().leaf.x509] * (place - 1) + [able.x509]

    said: Any = Response()
    found = list(_authorised(said, ca.certificate, NOW, Limits()))
    assert (able in found) is (place == 4)


@pytest.mark.limit("MAX_FETCHED")
@beyond_too
def test_what_is_fetched(beyond: int) -> None:
    with pytest.raises(ValueError, match=r"\w") as caught:
        _longer(_presented(), bytes(65_536 + beyond))
    assert ("more bytes than" in str(caught.value)) is bool(beyond)


@pytest.mark.limit("MOST_FETCHES")
@pytest.mark.parametrize("missing", [3, 4])
def test_issuers_that_are_fetched(missing: int) -> None:
    """The verifier always misses one more; three are fetched, a fourth is not."""
    leaf = authority().issue("a.test", issuer_url="http://ca.test/", send_chain=False).leaf
    asked: list[str] = []

    def web(url: str, *, limit: int, timeout: float, **_: object) -> bytes:
        assert (limit, timeout) == (65_536, 5.0)
        asked.append(url)
        return CertificateAuthority(f"number {len(asked)}").certificate.der

    class Missing:
        def verify(self, presented: PresentedChain) -> VerifiedPeer:
            if len(presented.chain) == 1 + missing:
                return VerifiedPeer(presented.chain, "complete")
            raise CertificateError("one is missing", code="missing-intermediate", certificate=leaf)

    presented = PresentedChain((leaf,), Role.SERVER, peer_name("a.test"), NOW)
    error = attempt(lambda: fetch_issuers(Missing(), web).verify(presented))
    assert (error is None) is (missing == 3)
    assert len(asked) == 3


@contextmanager
def _nobody() -> Iterator[str]:
    """An address that refuses to be called."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    yield f"http://127.0.0.1:{port}/"


@pytest.mark.limit("MAX_URL")
@beyond_too
def test_addresses_that_are_fetched(beyond: int) -> None:
    with _nobody() as url, pytest.raises(ValueError if beyond else OSError, match=r"\w"):
        fetch(url + "a" * (2048 - len(url) + beyond), limit=9, timeout=5)


# --- streams and errors ----------------------------------------------------------------------------------------------


@pytest.mark.limit("MAX_RECEIVED")
def test_what_is_taken_from_a_transport_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    receive = SocketTransport.receive

    async def watched(self: Any, most: int) -> bytes:
        data = await receive(self, most)
        taken.append(len(data))
        assert most <= 64 * 1024
        return data

    monkeypatch.setattr(SocketTransport, "receive", watched)
    ours, theirs = socket.socketpair()
    config = handclasp.ServerConfig(credentials=[credential()])

    def serve() -> None:
        with handclasp.wrap(theirs, config) as tls:
            tls.sendall(bytes(1 << 20))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    client = handclasp.ClientConfig(trust=authority().trust)
    with handclasp.wrap(ours, client, server_name="example.test") as tls:
        assert sum(len(data) for data in iter(lambda: tls.recv(1 << 20), b"")) == 1 << 20
    thread.join(10)
    assert max(taken) <= 64 * 1024


OPENING: tuple[Callable[..., Any], ...] = (
    handclasp.connect,
    handclasp.wrap,
    handclasp.listen,
    aio.open_connection,
    aio.start_server,
)


@pytest.mark.limit("HANDSHAKE_TIMEOUT")
@pytest.mark.parametrize("opening", OPENING, ids=lambda opening: opening.__name__)
def test_a_handshake_has_ten_seconds(opening: Callable[..., Any]) -> None:
    """What comes of it is tested where the streams are: `trickling bytes do not extend the deadline`."""
    assert inspect.signature(opening).parameters["timeout"].default == limits.HANDSHAKE_TIMEOUT == 10.0


@pytest.mark.limit("CLOSE_TIMEOUT")
def test_a_close_waits_a_second() -> None:
    assert inspect.signature(Stream.close).parameters["within"].default == limits.CLOSE_TIMEOUT == 1.0


@pytest.mark.limit("MAX_ERROR_TEXT", "MAX_MESSAGE")
def test_text_of_a_peer() -> None:
    for most, shown in ((200, "x" * 200), (201, "x" * 199 + "…")):
        assert printable("x" * most) == shown
    rule = max(rules.ALL.values(), key=lambda rule: len(rule.sentence))
    room = 300 - len(str(from_fault(PeerFault(rule)))) - len(": ")
    assert 0 < room < 200
    for size in (room, room + 1, 100_000):
        text = str(from_fault(PeerFault(rule, "x" * size)))
        assert len(text) == 300
        assert ("…" in text) is (size > room)
