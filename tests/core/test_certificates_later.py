"""A certificate after the handshake, when the server asks for it (RFC 8446 §4.6.2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from handclasp import (
    Asked,
    CertificateError,
    ClientAuth,
    ClientAuthenticated,
    ClientConfig,
    ClientConnection,
    ClientSessions,
    ConfigError,
    Credential,
    CredentialRequest,
    Data,
    ExternalPsk,
    HandshakeError,
    Limits,
    ServerConfig,
    ServerConnection,
    TicketKeys,
    TLSError,
    TLSVersion,
    TrustStore,
    rules,
)
from handclasp.crypto.signatures import KeyKind
from handclasp.lab.ca import CertificateAuthority
from handclasp.lab.faults import inject, misbehaving
from handclasp.lab.pair import Pair, handshake
from handclasp.wire.extensions import CertificateRequestExtensions
from handclasp.wire.messages import Certificate, CertificateRequest, Finished
from handclasp.wire.names import ContentType, HandshakeType, KeyUpdateRequest, SignatureScheme


@pytest.fixture
def mine(authority: CertificateAuthority) -> Credential:
    return authority.issue("client.test", usage="client")


@pytest.fixture
def auth(trust: TrustStore) -> ClientAuth:
    return ClientAuth(verify=trust)


def met(
    trust: TrustStore, credential: Credential, client: dict[str, Any], server: dict[str, Any] | None = None
) -> Pair:
    options: dict[str, Any] = {"post_handshake_auth": True} | client
    ours = ServerConfig(credentials=[credential], **(server or {}))
    return handshake(ClientConnection(ClientConfig(trust=trust, **options), "localhost"), ServerConnection(ours))


def talk(pair: Pair) -> None:
    """Both directions still work."""
    for source, events in ((pair.client, pair.server_events), (pair.server, pair.client_events)):
        source.send(b"ping")
        pair.shuttle()
        assert b"".join(event.data for event in events if isinstance(event, Data)).endswith(b"ping")


def answers(pair: Pair) -> list[list[bytes]]:
    """The leaf of each answer, where there was one."""
    return [
        [certificate.der for certificate in event.verified_chain[:1]]
        for event in pair.server_events
        if isinstance(event, ClientAuthenticated)
    ]


def test_a_client_says_who_it_is_when_asked(
    trust: TrustStore, credential: Credential, mine: Credential, auth: ClientAuth
) -> None:
    pair = met(trust, credential, {"credentials": [mine]})
    assert not pair.server.info.verified_chain
    talk(pair)
    for _ in range(2):
        pair.server.request_certificate(auth)
        pair.shuttle()
        assert pair.server.info.verified_chain[0] == mine.leaf
        assert pair.server.info.client_signature_scheme is not None
        assert pair.client.info.certificate == mine.leaf
        talk(pair)
    assert answers(pair) == [[mine.leaf.der]] * 2


@pytest.mark.parametrize("updating", ["client", "server"])
def test_new_keys_do_not_get_in_the_way(
    updating: str, trust: TrustStore, credential: Credential, mine: Credential, auth: ClientAuth
) -> None:
    pair = met(trust, credential, {"credentials": [mine]}, {"tickets": TicketKeys()})
    end = pair.client if updating == "client" else pair.server
    end.update_keys(request_peer=True)
    pair.server.send_tickets()
    pair.shuttle()
    pair.server.request_certificate(auth)
    pair.client.update_keys()
    pair.server.send_tickets()
    pair.server.update_keys(request_peer=True)
    pair.shuttle()
    assert answers(pair) == [[mine.leaf.der]]
    talk(pair)


def test_a_client_may_have_none(trust: TrustStore, credential: Credential, auth: ClientAuth) -> None:
    pair = met(trust, credential, {})
    pair.server.request_certificate(replace(auth, required=False))
    pair.shuttle()
    assert answers(pair) == [[]]
    assert not pair.server.info.verified_chain
    talk(pair)
    pair.server.request_certificate(auth)
    with pytest.raises(CertificateError) as caught:
        pair.shuttle()
    assert caught.value.rule is rules.CERTIFICATE_REQUIRED


@pytest.mark.parametrize("unverified", ["refuse", "anonymous"])
def test_a_stranger_is_refused_or_nobody(unverified: str, trust: TrustStore, credential: Credential) -> None:
    stranger = CertificateAuthority("Another CA").issue("client.test", usage="client")
    pair = met(trust, credential, {"credentials": [stranger]})
    pair.server.request_certificate(ClientAuth(verify=trust, required=False, unverified=unverified))
    if unverified == "refuse":
        with pytest.raises(CertificateError):
            pair.shuttle()
        assert answers(pair) == []
        return
    pair.shuttle()
    assert answers(pair) == [[]]
    assert not pair.server.info.verified_chain
    assert pair.server.info.client_error is not None
    talk(pair)


@pytest.mark.parametrize("resumed", [False, True])
def test_who_shows_a_strangers_certificate_later_is_whoever_it_was_before(
    resumed: bool, trust: TrustStore, credential: Credential, mine: Credential, auth: ClientAuth
) -> None:
    stranger = CertificateAuthority("Another CA").issue("other.test", usage="client", key_kind=KeyKind.P384)
    shown = [mine, stranger]

    class Chooser:
        fingerprint = b"one after the other"

        def __call__(self, request: CredentialRequest) -> Credential:
            return shown.pop(0)

    client = {"credentials": Chooser(), "sessions": ClientSessions()}
    server = {"client_auth": auth, "tickets": TicketKeys()}
    pair = met(trust, credential, client, server)
    if resumed:
        pair = met(trust, credential, client, server)
        assert pair.server.info.resumed
    before = pair.server.info
    assert before.verified_chain[0] == mine.leaf
    pair.server.request_certificate(ClientAuth(verify=trust, required=False, unverified="anonymous"))
    pair.shuttle()
    assert shown == []
    assert answers(pair) == [[]]
    after = pair.server.info
    assert after.verified_chain == before.verified_chain
    assert after.peer_certificates == before.peer_certificates
    assert after.client_signature_scheme == before.client_signature_scheme
    talk(pair)


def test_a_resumed_connection_is_asked_again(
    trust: TrustStore, credential: Credential, mine: Credential, auth: ClientAuth
) -> None:
    """A session is whoever the client was in the handshake: who it said to be later is not in the tickets."""
    client = {"credentials": [mine], "sessions": ClientSessions()}
    server = {"tickets": TicketKeys()}
    pair = met(trust, credential, client, server)
    pair.server.request_certificate(auth)
    pair.server.send_tickets()
    pair.shuttle()
    assert pair.server.info.verified_chain
    pair = met(trust, credential, client, server)
    assert pair.server.info.resumed
    assert not pair.server.info.verified_chain
    pair.server.request_certificate(auth)
    pair.shuttle()
    assert answers(pair) == [[mine.leaf.der]]


@pytest.mark.attack(34, "sessions across configurations")
@pytest.mark.parametrize("then", ["the same", "another", "nobody"])
def test_tickets_that_come_after_an_answer_are_for_who_gave_it(
    then: str, trust: TrustStore, credential: Credential, mine: Credential, auth: ClientAuth
) -> None:
    """A server may put into them whom it was told, as OpenSSL does: another user of the cache must not show them."""
    sessions = ClientSessions()
    server = {"tickets": TicketKeys(), "ticket_count": 0}
    pair = met(trust, credential, {"credentials": [mine], "sessions": sessions}, server)
    pair.server.request_certificate(auth)
    pair.shuttle()
    pair.server.send_tickets(1)
    pair.shuttle()
    assert len(sessions) == 1
    other = CertificateAuthority("Another CA").issue("other.test", usage="client")
    ours = {"the same": [mine], "another": [other], "nobody": []}[then]
    pair = met(trust, credential, {"credentials": ours, "sessions": sessions}, server)
    assert pair.client.info.resumed is (then == "the same")
    assert ("other credentials" in pair.client.info.session_declined) is (then != "the same")


def test_tickets_after_an_answer_are_not_kept_where_nothing_tells_credentials_apart(
    trust: TrustStore, credential: Credential, mine: Credential, auth: ClientAuth
) -> None:
    sessions = ClientSessions()
    client = {"credentials": lambda request: mine, "sessions": sessions}
    pair = met(trust, credential, client, {"tickets": TicketKeys(), "ticket_count": 0})
    for expected in (1, 1):
        pair.server.send_tickets(1)
        pair.shuttle()
        assert len(sessions) == expected
        pair.server.request_certificate(auth)
        pair.shuttle()
    assert answers(pair) == [[mine.leaf.der]] * 2


class Slow:
    """Chooses when told."""

    blocking = True

    def __init__(self, credential: Credential) -> None:
        self.credential = credential

    def __call__(self, request: CredentialRequest) -> Credential:
        return self.credential


def test_nothing_comes_between_the_messages_of_an_answer(
    trust: TrustStore, credential: Credential, mine: Credential, auth: ClientAuth
) -> None:
    """While somebody chooses, the application goes on writing, and changes its keys."""
    pair = met(trust, credential, {"credentials": Slow(mine)})
    pair.server.request_certificate(auth)
    pair.shuttle()
    (asked,) = [event for event in pair.client_events if isinstance(event, Asked)]
    pair.client.send(b"meanwhile")
    pair.client.update_keys()
    pair.client.send(b"under new keys")
    pair.shuttle()
    assert answers(pair) == []
    pair.client.answer(asked.question, asked.question.put())
    pair.shuttle()
    assert answers(pair) == [[mine.leaf.der]]
    assert pair.server_data() == b"meanwhileunder new keys"


@pytest.mark.parametrize("way", ["at our wish", "by their time"])
def test_new_keys_of_ours_are_no_part_of_an_answer(
    way: str, trust: TrustStore, credential: Credential, mine: Credential, auth: ClientAuth
) -> None:
    """An answer may take several records; what we say between them is not what the client signed."""
    server = {} if way == "at our wish" else {"key_bytes": 16_384}
    pair = met(trust, credential, {"credentials": [mine], "most_content": 64}, server)
    pair.server.request_certificate(auth)
    pair.client.receive_data(pair.server.data_to_send())
    answer, changed = pair.client.data_to_send(), 0
    while answer:
        size = 5 + int.from_bytes(answer[3:5])
        pair.server.receive_data(answer[:size])
        answer = answer[size:]
        if pair.server.waiting_for in (("CertificateVerify",), ("Finished",)):
            changed += 1
            if way == "at our wish":
                pair.server.update_keys()
            else:
                pair.server.send(bytes(20_000))
    assert changed > 1
    pair.shuttle()
    assert answers(pair) == [[mine.leaf.der]]
    talk(pair)


def test_who_has_said_goodbye_says_no_more(
    trust: TrustStore, credential: Credential, mine: Credential, auth: ClientAuth
) -> None:
    pair = met(trust, credential, {"credentials": [mine]})
    pair.client.close()
    pair.server.request_certificate(auth)
    pair.shuttle()
    assert pair.server.closed_by_peer
    assert answers(pair) == []


# --- where it may not be ---------------------------------------------------------------------------------------------


def test_off_by_default_and_only_where_it_was_offered(
    trust: TrustStore, credential: Credential, auth: ClientAuth
) -> None:
    key = {role: ExternalPsk(b"id", bytes(range(32)), role=role) for role in ("client", "server")}
    for client, server in (
        ({"post_handshake_auth": False}, {}),
        ({"versions": [TLSVersion.TLS_1_2]}, {}),
        ({"alpn": ["h2"]}, {"alpn": ["h2"]}),  # RFC 8740
        ({"psks": [key["client"]]}, {"psks": [key["server"]]}),
    ):
        pair = met(trust, credential, client, server)
        with pytest.raises(ConfigError) as caught:
            pair.server.request_certificate(auth)
        assert caught.value.code == "not-offered"
        talk(pair)


def test_what_cannot_be_asked_is_refused(
    trust: TrustStore, credential: Credential, mine: Credential, auth: ClientAuth
) -> None:
    pair = met(trust, credential, {"credentials": [mine]})
    with pytest.raises(ConfigError, match="ClientAuth"):
        pair.server.request_certificate()
    with pytest.raises(ConfigError):
        pair.client.request_certificate(auth)


@pytest.mark.attack(47, "verification that is not enforced")
def test_a_chosen_configuration_says_whom_to_believe(
    authority: CertificateAuthority, trust: TrustStore, credential: Credential, mine: Credential
) -> None:
    other = CertificateAuthority("partners")
    host = ServerConfig(credentials=[credential], client_auth=ClientAuth(verify=trust, required=False))
    for theirs, believed in ((mine, True), (other.issue("client.test", usage="client"), False)):
        shown = iter([None, theirs])
        client = {"credentials": lambda request: next(shown)}  # noqa: B023
        base = {"choose": lambda hello: host, "client_auth": ClientAuth(verify=other.trust, required=False)}
        pair = met(trust, credential, client, base)
        pair.server.request_certificate()
        if believed:
            pair.shuttle()
            assert answers(pair) == [[mine.leaf.der]]
        else:
            with pytest.raises(CertificateError):
                pair.shuttle()


def test_who_is_asked_twice_answers_twice(
    trust: TrustStore, credential: Credential, mine: Credential, auth: ClientAuth
) -> None:
    """One request after the other: the second waits for the answer to the first."""
    pair = met(trust, credential, {"credentials": Slow(mine)})
    for _ in range(2):
        pair.server.request_certificate(auth)
    for number in range(2):
        pair.shuttle()
        asked = [event for event in pair.client_events if isinstance(event, Asked)]
        assert len(asked) == number + 1
        pair.client.answer(asked[number].question, asked[number].question.put())
    pair.shuttle()
    assert answers(pair) == [[mine.leaf.der]] * 2


def request_of(pair: Pair, context: bytes = b"context") -> bytes:
    schemes = (SignatureScheme.ECDSA_SECP256R1_SHA256,)
    return CertificateRequest(context, CertificateRequestExtensions(signature_algorithms=schemes)).encode()


@pytest.mark.parametrize("client", [{"post_handshake_auth": False}, {"alpn": ["h2"]}])
def test_a_client_that_did_not_offer_it_does_not_answer(
    client: dict[str, Any], trust: TrustStore, credential: Credential, mine: Credential
) -> None:
    pair = met(trust, credential, {"credentials": [mine], **client}, {"alpn": client.get("alpn", [])})
    inject(pair.server, ContentType.HANDSHAKE, request_of(pair))
    with pytest.raises(HandshakeError) as caught:
        pair.shuttle()
    assert caught.value.rule is rules.MESSAGE_UNEXPECTED


@pytest.mark.limit("certificate_requests")
@pytest.mark.attack(52, "KeyUpdate flood")
def test_a_client_signs_so_often_and_no_more(trust: TrustStore, credential: Credential, mine: Credential) -> None:
    limits = Limits(certificate_requests=3)
    pair = met(trust, credential, {"credentials": [mine], "limits": limits})
    for number in range(4):
        inject(pair.server, ContentType.HANDSHAKE, request_of(pair, bytes([number])))
        inject(pair.server, ContentType.APPLICATION_DATA, b"data")  # which starts other counts anew
        if number < 3:
            pair.client.receive_data(pair.server.data_to_send())
            pair.client.data_to_send()
    with pytest.raises(HandshakeError) as caught:
        pair.client.receive_data(pair.server.data_to_send())
    assert caught.value.rule is rules.TOO_MANY_POST_HANDSHAKE


def test_a_request_without_schemes_is_refused(trust: TrustStore, credential: Credential, mine: Credential) -> None:
    pair = met(trust, credential, {"credentials": [mine]})
    extensions = CertificateRequestExtensions(certificate_authorities=(b"0",))
    inject(pair.server, ContentType.HANDSHAKE, CertificateRequest(b"c", extensions).encode())
    with pytest.raises(HandshakeError) as caught:
        pair.shuttle()
    assert caught.value.rule is rules.REQUEST_MISSING_SCHEMES


# --- a client that answers otherwise ---------------------------------------------------------------------------------

Rewrite = Callable[[bytes], list[bytes]]


def other_context(encoded: bytes) -> list[bytes]:
    message = Certificate.parse(encoded[4:])
    return [replace(message, certificate_request_context=bytes(32)).encode()]


def flipped(encoded: bytes) -> list[bytes]:
    return [encoded[:-1] + bytes([encoded[-1] ^ 1])]


H = HandshakeType
WAYS: dict[str, tuple[dict[HandshakeType, Rewrite], rules.Rule]] = {
    "another context": ({H.CERTIFICATE: other_context}, rules.CERTIFICATE_CONTEXT),
    "another signature": ({H.CERTIFICATE_VERIFY: flipped}, rules.FINISHED),
    "no signature": ({H.CERTIFICATE_VERIFY: lambda _: []}, rules.MESSAGE_UNEXPECTED),
    "another Finished": ({H.FINISHED: flipped}, rules.FINISHED),
    "no Finished": ({H.FINISHED: lambda _: []}, rules.RECORD_INTERLEAVED),
    "two certificates": ({H.CERTIFICATE: lambda encoded: [encoded] * 2}, rules.MESSAGE_UNEXPECTED),
    "new keys between": (
        {H.FINISHED: lambda encoded: [bytes((24, 0, 0, 1, KeyUpdateRequest.UPDATE_NOT_REQUESTED)), encoded]},
        rules.MESSAGE_UNEXPECTED,
    ),
}


@pytest.mark.attack(26, "goto fail")
@pytest.mark.parametrize("way", WAYS)
def test_a_wrong_answer_is_the_end(
    way: str, trust: TrustStore, credential: Credential, mine: Credential, auth: ClientAuth
) -> None:
    rewrites, rule = WAYS[way]
    server = ServerConnection(ServerConfig(credentials=[credential]))
    config = ClientConfig(trust=trust, credentials=[mine], post_handshake_auth=True)
    # the handshake itself is an honest one
    later: dict[HandshakeType, Rewrite] = {}
    wrong = misbehaving(ClientConnection, later)
    pair = handshake(wrong(config, "localhost"), server)
    later.update(rewrites)
    server.request_certificate(auth)
    pair.client.receive_data(server.data_to_send())
    pair.client.send(b"and on it goes")
    with pytest.raises(TLSError) as caught:
        server.receive_data(pair.client.data_to_send())
    pair.server_events += server.events()
    assert caught.value.rule is rule
    assert answers(pair) == []
    assert not server.info.verified_chain
    assert server.error is not None


@pytest.mark.attack(26, "goto fail")
def test_a_certificate_whose_key_was_not_proved_is_the_end(
    trust: TrustStore, credential: Credential, mine: Credential, auth: ClientAuth, authority: CertificateAuthority
) -> None:
    """The Finished fits, as the client's own: the signature is another key's."""

    class Forger:
        public_key = mine.signer.public_key
        private = authority.issue("other.test", usage="client").signer

        def sign(self, scheme: SignatureScheme, data: bytes) -> Any:
            return self.private.sign(scheme, data)

    forged = Credential.from_signer(list(mine.chain), Forger())
    pair = met(trust, credential, {"credentials": [forged]})
    pair.server.request_certificate(auth)
    with pytest.raises(TLSError) as caught:
        pair.shuttle()
    assert caught.value.rule is rules.SIGNATURE
    assert answers(pair) == []
    assert not pair.server.info.verified_chain


def test_an_answer_to_no_question_is_refused(trust: TrustStore, credential: Credential) -> None:
    pair = met(trust, credential, {})
    for message in (Certificate(b"", ()), Finished(bytes(32))):
        pair = met(trust, credential, {})
        inject(pair.client, ContentType.HANDSHAKE, message.encode())
        with pytest.raises(HandshakeError) as caught:
            pair.shuttle()
        assert caught.value.rule is rules.MESSAGE_UNEXPECTED
