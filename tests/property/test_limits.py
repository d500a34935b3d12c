"""Every bound at its value and one past it: what is within is served in full, what is beyond is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields as dataclass_fields
from typing import Any

import pytest

from handclasp import (
    CipherSuite,
    ConfigError,
    Data,
    ExternalPsk,
    KeysExpired,
    Limits,
    NamedGroup,
    TicketReceived,
    TLSError,
    rules,
)
from handclasp.connection import Connection
from handclasp.lab.faults import framed, inject
from handclasp.limits import HARD_CAPS, MAX_TICKET
from handclasp.rules import Rule
from handclasp.sessions.cache import ClientSessions
from handclasp.sessions.tickets import TicketKeys
from handclasp.trace import Direction, KeysChanged, RecordMoved
from handclasp.wire.extensions import EMPTY, CertificateEntryExtensions, NewSessionTicketExtensions
from handclasp.wire.messages import (
    HEADER_SIZE,
    Certificate,
    CertificateEntry,
    ClientHello,
    KeyUpdate,
    NewSessionTicket,
)
from handclasp.wire.names import ContentType, HandshakeType, KeyUpdateRequest
from property.tapes import attempt
from rules.stage import NAME, Scene, Stage, block, carry, credential, fields, record
from rules.test_every_rule import Later

both_ways = pytest.mark.parametrize("mirrored", [False, True], ids=["client", "server"])

EMPTY_DATA = (ContentType.APPLICATION_DATA, b"")
CANCELED = (ContentType.ALERT, b"\1\x5a")
UPDATE = (ContentType.HANDSHAKE, KeyUpdate(KeyUpdateRequest.UPDATE_NOT_REQUESTED).encode())


def error_of(scene: Scene) -> TLSError | None:
    return attempt(lambda: scene.victim.receive_data(scene.other.data_to_send()))


def assert_bound(error: TLSError | None, beyond: bool, rule: Rule) -> None:
    assert (None if error is None else error.rule) == (rule if beyond else None)


# --- rows of what carries nothing forward ----------------------------------------------------------------------------


def _updates(other: Connection, count: int) -> None:
    for _ in range(count):
        other.update_keys()


def _records(*kinds: tuple[ContentType, bytes]) -> Callable[[Connection, int], None]:
    def put(other: Connection, count: int) -> None:
        for index in range(count):
            inject(other, *kinds[index % len(kinds)])

    return put


ROWS: dict[str, tuple[Callable[[Connection, int], None], int, Rule]] = {
    "empty records": (_records(EMPTY_DATA), 32, rules.TOO_MANY_IDLE_RECORDS),
    "warning alerts": (_records(CANCELED), 4, rules.TOO_MANY_WARNINGS),
    "key updates": (_updates, 32, rules.TOO_MANY_POST_HANDSHAKE),
    "warnings and empty records by turns": (_records(EMPTY_DATA, CANCELED), 9, rules.TOO_MANY_WARNINGS),
}


@pytest.mark.limit("idle_records", "warning_alerts", "post_handshake_messages")
@pytest.mark.attack(52, "KeyUpdate flood")
@pytest.mark.attack(53, "empty-record flood")
@pytest.mark.attack(54, "warning flood")
@both_ways
@pytest.mark.parametrize("row", list(ROWS))
@pytest.mark.parametrize("beyond", [False, True])
def test_a_row(row: str, beyond: bool, mirrored: bool) -> None:
    put, most, rule = ROWS[row]
    scene = Stage(mirrored).joined()
    put(scene.other, most + beyond)
    assert_bound(error_of(scene), beyond, rule)


@both_ways
@pytest.mark.parametrize("row", list(ROWS))
def test_data_ends_a_row(row: str, mirrored: bool) -> None:
    put, most, _ = ROWS[row]
    scene = Stage(mirrored).joined()
    for _ in range(3):
        put(scene.other, most)
        scene.other.send(b"data")
    assert error_of(scene) is None
    assert scene.victim.events() == [Data(b"data")] * 3


@pytest.mark.attack(52, "KeyUpdate flood")
@both_ways
def test_an_empty_record_between_ends_no_row_of_updates(mirrored: bool) -> None:
    scene = Stage(mirrored).joined()
    for _ in range(33):
        scene.other.update_keys()
        inject(scene.other, *EMPTY_DATA)
    assert_bound(error_of(scene), True, rules.TOO_MANY_POST_HANDSHAKE)


@both_ways
def test_a_fragment_ends_no_row_of_updates(mirrored: bool) -> None:
    """KeyUpdates in two records each count as much as those in one."""
    scene = Stage(mirrored).joined()
    outbound: Any = scene.other._outbound
    for _ in range(33):
        for piece in (UPDATE[1][:3], UPDATE[1][3:]):
            outbound._seal(ContentType.HANDSHAKE, piece)
        outbound.install(outbound.secret.next(), outbound.epoch)
    assert_bound(error_of(scene), True, rules.TOO_MANY_POST_HANDSHAKE)


@pytest.mark.limit("idle_records")
@pytest.mark.attack(55, "ChangeCipherSpec flood")
@both_ways
@pytest.mark.parametrize("beyond", [False, True])
def test_change_cipher_spec_records(mirrored: bool, beyond: bool) -> None:
    """While the handshake runs they are dropped; 32 of them, with the empty records counted in."""
    stage = Stage()
    client, server = stage.client(middlebox_compatibility=False), stage.server()
    server.receive_data(client.data_to_send())
    victim: Connection = server if mirrored else client
    row = record(ContentType.CHANGE_CIPHER_SPEC, b"\1") * (32 + beyond)
    assert_bound(attempt(lambda: victim.receive_data(row)), beyond, rules.TOO_MANY_IDLE_RECORDS)
    if not beyond:
        carry(client, server)
        assert client.established
        assert server.established


@pytest.mark.attack(52, "KeyUpdate flood")
@both_ways
def test_many_requests_for_new_keys_get_one_answer(mirrored: bool) -> None:
    stage = Stage(mirrored)
    scene = stage.joined()
    for _ in range(32):
        scene.other.update_keys(request_peer=True)
    assert error_of(scene) is None
    answer = scene.victim.data_to_send()
    assert len(answer) == 5 + len(UPDATE[1]) + 1 + 16
    scene.other.receive_data(answer)
    scene.victim.send(b"on we go")
    scene.other.receive_data(scene.victim.data_to_send())
    assert scene.other.events() == [Data(b"on we go")]


@both_ways
def test_an_answer_is_given_anew_once_the_last_one_left(mirrored: bool) -> None:
    scene = Stage(mirrored).joined()
    for _ in range(5):
        scene.other.update_keys(request_peer=True)
        assert error_of(scene) is None
        assert len(scene.victim.data_to_send()) == 5 + len(UPDATE[1]) + 1 + 16


@both_ways
def test_after_our_close_notify_nothing_of_ours_follows(mirrored: bool) -> None:
    """RFC 8446 §6.1: close_notify is the last a side says, even where it is asked for new keys."""
    scene = Stage(mirrored).joined()
    scene.victim.close()
    scene.victim.data_to_send()
    scene.other.update_keys(request_peer=True)
    scene.other.send(b"still here")
    assert error_of(scene) is None
    assert scene.victim.events() == [Data(b"still here")]
    assert scene.victim.data_to_send() == b""


# --- sizes of messages -----------------------------------------------------------------------------------------------


@pytest.mark.limit("handshake_message")
@pytest.mark.parametrize("beyond", [False, True])
def test_a_handshake_message(beyond: bool) -> None:
    """A whole ClientHello of the length that is allowed; one byte more is refused at its header."""
    stage = Stage()
    client = stage.client({HandshakeType.CLIENT_HELLO: block(ClientHello, padding=bytes(500))})
    hello = client.data_to_send()
    size = len(hello) - 5 - HEADER_SIZE
    server = stage.server(limits=Limits(handshake_message=size - beyond))
    if beyond:
        assert_bound(attempt(lambda: server.receive_data(record(22, hello[5:9]))), True, rules.MESSAGE_TOO_LONG)
        return
    server.receive_data(hello)
    carry(client, server)
    assert server.established


@pytest.mark.limit("handshake_message")
@pytest.mark.attack(57, "oversized messages")
@pytest.mark.parametrize("beyond", [False, True])
def test_the_largest_handshake_message_by_default(beyond: bool) -> None:
    server = Stage().server()
    header = bytes([HandshakeType.CLIENT_HELLO]) + (65536 + beyond).to_bytes(3)
    assert_bound(attempt(lambda: server.receive_data(record(22, header))), beyond, rules.MESSAGE_TOO_LONG)


FIXED = {
    HandshakeType.SERVER_HELLO: 16_384,
    HandshakeType.ENCRYPTED_EXTENSIONS: 16_384,
    HandshakeType.CERTIFICATE_VERIFY: 16_384,
    HandshakeType.FINISHED: 64,
}


@pytest.mark.limit("MAX_SMALL_MESSAGE", "MAX_FINISHED")
@pytest.mark.attack(57, "oversized messages")
@pytest.mark.parametrize("type_", list(FIXED), ids=str)
@pytest.mark.parametrize("beyond", [False, True])
def test_messages_that_have_a_size_by_nature(type_: HandshakeType, beyond: bool) -> None:
    """The header alone is refused, in place of the message itself."""
    header = bytes([type_]) + (FIXED[type_] + beyond).to_bytes(3)
    stage = Stage()
    client, server = stage.client(), stage.server({type_: lambda _: [header]})
    server.receive_data(client.data_to_send())
    error = attempt(lambda: client.receive_data(server.data_to_send()))
    if beyond:
        assert_bound(error, True, rules.MESSAGE_TOO_LONG)
    else:
        assert error is None or error.rule is not rules.MESSAGE_TOO_LONG


@both_ways
@pytest.mark.parametrize("beyond", [False, True])
def test_a_key_update_has_one_byte(mirrored: bool, beyond: bool) -> None:
    scene = Stage(mirrored).joined()
    inject(scene.other, ContentType.HANDSHAKE, framed(HandshakeType.KEY_UPDATE, bytes(1 + beyond)))
    assert_bound(error_of(scene), beyond, rules.MESSAGE_TOO_LONG)


@pytest.mark.limit("certificate_message")
@pytest.mark.parametrize("beyond", [False, True])
def test_a_certificate_message(beyond: bool) -> None:
    stage = Stage()
    entry = CertificateEntry(credential().leaf.der, CertificateEntryExtensions())
    size = len(Certificate(b"", (entry,)).encode()) - HEADER_SIZE
    client, server = stage.client(limits=Limits(certificate_message=size - beyond)), stage.server()
    assert_bound(attempt(lambda: carry(client, server)), beyond, rules.MESSAGE_TOO_LONG)


@pytest.mark.limit("certificate")
@pytest.mark.parametrize("beyond", [False, True])
def test_a_certificate(beyond: bool) -> None:
    stage = Stage()
    size = len(credential().leaf.der)
    client, server = stage.client(limits=Limits(certificate=size - beyond)), stage.server()
    assert_bound(attempt(lambda: carry(client, server)), beyond, rules.CHAIN_TOO_LONG)


@pytest.mark.limit("chain_length")
@pytest.mark.parametrize("beyond", [False, True])
def test_a_chain(beyond: bool) -> None:
    """Certificates that lead nowhere are allowed, up to ten in all."""
    stage = Stage()
    entry = CertificateEntry(credential().leaf.der, CertificateEntryExtensions())
    list_ = {"certificate_list": (10 + beyond) * (entry,)}
    client = stage.client()
    server = stage.server({HandshakeType.CERTIFICATE: fields(Certificate, **list_)})
    assert_bound(attempt(lambda: carry(client, server)), beyond, rules.CHAIN_TOO_LONG)
    assert client.established is not beyond


# --- records under one key -------------------------------------------------------------------------------------------


@pytest.mark.limit("records_per_key")
@pytest.mark.attack(51, "keys used too long")
@both_ways
@pytest.mark.parametrize("suite", [CipherSuite.TLS_AES_128_GCM_SHA256, CipherSuite.TLS_AES_128_CCM_SHA256], ids=str)
@pytest.mark.parametrize("records_per_key", [1, 2, 7])
def test_keys_change_by_themselves_and_nothing_is_lost(
    suite: CipherSuite, records_per_key: int, mirrored: bool
) -> None:
    stage = Stage(mirrored)
    both: dict[str, Any] = {"cipher_suites": [suite]}
    scene = stage.joined(both, {**both, "limits": Limits(records_per_key=records_per_key)})
    sent = [bytes([index]) * 100 for index in range(30)]
    for content in sent:
        scene.other.send(content)
        assert error_of(scene) is None
    assert scene.victim.events() == [Data(content) for content in sent]
    changes = [e for e in stage.seen[scene.other] if isinstance(e, KeysChanged) and e.direction is Direction.SENT]
    assert len(changes) > 30 // (records_per_key + 1)
    under_one_key = 0
    for event in stage.seen[scene.other]:
        if isinstance(event, KeysChanged) and event.direction is Direction.SENT:
            under_one_key = 0
        elif isinstance(event, RecordMoved) and event.direction is Direction.SENT:
            under_one_key += 1
            assert under_one_key <= records_per_key + 1  # the last one says that the keys change


@both_ways
def test_a_cipher_that_does_not_wear_keeps_its_key(mirrored: bool) -> None:
    stage = Stage(mirrored)
    both: dict[str, Any] = {
        "cipher_suites": [CipherSuite.TLS_CHACHA20_POLY1305_SHA256],
        "limits": Limits(records_per_key=1, records_received_per_key=1),
    }
    scene = stage.joined(both, both)
    for _ in range(20):
        scene.other.send(b"data")
    assert error_of(scene) is None
    assert len(scene.victim.events()) == 20
    changes = [e for e in stage.seen[scene.other] if isinstance(e, KeysChanged) and e.generation]
    assert changes == []


@pytest.mark.limit("records_received_per_key")
@pytest.mark.attack(51, "keys used too long")
@both_ways
@pytest.mark.parametrize("beyond", [False, True])
def test_records_received_under_one_key(mirrored: bool, beyond: bool) -> None:
    scene = Stage(mirrored).joined({"limits": Limits(records_received_per_key=5)})
    for _ in range(5 + beyond):
        scene.other.send(b"data")
    assert_bound(error_of(scene), beyond, rules.RECORD_KEY_SPENT)
    assert scene.victim.events() == [Data(b"data")] * 5


@both_ways
def test_a_worn_key_of_the_peer_is_asked_to_change(mirrored: bool) -> None:
    stage = Stage(mirrored)
    scene = stage.joined({"limits": Limits(records_per_key=4)})
    for _ in range(10):
        scene.other.send(b"data")
        assert error_of(scene) is None
        scene.other.receive_data(scene.victim.data_to_send())
    events = scene.victim.events()
    assert [event for event in events if isinstance(event, Data)] == [Data(b"data")] * 10
    assert len([event for event in events if isinstance(event, KeysExpired)]) == 2
    changes = [
        event
        for event in stage.seen[scene.victim]
        if isinstance(event, KeysChanged) and event.direction is Direction.RECEIVED and event.generation
    ]
    assert len(changes) == 2


# --- what is held ----------------------------------------------------------------------------------------------------


@pytest.mark.limit("buffered")
@pytest.mark.parametrize("beyond", [False, True])
def test_bytes_held_while_a_question_is_open(beyond: bool) -> None:
    stage = Stage()
    client, server = stage.client(trust=Later(), limits=Limits(buffered=1000)), stage.server()
    server.receive_data(client.data_to_send())
    client.receive_data(server.data_to_send())
    assert client.waiting_for == ("VerifyPeer",)
    for _ in range(10):
        client.receive_data(bytes(100))
    assert_bound(attempt(lambda: client.receive_data(bytes(int(beyond)))), beyond, rules.BUFFER_FULL)


SKIPPED = 1000


def _early(stage: Stage) -> tuple[Connection, Connection]:
    """A server that declines the early data a client announces."""
    client = stage.client({HandshakeType.CLIENT_HELLO: block(ClientHello, early_data=EMPTY)})
    server = stage.server(limits=Limits(skipped_early_data=SKIPPED))
    server.receive_data(client.data_to_send())
    return client, server


def test_early_data_within_the_limit_is_passed_over() -> None:
    client, server = _early(Stage())
    for _ in range(3):
        server.receive_data(record(ContentType.APPLICATION_DATA, bytes(300)))
    carry(client, server)
    assert server.established
    with pytest.raises(TLSError) as caught:
        server.receive_data(record(ContentType.APPLICATION_DATA, bytes(50)))
    assert caught.value.rule is rules.RECORD_MAC


@pytest.mark.limit("skipped_early_data")
def test_early_data_up_to_the_limit_is_passed_over() -> None:
    _, server = _early(Stage())
    for _ in range(2):
        server.receive_data(record(ContentType.APPLICATION_DATA, bytes(SKIPPED // 2)))
    assert server.error is None


@pytest.mark.limit("skipped_early_data")
@pytest.mark.attack(66, "skipped early data without end")
def test_early_data_beyond_the_limit_is_refused() -> None:
    _, server = _early(Stage())
    server.receive_data(record(ContentType.APPLICATION_DATA, bytes(SKIPPED // 2)))
    error = attempt(lambda: server.receive_data(record(ContentType.APPLICATION_DATA, bytes(SKIPPED // 2 + 1))))
    assert_bound(error, True, rules.EARLY_DATA_SKIPPED_LIMIT)


def test_early_data_without_content_is_no_way_around_the_limit() -> None:
    _, server = _early(Stage())
    error = attempt(lambda: server.receive_data(record(ContentType.APPLICATION_DATA, b"") * 5000))
    assert error is not None


def test_early_data_before_a_retry_is_passed_over_too() -> None:
    stage = Stage()
    client = stage.client(
        {
            HandshakeType.CLIENT_HELLO: lambda encoded: (
                [encoded] if ClientHello.parse(encoded[4:]).extensions.cookie else _with_early_data(encoded)
            )
        },
        groups=[NamedGroup.SECP256R1, NamedGroup.X25519],
        key_shares=[NamedGroup.SECP256R1],
        grease=False,
    )
    server = stage.server(groups=[NamedGroup.X25519])
    server.receive_data(client.data_to_send() + record(ContentType.APPLICATION_DATA, bytes(300)))
    carry(client, server)
    assert server.established
    assert server.info.hello_retry


def _with_early_data(encoded: bytes) -> list[bytes]:
    return block(ClientHello, early_data=EMPTY)(encoded)


# --- the knobs themselves --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [field.name for field in dataclass_fields(Limits)])
def test_a_knob_has_a_least_and_a_most(name: str) -> None:
    cap = HARD_CAPS.get(name)
    assert getattr(Limits(**{name: 1}), name) == 1
    with pytest.raises(ValueError, match=name):
        Limits(**{name: 0})
    if cap is None:
        assert name in ("records_per_key", "records_received_per_key")
        return
    assert getattr(Limits(**{name: cap}), name) == cap
    with pytest.raises(ValueError, match=name):
        Limits(**{name: cap + 1})


def test_the_defaults_are_within_their_caps() -> None:
    for name, cap in HARD_CAPS.items():
        assert 1 <= getattr(Limits(), name) <= cap


@pytest.mark.attack(64, "ticket flood")
def test_a_client_takes_tickets_up_to_the_limit_without_data() -> None:
    scene = Stage().joined()
    ticket = NewSessionTicket(60, 0, b"\0", bytes(1000), NewSessionTicketExtensions()).encode()
    for _ in range(32):
        inject(scene.other, ContentType.HANDSHAKE, ticket)
    assert error_of(scene) is None
    inject(scene.other, ContentType.HANDSHAKE, ticket)
    assert_bound(error_of(scene), True, rules.TOO_MANY_POST_HANDSHAKE)


@pytest.mark.limit("MAX_TICKET")
@pytest.mark.attack(64, "ticket flood")
@pytest.mark.parametrize("beyond", [False, True])
def test_a_client_keeps_no_ticket_that_is_too_long(beyond: bool) -> None:
    kept = ClientSessions()
    scene = Stage().joined({"sessions": kept})
    ticket = NewSessionTicket(60, 0, b"\0", bytes(MAX_TICKET + beyond), NewSessionTicketExtensions()).encode()
    for at in range(0, len(ticket), 16_000):
        inject(scene.other, ContentType.HANDSHAKE, ticket[at : at + 16_000])
    assert error_of(scene) is None
    assert (kept.take(NAME) is None) is beyond


@pytest.mark.limit("MAX_TICKETS_AT_ONCE")
@pytest.mark.attack(64, "ticket flood")
@pytest.mark.parametrize("count", [16, 17])
def test_a_server_gives_so_many_tickets_at_once(count: int) -> None:
    stage = Stage(mirrored=True)
    scene = stage.joined({"tickets": TicketKeys()}, {"sessions": ClientSessions()})
    if count > 16:
        with pytest.raises(ConfigError):
            scene.victim.send_tickets(count)
        return
    scene.victim.send_tickets(count)
    scene.other.receive_data(scene.victim.data_to_send())
    assert sum(isinstance(event, TicketReceived) for event in scene.other.events()) == count


@pytest.mark.limit("psk_identities")
@pytest.mark.parametrize("count", [8, 9])
def test_a_server_looks_up_so_many_pre_shared_keys(count: int) -> None:
    """The key that fits is the last of several."""
    asked: list[bytes] = []

    class Source:
        def find(self, identity: bytes) -> ExternalPsk | None:
            asked.append(identity)
            return ExternalPsk(identity, bytes(16), role="server") if identity == b"%d" % count else None

    psks = [ExternalPsk(b"%d" % n, bytes(16), role="client") for n in range(1, count + 1)]
    stage = Stage()
    client, server = stage.client(psks=psks), stage.server(psks=Source())
    carry(client, server)
    assert client.established
    assert len(asked) == 8
    assert (server.info.psk == b"8") is (count == 8)
