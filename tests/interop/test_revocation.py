"""Revocation against OpenSSL: its responder, its lists, its stapling in both directions; and GnuTLS beside it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

import handclasp
from handclasp import (
    CertificateError,
    ClientAuth,
    ClientConfig,
    Credential,
    Evidence,
    OCSPStapler,
    PresentedChain,
    Revocation,
    Role,
    ServerConfig,
    Subject,
    TLSVersion,
    VerifiedPeer,
)
from handclasp.crypto.keys import encode_private, generate
from handclasp.crypto.signatures import KeyKind
from handclasp.identity.names import peer_name
from handclasp.identity.pem import encode
from handclasp.lab.ca import CertificateAuthority
from handclasp.lab.statements import Speaker
from interop.identities import NAME
from interop.programs import HOST, Host, Program, connect, greeting, tool
from interop.register import Register, run

VERSIONS = [TLSVersion.TLS_1_3, TLSVersion.TLS_1_2]
FLAGS = {TLSVersion.TLS_1_3: "-tls1_3", TLSVersion.TLS_1_2: "-tls1_2"}


@pytest.fixture
def register(tmp_path: Path) -> Register:
    tool("openssl")
    return Register(tmp_path, CertificateAuthority("CA with a register"))


def free_port() -> int:
    with Host() as host:
        return host.port


def shake(client: ClientConfig, server: ServerConfig) -> handclasp.ConnectionInfo:
    """Our two ends over loopback. Raises what the client raises."""
    with greeting(server) as port, connect(port, client) as tls:
        return tls.info


# --- OpenSSL's responder ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_openssl_answers_for_its_register(register: Register, version: TLSVersion) -> None:
    port = free_port()
    url = f"http://{HOST}:{port}"
    good, bad = register.ca.issue(NAME, ocsp_url=url), register.ca.issue(NAME, ocsp_url=url)
    stranger = register.ca.issue(NAME, ocsp_url=url)
    register.enter(good)
    register.enter(bad, revoked=True)

    def client(mode: str) -> ClientConfig:
        return ClientConfig(trust=register.ca.trust, revocation=mode, versions=[version])

    with register.responder(port):
        assert shake(client("hard"), ServerConfig(credentials=[good])).revocation is Evidence.OCSP
        for mode in ("soft", "hard"):
            with pytest.raises(CertificateError, match="keyCompromise") as caught:
                shake(client(mode), ServerConfig(credentials=[bad]))
            assert caught.value.code == "revoked"
        with pytest.raises(CertificateError, match="does not know this certificate"):
            shake(client("hard"), ServerConfig(credentials=[stranger]))
        assert shake(client("soft"), ServerConfig(credentials=[stranger])).revocation is Evidence.NONE
        assert shake(client("staple"), ServerConfig(credentials=[bad])).revocation is Evidence.NONE
    with pytest.raises(CertificateError) as caught:
        shake(client("hard"), ServerConfig(credentials=[good]))
    assert caught.value.code == "revocation-unknown"
    assert shake(client("soft"), ServerConfig(credentials=[good])).revocation is Evidence.NONE


def test_one_response_about_two_certificates(register: Register) -> None:
    first, second, third = (register.ca.issue(NAME) for _ in range(3))
    register.enter(first)
    register.enter(second, revoked=True)
    response = register.staple(first, second)

    def checked(credential: Credential) -> Evidence:
        presented = PresentedChain(
            credential.chain, Role.SERVER, peer_name(NAME), datetime.now(UTC), staples=(response,)
        )
        verified = VerifiedPeer((*credential.chain, register.ca.certificate), "")
        return Revocation().check(presented, verified).evidence  # type: ignore[union-attr]

    assert checked(first) is Evidence.STAPLE
    with pytest.raises(CertificateError, match="has revoked"):
        checked(second)
    with pytest.raises(CertificateError, match="another certificate"):
        checked(third)


def test_a_list_by_openssl(register: Register) -> None:
    key = generate(KeyKind.P256)
    folder = register.folder
    (folder / "own.key").write_bytes(encode("PRIVATE KEY", encode_private(key)))
    own, usage = folder / "own.pem", "keyUsage=critical,keyCertSign,cRLSign"
    run("req", "-x509", "-new", "-key", folder / "own.key", "-subj", "/CN=own", "-addext", usage, "-out", own)
    issuer = handclasp.TrustStore.from_file(folder / "own.pem").certificates[0]
    run("req", "-new", "-key", folder / "own.key", "-subj", f"/CN={NAME}", "-out", folder / "leaf.csr")
    (folder / "san.cnf").write_text(f"subjectAltName=DNS:{NAME}\nbasicConstraints=CA:FALSE\n")
    run("x509", "-req", "-in", folder / "leaf.csr", "-CA", folder / "own.pem", "-CAkey", folder / "own.key",
        "-CAcreateserial", "-days", "1", "-extfile", folder / "san.cnf", "-out", folder / "leaf.pem")  # fmt: skip
    leaf = Credential.from_files(folder / "leaf.pem", folder / "own.key")
    presented = PresentedChain(leaf.chain, Role.SERVER, peer_name(NAME), datetime.now(UTC))
    verified = VerifiedPeer((leaf.leaf, issuer), "")
    policy = Revocation("hard", crls=[folder / "list.pem"])
    register.sign_as(Speaker(issuer, key))
    register.list()
    assert policy.check(presented, verified).evidence is Evidence.CRL  # type: ignore[union-attr]
    register.enter(leaf, revoked=True)
    register.list()
    with pytest.raises(CertificateError, match="keyCompromise"):
        policy.check(presented, verified)


# --- stapling --------------------------------------------------------------------------------------------------------


@pytest.mark.peer("OpenSSL, `openssl`")
@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_openssl_reads_what_we_staple(register: Register, version: TLSVersion) -> None:
    port = free_port()
    credential = register.ca.issue(NAME, ocsp_url=f"http://{HOST}:{port}")
    register.enter(credential)
    stapler = OCSPStapler(credential, issuer=register.ca.certificate)
    with register.responder(port):
        assert stapler.refresh()
    config = ServerConfig(credentials=[credential.with_staple(stapler)], versions=[version])
    with Host() as host, ThreadPoolExecutor(1) as pool:
        serving = pool.submit(host.accept, config)
        command = (tool("openssl"), "s_client", "-connect", host.address, "-servername", NAME, FLAGS[version])
        checks = ("-status", "-CAfile", register.folder / "ca.pem", "-verify_return_error")
        with Program(*command, *checks) as client, serving.result() as tls:
            client.output.expect("OCSP Response Status: successful")
            client.output.expect("Cert Status: good")
            client.output.expect(r"Verify return code: 0 \(ok\)")
            assert tls.info.why(Subject.STAPLE) == "the peer asked for it"
            client.hang_up()


@pytest.mark.peer("GnuTLS")
@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_gnutls_checks_what_we_staple(register: Register, version: TLSVersion) -> None:
    gnutls = tool("gnutls-cli")
    credential = register.ca.issue(NAME, must_staple=True)
    register.enter(credential)
    config = ServerConfig(credentials=[credential.with_staple(register.staple(credential))], versions=[version])
    priority = "NORMAL:-VERS-ALL:+VERS-" + str(version).replace("TLS ", "TLS")
    with Host() as host, ThreadPoolExecutor(1) as pool:
        serving = pool.submit(host.accept, config)
        command = (gnutls, "--port", str(host.port), "--x509cafile", register.folder / "ca.pem", "--ocsp")
        with (
            Program(
                *command, "--sni-hostname", NAME, "--verify-hostname", NAME, "--priority", priority, HOST
            ) as client,
            serving.result(),
        ):
            said = client.output.expect(r"- Options: [^\n]*OCSP[^\n]*")
            assert "OCSP status request" in said
            client.output.expect("Handshake was completed")
            client.hang_up()


@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_a_server_checks_its_clients_by_a_list(register: Register, version: TLSVersion) -> None:
    ca = register.ca
    good, bad = ca.issue("a.test", usage="client"), ca.issue("b.test", usage="client")
    ca.revoke(bad.leaf)
    asked = ClientAuth(verify=ca.trust, revocation=Revocation("hard", crls=[ca.crl()]))
    server = ServerConfig(credentials=[ca.issue(NAME)], client_auth=asked)
    for credential, accepted in ((good, True), (bad, False)):
        client = ClientConfig(trust=ca.trust, credentials=[credential], versions=[version])
        with Host() as host, ThreadPoolExecutor(1) as pool:
            serving = pool.submit(host.accept, server)
            if not accepted:
                with pytest.raises(handclasp.AlertReceived) as heard, connect(host.port, client) as tls:
                    tls.recv(1)
                assert heard.value.alert is handclasp.Alert.CERTIFICATE_REVOKED
                with pytest.raises(CertificateError):
                    serving.result()
                continue
            with connect(host.port, client), serving.result() as accepted_tls:
                assert accepted_tls.info.revocation is Evidence.CRL
