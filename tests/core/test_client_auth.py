"""Client certificates between our own two sides: what is asked, what is required, what is verified, what is shown."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any

import pytest

from handclasp import (
    Alert,
    AlertReceived,
    CallbackError,
    CertificateError,
    ClientAuth,
    ClientConfig,
    ClientConnection,
    ClientSessions,
    ConfigError,
    Credential,
    CredentialRequest,
    PresentedChain,
    Revocation,
    ServerConfig,
    ServerConnection,
    SignatureScheme,
    Subject,
    TicketKeys,
    TLSError,
    TLSVersion,
    TrustStore,
    UnverifiedClients,
    VerifiedPeer,
)
from handclasp.asgi import tls_extension
from handclasp.crypto.signatures import KeyKind
from handclasp.handshake.proofs import Anonymous
from handclasp.lab.ca import CertificateAuthority
from handclasp.lab.pair import Pair

VERSIONS = pytest.mark.parametrize("version", [TLSVersion.TLS_1_3, TLSVersion.TLS_1_2], ids=str)


@pytest.fixture(scope="module")
def staff(authority: CertificateAuthority) -> Credential:
    return authority.issue("staff.test", usage="client")


@pytest.fixture(scope="module")
def stranger() -> Credential:
    return CertificateAuthority("a CA nobody knows").issue("staff.test", usage="client")


@pytest.fixture
def server_config(credential: Credential) -> ServerConfig:
    return ServerConfig(credentials=[credential])


@pytest.fixture
def client_config(trust: TrustStore) -> ClientConfig:
    return ClientConfig(trust=trust)


def meet(client: ClientConfig, server: ServerConfig) -> tuple[Pair, TLSError | None]:
    """Both ends after what they could do, and what went wrong."""
    pair = Pair(ClientConnection(client, "localhost"), ServerConnection(server))
    try:
        pair.shuttle()
    except TLSError as error:
        return pair, error
    return pair, None


# --- what a server does with a client's certificate, or without one --------------------------------------------------

AUTH: dict[str, dict[str, Any] | None] = {
    "not asked": None,
    "optional": {"required": False},
    "required": {"required": True},
    "anonymous": {"required": False, "unverified": "anonymous"},
}

OUTCOMES = {
    ("not asked", "none"): "anonymous",
    ("not asked", "good"): "anonymous",
    ("not asked", "bad"): "anonymous",
    ("optional", "none"): "anonymous",
    ("optional", "good"): "known",
    ("optional", "bad"): "refused",
    ("required", "none"): "missing",
    ("required", "good"): "known",
    ("required", "bad"): "refused",
    ("anonymous", "none"): "anonymous",
    ("anonymous", "good"): "known",
    ("anonymous", "bad"): "told",
}


@VERSIONS
@pytest.mark.parametrize(("asked", "shown"), list(OUTCOMES), ids=lambda value: value)
def test_every_combination(
    asked: str,
    shown: str,
    version: TLSVersion,
    client_config: ClientConfig,
    server_config: ServerConfig,
    trust: TrustStore,
    staff: Credential,
    stranger: Credential,
) -> None:
    outcome = OUTCOMES[asked, shown]
    options = AUTH[asked]
    auth = None if options is None else ClientAuth(verify=trust, **options)
    mine = {"none": [], "good": [staff], "bad": [stranger]}[shown]
    pair, error = meet(
        client_config.replace(credentials=mine, versions=[version]), server_config.replace(client_auth=auth)
    )
    info = pair.server.info
    assert pair.server.established is (outcome in ("anonymous", "known", "told"))
    assert info.verified_chain[:1] == ((staff.leaf,) if outcome == "known" else ())
    assert info.peer_certificates == {"known": staff.chain, "refused": stranger.chain}.get(outcome, ())
    if outcome in ("missing", "refused"):
        assert isinstance(error, CertificateError)
        assert pair.server.error is error
        missing = Alert.CERTIFICATE_REQUIRED if version is TLSVersion.TLS_1_3 else Alert.HANDSHAKE_FAILURE
        assert error.alert is (missing if outcome == "missing" else Alert.UNKNOWN_CA)
        with pytest.raises(AlertReceived):
            pair.client.receive_data(pair.server.data_to_send())
    else:
        assert error is None
        pair.client.send(b"hello")
        pair.shuttle()
        assert pair.server_data() == b"hello"
    if outcome == "told":
        assert info.client_error is not None
        assert info.client_error.code == "unknown-ca"
        assert info.client_error.peer_chain == stranger.chain
        assert "not accepted" in info.why(Subject.PEER)
    else:
        assert info.client_error is None


@VERSIONS
def test_an_unverified_client_is_nobody(
    version: TLSVersion,
    client_config: ClientConfig,
    server_config: ServerConfig,
    trust: TrustStore,
    stranger: Credential,
) -> None:
    auth = ClientAuth(verify=trust, required=False, unverified=UnverifiedClients.ANONYMOUS)
    pair, error = meet(
        client_config.replace(credentials=[stranger], versions=[version]), server_config.replace(client_auth=auth)
    )
    assert error is None
    established: Any = pair.server._established
    assert isinstance(established.identity, Anonymous)
    assert isinstance(established.possession, Anonymous)


@VERSIONS
@pytest.mark.parametrize("known", [True, False], ids=["revoked", "nobody can tell"])
def test_an_unverified_client_may_be_a_revoked_one(
    known: bool, version: TLSVersion, client_config: ClientConfig, server_config: ServerConfig
) -> None:
    ca = CertificateAuthority("a CA that takes back")
    mine = ca.issue("staff.test", usage="client")
    ca.revoke(mine.leaf)
    lists = [ca.crl() if known else CertificateAuthority("another").crl()]
    client = client_config.replace(credentials=[mine], versions=[version])
    for unverified in ("refuse", "anonymous"):
        revocation = Revocation("hard", crls=lists)
        auth = ClientAuth(verify=ca.trust, required=False, unverified=unverified, revocation=revocation)
        pair, error = meet(client, server_config.replace(client_auth=auth))
        (asked,) = pair.asked
        with pytest.raises(CertificateError) as found:
            asked.question.put()
        try:
            pair.server.answer(asked.question, found.value)
            pair.shuttle()
        except TLSError as refusal:
            error = refusal
        info = pair.server.info
        if unverified == "refuse":
            assert isinstance(error, CertificateError)
            assert not pair.server.established
        else:
            assert pair.server.established
            assert info.client_error is not None
            assert info.client_error.code == ("revoked" if known else "revocation-unknown")
            assert (info.peer_certificates, info.verified_chain, info.revocation) == ((), (), None)


@VERSIONS
def test_a_broken_signature_refuses_whatever_the_policy(
    version: TLSVersion, client_config: ClientConfig, server_config: ServerConfig, trust: TrustStore, staff: Credential
) -> None:
    @dataclass(frozen=True)
    class Forger:
        public_key: Any

        def sign(self, scheme: SignatureScheme, data: bytes) -> bytes:
            signature = staff.signer.sign(scheme, data + b"?")
            assert isinstance(signature, bytes)
            return signature

    forged = Credential.from_signer(staff.chain, Forger(staff.signer.public_key))
    auth = ClientAuth(verify=trust, required=False, unverified="anonymous")
    pair, error = meet(
        client_config.replace(credentials=[forged], versions=[version]), server_config.replace(client_auth=auth)
    )
    assert error is not None
    assert error.code == "signature"
    assert not pair.server.established


class Undecided:
    """A verifier whose own database is gone."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def verify(self, presented: PresentedChain) -> VerifiedPeer:
        raise self.error


@pytest.mark.parametrize("error", [OSError("gone"), ConfigError("no roots"), ValueError("?")], ids=lambda e: str(e))
@VERSIONS
def test_a_verifier_that_fails_instead_of_deciding_refuses_whatever_the_policy(
    version: TLSVersion, error: Exception, client_config: ClientConfig, server_config: ServerConfig, staff: Credential
) -> None:
    auth = ClientAuth(verify=Undecided(error), required=False, unverified="anonymous")
    pair, refusal = meet(
        client_config.replace(credentials=[staff], versions=[version]), server_config.replace(client_auth=auth)
    )
    assert refusal is not None
    assert not isinstance(refusal, CertificateError)
    assert not pair.server.established


@VERSIONS
@pytest.mark.parametrize("blocking", [True, False])
def test_a_verifier_that_answers_later_may_refuse_too(
    blocking: bool,
    version: TLSVersion,
    client_config: ClientConfig,
    server_config: ServerConfig,
    trust: TrustStore,
    stranger: Credential,
) -> None:
    class Later:
        async def verify(self, presented: PresentedChain) -> VerifiedPeer:
            return trust.verify(presented)

    class Slow:
        blocking = True

        def verify(self, presented: PresentedChain) -> VerifiedPeer:
            return trust.verify(presented)

    client = client_config.replace(credentials=[stranger], versions=[version])
    for unverified, established in (("anonymous", True), ("refuse", False)):
        auth = ClientAuth(verify=Slow() if blocking else Later(), required=False, unverified=unverified)
        pair, _ = meet(client, server_config.replace(client_auth=auth))
        (asked,) = pair.asked
        assert (asked.pending is None) is blocking
        assert not pair.server.established
        try:
            value = answered(asked.question.put() if asked.pending is None else asked.pending)
        except CertificateError as error:
            value = error
        if established:
            pair.server.answer(asked.question, value)
            pair.shuttle()
            assert pair.server.info.client_error is value
        else:
            with pytest.raises(CertificateError) as caught:
                pair.server.answer(asked.question, value)
            assert caught.value is value
        assert pair.server.established is established


def answered(pending: Any) -> Any:
    """The value of an answer that may be an awaitable."""
    if not isinstance(pending, Awaitable):
        return pending

    async def wait() -> Any:
        return await pending

    return asyncio.run(wait())


@VERSIONS
def test_a_client_that_was_not_accepted_is_asked_again(
    version: TLSVersion,
    client_config: ClientConfig,
    server_config: ServerConfig,
    trust: TrustStore,
    staff: Credential,
    stranger: Credential,
) -> None:
    auth = ClientAuth(verify=trust, required=False, unverified="anonymous")
    server = server_config.replace(client_auth=auth, tickets=TicketKeys())
    client = client_config.replace(versions=[version])
    for mine, again in ((stranger, False), (staff, True)):
        sessions = ClientSessions()
        for resumed in (False, again):
            pair, error = meet(client.replace(credentials=[mine], sessions=sessions), server)
            assert error is None
            assert pair.server.info.resumed is resumed
            assert (pair.server.info.client_error is None) is (mine is staff)


def test_contradictions_are_refused(trust: TrustStore) -> None:
    with pytest.raises(ConfigError, match="both require"):
        ClientAuth(verify=trust, unverified="anonymous")
    with pytest.raises(ConfigError, match="'refuse' or 'anonymous', not 'perhaps'"):
        ClientAuth(verify=trust, required=False, unverified="perhaps")
    assert ClientAuth(verify=trust).unverified is UnverifiedClients.REFUSE


# --- what a client shows ---------------------------------------------------------------------------------------------


@VERSIONS
def test_a_client_chooses_when_it_is_asked(
    version: TLSVersion,
    authority: CertificateAuthority,
    client_config: ClientConfig,
    credential: Credential,
    trust: TrustStore,
    staff: Credential,
) -> None:
    asked: list[CredentialRequest] = []

    def choose(request: CredentialRequest) -> Credential | None:
        asked.append(request)
        return staff if staff.issued_under(request.authorities) else None

    client = client_config.replace(credentials=choose, versions=[version])
    known = authority.certificate.subject_der
    for authorities, shown in (((known,), staff.chain), ((b"0\x00",), ())):
        auth = ClientAuth(verify=trust, required=False, authorities=authorities)
        pair, error = meet(client, ServerConfig(credentials=[credential], client_auth=auth))
        assert error is None
        assert pair.server.info.peer_certificates == shown
        request = asked.pop()
        assert request.authorities == authorities
        assert SignatureScheme.ECDSA_SECP256R1_SHA256 in request.schemes
        assert (request.version, request.server_name) == (version, "localhost")
    pair, error = meet(client, ServerConfig(credentials=[credential]))
    assert (error, asked) == (None, [])


@VERSIONS
@pytest.mark.parametrize("blocking", [True, False])
def test_a_client_may_choose_later(
    blocking: bool,
    version: TLSVersion,
    client_config: ClientConfig,
    server_config: ServerConfig,
    trust: TrustStore,
    staff: Credential,
) -> None:
    class Slow:
        blocking = True

        def __call__(self, request: CredentialRequest) -> Credential:
            return staff

    async def later(request: CredentialRequest) -> Credential:
        return staff

    client = client_config.replace(credentials=Slow() if blocking else later, versions=[version])
    pair, _ = meet(client, server_config.replace(client_auth=ClientAuth(verify=trust)))
    assert pair.client.waiting_for == ("ChooseCredential",)
    (asked,) = pair.asked
    pair.client.answer(asked.question, answered(asked.question.put() if asked.pending is None else asked.pending))
    pair.shuttle()
    assert pair.server.info.verified_chain[0] == staff.leaf


@VERSIONS
@pytest.mark.parametrize("value", ["me.pem", 1, True, (), ZeroDivisionError("broken")], ids=repr)
def test_a_bad_choice_refuses_the_connection(
    version: TLSVersion, value: object, client_config: ClientConfig, server_config: ServerConfig, trust: TrustStore
) -> None:
    def choose(request: CredentialRequest) -> Any:
        if isinstance(value, Exception):
            raise value
        return value

    client = client_config.replace(credentials=choose, versions=[version])
    pair, error = meet(client, server_config.replace(client_auth=ClientAuth(verify=trust, required=False)))
    assert isinstance(error, CallbackError)
    assert pair.client.error is error
    assert error.alert is Alert.INTERNAL_ERROR
    with pytest.raises(AlertReceived):
        pair.server.receive_data(pair.client.data_to_send())


@VERSIONS
def test_a_choice_that_cannot_sign_refuses_and_a_list_that_cannot_is_passed_over(
    version: TLSVersion,
    authority: CertificateAuthority,
    client_config: ClientConfig,
    server_config: ServerConfig,
    trust: TrustStore,
) -> None:
    edwards = authority.issue("staff.test", usage="client", key_kind=KeyKind.ED25519)
    server = server_config.replace(
        client_auth=ClientAuth(verify=trust, required=False),
        signature_schemes=[SignatureScheme.ECDSA_SECP256R1_SHA256],
    )
    client = client_config.replace(versions=[version])
    _, error = meet(client.replace(credentials=lambda request: edwards), server)
    assert isinstance(error, CallbackError)
    pair, error = meet(client.replace(credentials=[edwards]), server)
    assert error is None
    assert pair.server.info.peer_certificates == ()
    assert "none of ours fits" in pair.client.info.why(Subject.CLIENT_CREDENTIAL)


@VERSIONS
def test_several_credentials_are_told_apart_by_hints_and_schemes(
    version: TLSVersion,
    authority: CertificateAuthority,
    client_config: ClientConfig,
    server_config: ServerConfig,
    trust: TrustStore,
) -> None:
    other = CertificateAuthority("another CA")
    mine = {
        "foreign": other.issue("staff.test", usage="client"),
        "rsa": authority.issue("staff.test", usage="client", key_kind=KeyKind.RSA),
        "ec": authority.issue("staff.test", usage="client"),
    }
    client = client_config.replace(credentials=list(mine.values()), versions=[version])
    ec, everything = [SignatureScheme.ECDSA_SECP256R1_SHA256], server_config.signature_schemes
    for authorities, schemes, expected in (
        ((), everything, "foreign"),
        ((authority.certificate.subject_der,), everything, "rsa"),
        ((authority.certificate.subject_der,), ec, "ec"),
        ((other.certificate.subject_der,), ec, "foreign"),
        ((b"0\x00",), ec, "foreign"),
    ):
        auth = ClientAuth(verify=trust | other.trust, authorities=authorities)
        server = server_config.replace(client_auth=auth, signature_schemes=schemes)
        if version is TLSVersion.TLS_1_2 and expected == "ec" and schemes is ec:
            expected = "rsa"  # TLS 1.2 asks for PKCS#1 signatures whatever else it asks for
        pair, error = meet(client, server)
        assert error is None
        assert pair.server.info.peer_certificates == mine[expected].chain


# --- what an ASGI application is told --------------------------------------------------------------------------------


@VERSIONS
def test_the_asgi_extension(
    version: TLSVersion,
    client_config: ClientConfig,
    server_config: ServerConfig,
    trust: TrustStore,
    credential: Credential,
    staff: Credential,
    stranger: Credential,
) -> None:
    auth = ClientAuth(verify=trust, required=False, unverified="anonymous")
    server = server_config.replace(client_auth=auth)
    cases: list[tuple[list[Credential], bool]] = [([], False), ([staff], False), ([stranger], True)]
    for mine, wrong in cases:
        pair, _ = meet(client_config.replace(credentials=mine, versions=[version]), server)
        told = tls_extension(pair.server.info)
        assert told["server_cert"] == credential.leaf.pem().decode()
        assert told["client_cert_chain"] == [c.pem().decode() for one in mine for c in one.chain]
        assert told["client_cert_name"] == ("CN=staff.test" if mine else None)
        assert bool(told["client_cert_error"]) is wrong
        assert told["tls_version"] == (0x0304 if version is TLSVersion.TLS_1_3 else 0x0303)
        assert told["cipher_suite"] == (0x1301 if version is TLSVersion.TLS_1_3 else 0xC02B)
        assert type(told["tls_version"]) is type(told["cipher_suite"]) is int


UNITS = [f"{number:064}" for number in range(40)]


@pytest.mark.parametrize("units", [UNITS, ["an\nadmin\r\x1b[2J\u2028\0, yes\\"]], ids=["long", "many lines"])
def test_the_asgi_extension_cuts_no_name_short_and_keeps_it_on_one_line(
    units: list[str],
    client_config: ClientConfig,
    server_config: ServerConfig,
    trust: TrustStore,
    authority: CertificateAuthority,
) -> None:
    import cryptography.x509 as pyca
    from cryptography.x509.oid import NameOID

    from handclasp.crypto.keys import DER, certificate_hash
    from handclasp.identity.certificates import Certificate

    name = pyca.Name([pyca.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit) for unit in units])
    key: Any = authority._key
    like = authority.issue("staff.test", usage="client")
    x509 = like.leaf.x509
    builder = pyca.CertificateBuilder().subject_name(name).issuer_name(x509.issuer)
    builder = builder.public_key(x509.public_key()).serial_number(x509.serial_number)
    builder = builder.not_valid_before(x509.not_valid_before_utc).not_valid_after(x509.not_valid_after_utc)
    for extension in x509.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    leaf = Certificate.from_der(builder.sign(key, certificate_hash(key)).public_bytes(DER))
    mine = Credential.from_signer([leaf], like.signer)
    auth = ClientAuth(verify=trust)
    pair, error = meet(client_config.replace(credentials=[mine]), server_config.replace(client_auth=auth))
    assert error is None
    told = tls_extension(pair.server.info)["client_cert_name"]
    assert told is not None
    assert told.isprintable()
    assert pyca.Name.from_rfc4514_string(told) == name


def test_the_asgi_extension_before_anything_is_settled(server_config: ServerConfig) -> None:
    assert tls_extension(ServerConnection(server_config).info) == {
        "server_cert": None,
        "client_cert_chain": [],
        "client_cert_name": None,
        "client_cert_error": None,
        "tls_version": None,
        "cipher_suite": None,
    }
