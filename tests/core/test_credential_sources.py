"""Which certificate a server shows: by name, by scheme, from a list or from a source that is asked each time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from handclasp import (
    Alert,
    CallbackError,
    CipherSuite,
    ClientConfig,
    ClientConnection,
    ConfigError,
    Credential,
    ExternalPsk,
    NegotiationError,
    PresentedChain,
    ServerConfig,
    ServerConnection,
    SignatureScheme,
    TLSError,
    TLSVersion,
    TrustStore,
    VerifiedPeer,
)
from handclasp.crypto.signatures import KeyKind
from handclasp.lab.ca import CertificateAuthority
from handclasp.lab.pair import Pair, handshake
from handclasp.wire.messages import ClientHello

VERSIONS = pytest.mark.parametrize("version", [TLSVersion.TLS_1_3, TLSVersion.TLS_1_2], ids=str)


class Accept:
    """A verifier that says yes: here it matters which certificate comes, not whether it is good."""

    def verify(self, presented: PresentedChain) -> VerifiedPeer:
        return VerifiedPeer(presented.chain, "yes")


def shown(server: ServerConfig, version: TLSVersion, name: str | None, **client: Any) -> Credential | None:
    """The credential the server showed, of those it has listed."""
    config = ClientConfig(trust=Accept(), versions=[version], **client)
    pair = handshake(ClientConnection(config, name), ServerConnection(server))
    assert pair.server.established
    leaf = pair.client.info.peer_certificates[0]
    assert pair.server.info.certificate == leaf
    return next((credential for credential in server.listed_credentials if credential.leaf == leaf), None)


def refused(client: ClientConfig, server: ServerConfig, name: str = "localhost") -> TLSError:
    with pytest.raises(TLSError) as caught:
        handshake(ClientConnection(client, name), ServerConnection(server))
    return caught.value


# --- by name and by scheme -------------------------------------------------------------------------------------------


@VERSIONS
@pytest.mark.parametrize("order", [1, -1], ids=["as listed", "reversed"])
def test_an_exact_name_comes_before_a_wildcard_before_the_default(
    order: int, version: TLSVersion, authority: CertificateAuthority
) -> None:
    default, other = authority.issue("default.test"), authority.issue("other.test")
    wild, exact = authority.issue("*.a.test"), authority.issue("Www.a.test")
    server = ServerConfig(credentials=[default, *[other, wild, exact][::order]])
    for name, expected in (
        ("www.a.test", exact),
        ("x.a.test", wild),
        ("a.test", default),
        ("x.www.a.test", default),
        ("other.test", other),
        (None, default),
    ):
        assert shown(server, version, name) is expected


@VERSIONS
def test_the_name_goes_before_the_kind_of_key(version: TLSVersion, authority: CertificateAuthority) -> None:
    """A client that prefers ECDSA gets the RSA certificate that has its name, not the ECDSA one that has not."""
    elliptic = authority.issue("default.test")
    rsa = authority.issue("a.test", key_kind=KeyKind.RSA)
    both = authority.issue("a.test", key_kind=KeyKind.P384)
    assert shown(ServerConfig(credentials=[elliptic, rsa]), version, "a.test") is rsa
    assert shown(ServerConfig(credentials=[elliptic, rsa, both]), version, "a.test") in (rsa, both)
    only = [SignatureScheme.ECDSA_SECP256R1_SHA256]
    if version is TLSVersion.TLS_1_3:
        assert shown(ServerConfig(credentials=[rsa, elliptic]), version, "a.test", signature_schemes=only) is elliptic
    suites = [CipherSuite.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]
    if version is TLSVersion.TLS_1_2:
        assert shown(ServerConfig(credentials=[rsa, elliptic]), version, "a.test", cipher_suites=suites) is elliptic


# --- from a source ---------------------------------------------------------------------------------------------------


class Found:
    """A source that gives what it was made with, and remembers who asked."""

    def __init__(self, answer: Any, blocking: bool = False) -> None:
        self.answer = answer
        self.asked: list[ClientHello] = []
        self.blocking = blocking

    def credentials(self, hello: ClientHello) -> Any:
        self.asked.append(hello)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Later:
    """A source that looks into a database."""

    def __init__(self, answer: Sequence[Credential]) -> None:
        self.answer = answer

    async def credentials(self, hello: ClientHello) -> Sequence[Credential]:
        return self.answer


@VERSIONS
def test_a_source_is_asked_at_each_hello(
    version: TLSVersion, authority: CertificateAuthority, credential: Credential
) -> None:
    source = Found([credential, authority.issue("a.test")])
    server = ServerConfig(credentials=source)
    assert (server.source, server.listed_credentials) == (source, ())
    config = ClientConfig(trust=authority.trust, versions=[version])
    for name in ("localhost", "a.test"):
        pair = handshake(ClientConnection(config, name), ServerConnection(server))
        assert pair.client.established
    assert [hello.extensions.server_name[0].host_name for hello in source.asked if hello.extensions.server_name] == [
        b"localhost",
        b"a.test",
    ]


def test_the_source_of_a_chosen_configuration_is_asked(trust: TrustStore, credential: Credential) -> None:
    first, second = Found(ValueError("not asked")), Found([credential])
    chosen = ServerConfig(credentials=second)
    server = ServerConfig(credentials=first, choose=lambda hello: chosen)
    pair = handshake(ClientConnection(ClientConfig(trust=trust), "localhost"), ServerConnection(server))
    assert pair.client.established
    assert (len(first.asked), len(second.asked)) == (0, 1)


def _answered(pair: Pair, value: Any) -> None:
    (asked,) = pair.asked
    assert pair.server.waiting_for == ("FindCredentials",)
    if asked.pending is not None:
        asked.pending.close()  # type: ignore[attr-defined]
    pair.server.answer(asked.question, value)
    pair.shuttle()


@pytest.mark.parametrize("slow", [True, False])
def test_a_source_may_answer_later(slow: bool, trust: TrustStore, credential: Credential) -> None:
    source = Found([credential], blocking=True) if slow else Later([credential])
    server = ServerConnection(ServerConfig(credentials=source))
    pair = handshake(ClientConnection(ClientConfig(trust=trust), "localhost"), server)
    assert not server.established
    assert (pair.asked[0].pending is None) is slow
    _answered(pair, [credential])
    assert pair.client.established


@pytest.mark.parametrize("junk", ["me.pem", b"me", 1, None, True, [None], ["me.pem"]], ids=repr)
def test_a_source_that_answers_with_junk_refuses(junk: Any, trust: TrustStore) -> None:
    error = refused(ClientConfig(trust=trust), ServerConfig(credentials=Found(junk)))
    assert isinstance(error, CallbackError)
    assert error.alert is Alert.INTERNAL_ERROR


def test_a_source_that_fails_refuses(trust: TrustStore) -> None:
    error = refused(ClientConfig(trust=trust), ServerConfig(credentials=Found(OSError("the disk is gone"))))
    assert isinstance(error, CallbackError)
    assert isinstance(error.__cause__, OSError)


def test_a_source_that_has_nothing_refuses_by_name(trust: TrustStore) -> None:
    server = ServerConfig(credentials=Found([]))
    error = refused(ClientConfig(trust=trust), server)
    assert isinstance(error, NegotiationError)
    assert error.alert is Alert.UNRECOGNIZED_NAME
    error = refused(ClientConfig(trust=trust, send_server_name=False), server)
    assert error.alert is Alert.MISSING_EXTENSION


def test_a_source_that_has_nothing_leaves_it_to_a_key_known_beforehand(trust: TrustStore) -> None:
    ours, theirs = (ExternalPsk(b"id", b"k" * 32, role=role) for role in ("client", "server"))
    server = ServerConfig(credentials=Found([]), psks=[theirs])
    client = ClientConfig(trust=trust, psks=[ours])
    pair = handshake(ClientConnection(client, "localhost"), ServerConnection(server))
    assert pair.server.established
    error = refused(client.replace(psks=()), server)
    assert isinstance(error, NegotiationError)
    error = refused(client.replace(psks=()), server.replace(versions=[TLSVersion.TLS_1_2]))
    assert isinstance(error, NegotiationError)


def test_what_a_source_gives_has_to_be_usable(trust: TrustStore, authority: CertificateAuthority) -> None:
    edwards = authority.issue("localhost", key_kind=KeyKind.ED25519)
    schemes = [SignatureScheme.ECDSA_SECP256R1_SHA256]
    server = ServerConfig(credentials=Found([edwards]), signature_schemes=schemes)
    assert isinstance(refused(ClientConfig(trust=trust), server), ConfigError)


def test_a_source_is_told_from_a_list(credential: Credential) -> None:
    source = Found([credential])
    assert ServerConfig(credentials=source) == ServerConfig(credentials=source)
    assert hash(ServerConfig(credentials=source)) == hash(ServerConfig(credentials=source))
    for wrong in (None, credential, 1, object()):
        with pytest.raises(ConfigError):
            ServerConfig(credentials=wrong)  # type: ignore[arg-type]
