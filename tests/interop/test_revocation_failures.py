"""What each mode makes of a responder, of lists and of staples that are OpenSSL's, and wrong in one way each."""

from __future__ import annotations

import http.server
import signal
import socket
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from handclasp import ClientConfig, Credential, Evidence, HandshakeError, Revocation, ServerConfig, TLSVersion
from handclasp.crypto.keys import encode_private, generate
from handclasp.crypto.signatures import KeyKind
from handclasp.identity.pem import encode
from handclasp.lab.ca import CertificateAuthority
from handclasp.lab.responder import delegate
from interop.identities import NAME
from interop.programs import HOST, Host, Program, connect, greeting, tool
from interop.register import Register

MODES: Final = ("off", "staple", "soft", "hard")
VERSIONS: Final = (TLSVersion.TLS_1_3, TLSVersion.TLS_1_2)
BOTH: Final = pytest.mark.parametrize("version", VERSIONS, ids=str)
CA_NAME: Final = "CA with a register"
NOT_ASKED: Final = {"off": None, "staple": Evidence.NONE}
"""What is known of a certificate without a staple in the modes that ask nobody: nothing was looked at, or not found."""


@pytest.fixture
def register(tmp_path: Path) -> Register:
    tool("openssl")
    return Register(tmp_path, CertificateAuthority(CA_NAME))


def in_days(days: float) -> Callable[[], datetime]:
    return lambda: datetime.now(UTC) + timedelta(days=days)


def outcomes(ca: CertificateAuthority, credential: Credential, version: TLSVersion, **client: Any) -> dict[str, Any]:
    """For each mode what our client knows of our server's certificate in the end, or the code it is refused with."""
    found: dict[str, Any] = {}
    timeout = client.pop("timeout", 5.0)
    server = ServerConfig(credentials=[credential])
    with greeting(server) as port:
        for mode in MODES:
            policy = Revocation(mode, timeout=timeout, largest_crl=4096)
            found[mode] = outcome(port, ClientConfig(trust=ca.trust, revocation=policy, versions=[version], **client))
    return found


def outcome(port: int | str, config: ClientConfig) -> Evidence | str | None:
    try:
        with connect(port, config) as tls:
            return tls.info.revocation
    except HandshakeError as error:
        return error.code


# --- the CA itself ---------------------------------------------------------------------------------------------------

FAILURES: Final = ("down", "wrong signer", "stale", "oversized", "slow")


@contextmanager
def answering(register: Register, way: str, failure: str, port: int) -> Generator[None, None, None]:
    """OpenSSL's responder, or a web server with its list, which fails in this way."""
    if failure == "wrong signer":
        impostor = CertificateAuthority(CA_NAME)
        register.sign_as(delegate(impostor) if way == "ocsp" else impostor.speaker)
    elif way == "crl":
        register.sign_as(register.ca.speaker)
    if failure == "down":
        yield
    elif way == "ocsp":
        with register.responder(port, *(padding(register) if failure == "oversized" else ())) as program:
            if failure == "slow":
                program.send(signal.SIGSTOP)
            yield
    else:
        for _ in range(60 if failure == "oversized" else 0):
            register.enter(register.ca.issue("another.test"), revoked=True)
        register.list()
        with silence(port) if failure == "slow" else web(register.folder, port):
            yield


def padding(register: Register) -> tuple[str | Path, ...]:
    """Options that make a response longer than any that is read: certificates of many names that go along."""
    many = [register.ca.issue(*(f"{n}.a-name-that-takes-some-room.test" for n in range(400))) for _ in range(6)]
    (register.folder / "others.pem").write_bytes(b"".join(credential.leaf.pem() for credential in many))
    return "-rother", register.folder / "others.pem"


@contextmanager
def web(folder: Path, port: int) -> Generator[None, None, None]:
    """The standard library's web server for a folder."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer((HOST, port), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def silence(port: int) -> Generator[None, None, None]:
    """Somebody who listens, and never says a word."""
    with socket.create_server((HOST, port)):
        yield


def pointing(register: Register, way: str, port: int) -> Credential:
    url = f"http://{HOST}:{port}"
    if way == "ocsp":
        return register.ca.issue(NAME, ocsp_url=url)
    return register.ca.issue(NAME, crl_url=f"{url}/list.pem")


def free_port() -> int:
    with Host() as host:
        return host.port


@pytest.mark.peer("OpenSSL, `openssl`")
@BOTH
@pytest.mark.parametrize("way", ["ocsp", "crl"])
def test_a_revoked_certificate_is_refused_where_the_ca_is_asked(
    register: Register, way: str, version: TLSVersion
) -> None:
    port = free_port()
    good, bad = pointing(register, way, port), pointing(register, way, port)
    register.enter(good)
    register.enter(bad, revoked=True)
    with answering(register, way, "", port):
        evidence = Evidence(way)
        assert outcomes(register.ca, good, version) == {**NOT_ASKED, "soft": evidence, "hard": evidence}
        assert outcomes(register.ca, bad, version) == {**NOT_ASKED, "soft": "revoked", "hard": "revoked"}


@pytest.mark.peer("OpenSSL, `openssl`")
@BOTH
@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("way", ["ocsp", "crl"])
def test_each_failure_is_no_answer(register: Register, way: str, failure: str, version: TLSVersion) -> None:
    """Not even where the certificate is revoked: what does not count accuses nobody."""
    port = free_port()
    credential = pointing(register, way, port)
    register.enter(credential, revoked=failure != "stale")
    client: dict[str, Any] = {"clock": in_days(3)} if failure == "stale" else {}
    with answering(register, way, failure, port):
        found = outcomes(register.ca, credential, version, timeout=0.5 if failure == "slow" else 5.0, **client)
    assert found == {**NOT_ASKED, "soft": Evidence.NONE, "hard": "revocation-unknown"}


# --- staples ---------------------------------------------------------------------------------------------------------

STAPLES: Final = {
    "good": {"off": None, "staple": Evidence.STAPLE, "soft": Evidence.STAPLE, "hard": Evidence.STAPLE},
    "revoked": {"off": None, "staple": "revoked", "soft": "revoked", "hard": "revoked"},
    "wrong signer": {"off": None, "staple": "staple-invalid", "soft": "staple-invalid", "hard": "staple-invalid"},
    "stale": {"off": None, "staple": "staple-stale", "soft": "staple-stale", "hard": "staple-stale"},
    "another's": {"off": None, "staple": "staple-invalid", "soft": "staple-invalid", "hard": "staple-invalid"},
    "none": {"off": None, "staple": Evidence.NONE, "soft": Evidence.NONE, "hard": "revocation-unknown"},
    "none, and it must": {"off": None, "staple": "staple-missing", "soft": "staple-missing", "hard": "staple-missing"},
}


@pytest.mark.peer("OpenSSL, `openssl`")
@BOTH
@pytest.mark.parametrize("staple", STAPLES)
def test_what_openssl_staples(register: Register, staple: str, version: TLSVersion) -> None:
    credential = serving(register, must_staple=staple == "none, and it must")
    other = register.ca.issue(NAME)
    register.enter(credential, revoked=staple == "revoked")
    register.enter(other)
    if staple == "wrong signer":
        register.sign_as(delegate(CertificateAuthority(CA_NAME)))
    options: tuple[str | Path, ...] = ()
    if not staple.startswith("none"):
        made = register.staple(other if staple == "another's" else credential)
        (register.folder / "staple.der").write_bytes(made)
        options = ("-status_file", register.folder / "staple.der")
    clock: dict[str, Any] = {"clock": in_days(3)} if staple == "stale" else {}
    found: dict[str, Any] = {}
    with s_server(register, *options) as port:
        for mode in MODES:
            config = ClientConfig(trust=register.ca.trust, revocation=mode, versions=[version], **clock)
            found[mode] = outcome(port, config)
    assert found == STAPLES[staple]


@pytest.mark.peer("OpenSSL, `openssl`")
def test_a_staple_longer_than_any(register: Register) -> None:
    """TLS 1.3 has no room for it, and OpenSSL says so itself; TLS 1.2 has."""
    credential = serving(register)
    register.enter(credential)
    (register.folder / "staple.der").write_bytes(register.staple(credential, options=padding(register)))
    with s_server(register, "-status_file", register.folder / "staple.der") as port:
        for mode in MODES:
            config = ClientConfig(trust=register.ca.trust, revocation=mode, versions=[TLSVersion.TLS_1_2])
            assert outcome(port, config) == (None if mode == "off" else "message-too-long")


def serving(register: Register, *, must_staple: bool = False) -> Credential:
    """A certificate of the CA's, in a file for OpenSSL's server."""
    key = generate(KeyKind.P256)
    credential = register.ca.issue(NAME, key=key, must_staple=must_staple)
    chain = b"".join(certificate.pem() for certificate in credential.chain)
    (register.folder / "server.pem").write_bytes(chain + encode("PRIVATE KEY", encode_private(key)))
    return credential


@contextmanager
def s_server(register: Register, *options: str | Path) -> Generator[str, None, None]:
    """OpenSSL's server for as many connections as there are modes; its port."""
    command = (tool("openssl"), "s_server", "-accept", f"{HOST}:0", "-cert", register.folder / "server.pem")
    with Program(*command, "-naccept", str(len(MODES)), *options) as server:
        yield server.output.expect(r"ACCEPT [^\n]*:(\d+)")
