"""Revocation in the handshake: what is asked of the peer and of the outside, what is told, what is remembered."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from handclasp import (
    Alert,
    Asked,
    CallbackError,
    CertificateError,
    ClientAuth,
    ClientConfig,
    ClientConnection,
    ClientSessions,
    ConfigError,
    Credential,
    Evidence,
    Revocation,
    ServerConfig,
    ServerConnection,
    Subject,
    TicketKeys,
    TLSVersion,
    cached,
    danger,
    private,
)
from handclasp.handshake.questions import CheckRevocation
from handclasp.lab.ca import CertificateAuthority
from handclasp.lab.faults import misbehaving
from handclasp.lab.pair import handshake
from handclasp.wire.messages import HEADER_SIZE, ClientHello
from handclasp.wire.names import HandshakeType

NAME = "example.test"
VERSIONS = [TLSVersion.TLS_1_3, TLSVersion.TLS_1_2]

versions = pytest.mark.parametrize("version", VERSIONS, ids=str)


@pytest.fixture(scope="module")
def ca() -> CertificateAuthority:
    return CertificateAuthority("stapling CA")


@pytest.fixture(scope="module")
def stapling(ca: CertificateAuthority) -> Credential:
    credential = ca.issue(NAME)
    return credential.with_staple(ca.ocsp_response(credential.leaf))


def ends(ca: CertificateAuthority, credential: Credential, version: TLSVersion, **client: Any) -> tuple[Any, Any]:
    config = ClientConfig(trust=ca.trust, versions=[version], **client)
    return ClientConnection(config, NAME), ServerConnection(ServerConfig(credentials=[credential]))


@versions
def test_a_staple_is_asked_for_and_told_of(ca: CertificateAuthority, stapling: Credential, version: TLSVersion) -> None:
    pair = handshake(*ends(ca, stapling, version))
    assert pair.client.info.revocation is Evidence.STAPLE
    assert "stapled OCSP response" in pair.client.info.why(Subject.REVOCATION)
    assert pair.server.info.why(Subject.STAPLE) == "the peer asked for it"
    pair = handshake(*ends(ca, stapling, version, revocation="off"))
    assert pair.client.info.revocation is None
    assert pair.server.info.why(Subject.STAPLE) == ""


@versions
def test_without_a_staple(ca: CertificateAuthority, version: TLSVersion) -> None:
    pair = handshake(*ends(ca, ca.issue(NAME), version))
    assert pair.client.established
    assert pair.client.info.revocation is Evidence.NONE


@versions
def test_a_revoked_staple_refuses(version: TLSVersion) -> None:
    ca = CertificateAuthority("revoking CA")
    credential = ca.issue(NAME)
    ca.revoke(credential.leaf)
    client, server = ends(ca, credential.with_staple(ca.ocsp_response(credential.leaf)), version)
    with pytest.raises(CertificateError) as caught:
        handshake(client, server)
    assert caught.value.code == "revoked"
    assert caught.value.alert is Alert.CERTIFICATE_REVOKED
    assert not client.established
    whole = (*credential.chain, ca.certificate)
    assert (caught.value.peer_chain, caught.value.verified_chain) == (credential.chain, whole)
    assert (client.info.peer_certificates, client.info.verified_chain) == (credential.chain, whole)


@versions
def test_a_source_may_have_none_and_may_fail(ca: CertificateAuthority, version: TLSVersion) -> None:
    class Source:
        def __init__(self, answer: Any) -> None:
            self.answer = answer

        def staple(self) -> Any:
            if isinstance(self.answer, Exception):
                raise self.answer
            return self.answer

    credential = ca.issue(NAME)
    pair = handshake(*ends(ca, credential.with_staple(Source(None)), version))
    assert pair.client.info.revocation is Evidence.NONE
    assert pair.server.info.why(Subject.STAPLE) == "the source has none at present"
    for wrong in (RuntimeError("down"), 7, b"", bytes(65537)):
        with pytest.raises(CallbackError):
            handshake(*ends(ca, credential.with_staple(Source(wrong)), version))
    with pytest.raises(ConfigError):
        credential.with_staple(7)  # type: ignore[arg-type]


@versions
def test_asking_the_ca_is_a_question_to_whoever_drives(ca: CertificateAuthority, version: TLSVersion) -> None:
    def nobody(url: str, **_: Any) -> bytes:
        raise OSError("no network")

    credential = ca.issue(NAME, ocsp_url="http://ocsp.test/")
    for mode, accepted in (("soft", True), ("hard", False)):
        pair = handshake(*ends(ca, credential, version, revocation=Revocation(mode, fetch=nobody)))
        assert not pair.client.established
        (asked,) = pair.asked
        assert isinstance(asked.question, CheckRevocation)
        assert asked == Asked(asked.question)
        if accepted:
            answer: Any = asked.question.put()
            pair.client.answer(asked.question, answer)
            pair.shuttle()
            assert pair.client.established
            assert "no network" in pair.client.info.why(Subject.REVOCATION)
            continue
        with pytest.raises(CertificateError) as refused:
            asked.question.put()
        with pytest.raises(CertificateError):
            pair.client.answer(asked.question, refused.value)
        assert pair.client.error is refused.value


@versions
def test_a_verifier_that_looks_at_revocation_is_heard(version: TLSVersion) -> None:
    """`webpki & revocation`: what it found is told, beside what the configuration's own policy does not know."""
    ca = CertificateAuthority("asking CA")
    credential = ca.issue(NAME)
    listed = ca.trust & Revocation("staple", crls=[ca.crl()])
    stapled = credential.with_staple(ca.ocsp_response(credential.leaf))
    server = ServerConfig(credentials=[credential])
    words = {Evidence.CRL: "revocation list", Evidence.STAPLE: "stapled", Evidence.NONE: "nothing is known", None: ""}
    for trust, own, ours, known in (
        (listed, "staple", credential, Evidence.CRL),
        (listed, "off", credential, Evidence.CRL),
        (listed, "staple", stapled, Evidence.STAPLE),
        (listed & ca.trust, "off", credential, Evidence.CRL),
        (private(ca.certificate) & listed, "off", credential, Evidence.CRL),
        (cached(listed), "off", credential, Evidence.CRL),
        (ca.trust & Revocation("staple"), "off", credential, Evidence.NONE),
        (ca.trust, "off", credential, None),
    ):
        client = ClientConfig(trust=trust, revocation=own, versions=[version])
        pair = handshake(ClientConnection(client, NAME), ServerConnection(server.replace(credentials=[ours])))
        assert pair.client.info.revocation is known
        assert words[known] in pair.client.info.why(Subject.REVOCATION)
    ca.revoke(credential.leaf)
    revoked = ca.trust & Revocation("staple", crls=[ca.crl()])
    client = ClientConfig(trust=revoked, revocation="off", versions=[version])
    with pytest.raises(CertificateError) as caught:
        handshake(ClientConnection(client, NAME), ServerConnection(server))
    assert caught.value.code == "revoked"


def test_an_answer_that_is_none_refuses(ca: CertificateAuthority) -> None:
    pair = handshake(*ends(ca, ca.issue(NAME), TLSVersion.TLS_1_3, revocation="hard"))
    with pytest.raises(CallbackError):
        pair.client.answer(pair.asked[0].question, True)


def test_a_client_staples_where_it_is_asked(ca: CertificateAuthority, stapling: Credential) -> None:
    ours = ca.issue("client.test", usage="client")
    for revocation, expected in (("staple", Evidence.STAPLE), ("off", None)):
        asked = ClientAuth(verify=ca.trust, revocation=revocation)
        client = ClientConfig(trust=ca.trust, credentials=[ours.with_staple(ca.ocsp_response(ours.leaf))])
        server = ServerConfig(credentials=[stapling], client_auth=asked)
        pair = handshake(ClientConnection(client, NAME), ServerConnection(server))
        assert pair.server.established
        assert pair.server.info.revocation is expected
    bad = ClientConfig(trust=ca.trust, credentials=[ours.with_staple(ca.ocsp_response(ours.leaf, status="revoked"))])
    server = ServerConfig(credentials=[stapling], client_auth=ClientAuth(verify=ca.trust, revocation="staple"))
    with pytest.raises(CertificateError):
        handshake(ClientConnection(bad, NAME), ServerConnection(server))


@versions
def test_a_status_of_another_type_is_not_answered(
    ca: CertificateAuthority, stapling: Credential, version: TLSVersion
) -> None:
    def other_type(encoded: bytes) -> list[bytes]:
        hello = ClientHello.parse(encoded[HEADER_SIZE:])
        status = hello.extensions.status_request
        assert status is not None
        changed = replace(status, status_type=type(status.status_type)(2))
        return [replace(hello, extensions=replace(hello.extensions, status_request=changed)).encode()]

    client, server = ends(ca, stapling, version)
    odd = misbehaving(ClientConnection, {HandshakeType.CLIENT_HELLO: other_type})
    pair = handshake(odd(ClientConfig(trust=ca.trust, versions=[version]), NAME), server)
    assert pair.client.info.revocation is Evidence.NONE
    assert client.info.version is None


def test_a_session_is_not_resumed_under_another_policy(ca: CertificateAuthority, stapling: Credential) -> None:
    server = ServerConfig(credentials=[stapling], tickets=TicketKeys(), versions=[TLSVersion.TLS_1_2])
    for second, resumed in (("staple", True), ("hard", False), ("off", False)):
        sessions = ClientSessions()
        config = ClientConfig(trust=ca.trust, sessions=sessions)
        handshake(ClientConnection(config, NAME), ServerConnection(server))
        pair = handshake(ClientConnection(config.replace(revocation=second), NAME), ServerConnection(server))
        for asked in pair.asked:
            pair.client.answer(asked.question, asked.question.put())
            pair.shuttle()
        assert pair.client.established
        assert pair.client.info.resumed is resumed


def test_configurations_take_modes_by_name(ca: CertificateAuthority) -> None:
    assert ClientConfig().revocation == Revocation("staple")
    assert ClientConfig(revocation="hard").revocation == Revocation("hard")
    assert ClientAuth(verify=ca.trust).revocation == Revocation("off")
    for wrong in ("harder", 7, None):
        with pytest.raises(ConfigError):
            ClientConfig(revocation=wrong)  # type: ignore[arg-type]
    with pytest.warns(danger.InsecureWarning):
        assert danger.insecure_no_verification(ClientConfig()).revocation == Revocation("off")
