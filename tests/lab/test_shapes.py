"""Every wrong certificate of the catalogue is refused: by us with exactly its code, and by OpenSSL."""

from __future__ import annotations

import ssl
from functools import cache

import pytest

from handclasp import (
    CertificateError,
    ClientAuth,
    ClientConfig,
    ClientConnection,
    Credential,
    Role,
    ServerConfig,
    ServerConnection,
    TLSError,
    TLSVersion,
)
from handclasp.lab.ca import CertificateAuthority
from handclasp.lab.pair import handshake
from handclasp.lab.shapes import SHAPES
from interop.identities import Identities
from interop.openssl_bio import StdlibPeer, meet

NAME = "shapes.test"
VERSIONS = pytest.mark.parametrize("version", [TLSVersion.TLS_1_3, TLSVersion.TLS_1_2], ids=str)
CASES = [(name, role) for name, shape in SHAPES.items() for role in shape.roles]


@cache
def authority() -> CertificateAuthority:
    return CertificateAuthority("shapes CA")


@pytest.fixture(scope="module")
def identities(tmp_path_factory: pytest.TempPathFactory) -> Identities:
    return Identities(authority(), tmp_path_factory.mktemp("shapes"))


@cache
def issued(name: str, role: Role) -> Credential:
    return SHAPES[name].issue(authority(), NAME, role)


@cache
def good(role: Role) -> Credential:
    return authority().issue(NAME, usage="server" if role is Role.SERVER else "client")


def configured(credential: Credential, role: Role, version: TLSVersion) -> tuple[ClientConfig, ServerConfig]:
    """Both sides: the credential is the server's, or the client's."""
    client = ClientConfig(trust=authority().trust, versions=[version])
    if role is Role.SERVER:
        return client, ServerConfig(credentials=[credential])
    auth = ClientAuth(verify=authority().trust)
    return client.replace(credentials=[credential]), ServerConfig(credentials=[good(Role.SERVER)], client_auth=auth)


@VERSIONS
@pytest.mark.parametrize("role", Role, ids=str)
def test_a_good_one_is_accepted(role: Role, version: TLSVersion) -> None:
    client, server = configured(good(role), role, version)
    assert handshake(ClientConnection(client, NAME), ServerConnection(server)).server.established


@VERSIONS
@pytest.mark.parametrize(("name", "role"), CASES, ids=str)
def test_each_is_refused_with_its_code(name: str, role: Role, version: TLSVersion) -> None:
    client, server = configured(issued(name, role), role, version)
    ends = ClientConnection(client, NAME), ServerConnection(server)
    with pytest.raises(TLSError) as caught:
        handshake(*ends)
    assert isinstance(caught.value, CertificateError)
    assert caught.value.code == SHAPES[name].code
    assert ends[0 if role is Role.SERVER else 1].error is caught.value
    assert caught.value.remedy


OPENSSL = {
    "expired": 10,
    "not-yet-valid": 9,
    "wrong-name": 62,
    "no-san": 62,
    "wrong-purpose": 26,
    "key-usage": None,  # OpenSSL's check of a leaf's purpose is content with keyAgreement
    "weak-key": 66,
    "critical-extension": 34,
    "self-signed": 18,
    "unknown-ca": 20,
    "namesake-ca": 20,
    "missing-intermediate": 20,
    "expired-in-chain": 10,
    "not-a-ca": 79,
    "path-length": 25,
    "not-permitted": 47,
    "excluded": 48,
    "chain-purpose": 26,
}
"""What OpenSSL says of each (X509_V_ERR in its x509_vfy.h); None where it sees nothing wrong."""


def test_openssl_has_an_opinion_on_every_shape() -> None:
    assert OPENSSL.keys() == SHAPES.keys()


@pytest.mark.parametrize(("name", "role"), CASES, ids=str)
def test_openssl_refuses_each_for_the_same_reason(name: str, role: Role, identities: Identities) -> None:
    purpose = ssl.Purpose.SERVER_AUTH if role is Role.SERVER else ssl.Purpose.CLIENT_AUTH
    context = ssl.create_default_context(purpose, cadata=authority().pem().decode())
    client, server = configured(issued(name, role), role, TLSVersion.TLS_1_3)
    if role is Role.SERVER:
        context.hostname_checks_common_name = False
        peer = StdlibPeer(context, NAME)
        meet(ServerConnection(server), peer)
    else:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(identities.of(name=NAME).chain_file, identities.of(name=NAME).key_file)
        peer = StdlibPeer(context)
        meet(ClientConnection(client, NAME), peer)
    assert getattr(peer.error, "verify_code", None) == OPENSSL[name]
    assert peer.established is (OPENSSL[name] is None)
