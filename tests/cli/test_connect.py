"""`connect`: what it reports of a good connection, and the cause and exit code of each bad one."""

from __future__ import annotations

import errno
import json
import re
import shutil
import socket
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import handclasp
from handclasp import ClientAuth, Credential, NamedGroup, ServerConfig, TrustStore
from handclasp.cli.__main__ import main
from handclasp.cli.diagnosis import Attempt, diagnose, problem
from handclasp.cli.problems import CATALOGUE, frame
from handclasp.cli.terminal import Look
from handclasp.lab.ca import CertificateAuthority
from handclasp.wire.names import TLSVersion
from streams.patience import waits_less_than

from .commands import Files, answering, command, environment, tls_server

Printed = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def no_keylog(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSLKEYLOGFILE", raising=False)


@pytest.fixture
def port(credential: Credential) -> Iterator[int]:
    with tls_server(ServerConfig(credentials=[credential], alpn=["h2", "http/1.1"])) as found:
        yield found


# --- what goes well --------------------------------------------------------------------------------------------------


def test_the_report(port: int, files: Files, capsys: Printed) -> None:
    assert main(["connect", f"localhost:{port}", "--only-ca", files.ca]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    lines = printed.out.splitlines()
    assert len(lines) <= 18
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith(f"✓ localhost:{port}  TLS 1.3, certificate trusted · ")
    assert "X25519MLKEM768 post-quantum" in printed.out
    assert "h2 (offered h2, http/1.1)" in printed.out
    assert "root  ✓ handclasp test CA" in printed.out
    assert "in ca.pem" in printed.out
    assert "\x1b" not in printed.out


@pytest.mark.parametrize(
    "form", ["localhost:{}", "https://localhost:{}/some/path", "tls://localhost:{}", "127.0.0.1:{}"]
)
def test_forms_of_targets(form: str, port: int, files: Files, capsys: Printed) -> None:
    assert main(["connect", form.format(port), "--ca", files.ca]) == 0
    assert "certificate trusted" in capsys.readouterr().out


def test_dialling_elsewhere(port: int, files: Files, capsys: Printed) -> None:
    assert main(["connect", "example.test", "--at", f"127.0.0.1:{port}", "--only-ca", files.ca]) == 0
    assert capsys.readouterr().out.startswith("✓ example.test:443")
    assert main(["connect", f"127.0.0.1:{port}", "--name", "example.test", "--only-ca", files.ca]) == 0


def test_the_conversation(port: int, files: Files, capsys: Printed) -> None:
    assert main(["connect", f"localhost:{port}", "--only-ca", files.ca, "--steps"]) == 0
    told = capsys.readouterr().out
    order = [
        "ClientHello",
        "ServerHello",
        "derive",
        "EncryptedE",
        "Certificate ",
        "CertificateV",
        "✓ nothing was",
        "ready",
    ]
    places = [told.index(word) for word in order]
    assert places == sorted(places)
    assert "✓ it owns the key" in told
    assert max(map(len, told.splitlines())) <= 80


def test_every_byte(port: int, files: Files, capsys: Printed) -> None:
    assert main(["connect", f"localhost:{port}", "--only-ca", files.ca, "--bytes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ok"]
    assert main(["connect", f"localhost:{port}", "--only-ca", files.ca, "--bytes"]) == 0
    told = capsys.readouterr().out
    hello = told[told.index("ClientHello") : told.index("◀── ServerHello")]
    size = int(hello.split(" B ")[0].split("ClientHello")[1].replace(" ", ""))
    shown = [line[7:31].split() for line in hello.splitlines()[1:-1]]
    assert sum(map(len, shown)) == size
    assert '"localhost"' in hello
    assert max(map(len, told.splitlines())) <= 80


def test_reasons(port: int, files: Files, capsys: Printed) -> None:
    assert main(["connect", f"localhost:{port}", "--only-ca", files.ca, "-v"]) == 0
    assert "TLS_AES_128_GCM_SHA256: the server's choice among ours" in capsys.readouterr().out


def test_a_second_hello(credential: Credential, files: Files, capsys: Printed) -> None:
    with tls_server(ServerConfig(credentials=[credential], groups=[NamedGroup.SECP384R1])) as port:
        assert main(["connect", f"localhost:{port}", "--only-ca", files.ca, "--steps"]) == 0
    told = capsys.readouterr().out
    assert "2 round trips" in told
    assert "HelloRetryRequest" in told
    assert told.count("──▶ ClientHello") == 2


def test_json(port: int, files: Files, capsys: Printed) -> None:
    assert main(["connect", f"localhost:{port}", "--only-ca", files.ca, "--json"]) == 0
    printed = capsys.readouterr()
    found: dict[str, Any] = json.loads(printed.out)
    assert printed.err == ""
    assert (found["handclasp"], found["command"], found["ok"], found["exit"], found["verified"]) == (
        1,
        "connect",
        True,
        0,
        True,
    )
    assert found["target"] == f"localhost:{port}"
    assert found["peer"] == {"address": "127.0.0.1", "port": port, "sni": "localhost"}
    assert found["tls"]["version"] == "1.3"
    assert found["tls"]["group"] == "X25519MLKEM768"
    assert found["tls"]["post_quantum"] is True
    assert found["certificates"][0]["names"] == ["localhost", "example.test", "127.0.0.1"]
    assert found["trust"] == {"anchor": "handclasp test CA", "store": "in ca.pem", "revocation": "not-asked"}
    assert found["timing_ms"]["total"] == pytest.approx(
        sum(found["timing_ms"][part] for part in ("dns", "tcp", "tls")), abs=0.01
    )
    assert found["messages"][0]["type"] == "ClientHello"
    assert [message["encrypted"] for message in found["messages"]][:2] == [False, False]


def test_several_targets(port: int, files: Files, capsys: Printed) -> None:
    targets = [f"localhost:{port}", f"localhost:{port}"]
    assert main(["connect", targets[0], "--only-ca", files.ca, targets[1], "--json"]) == 0
    assert [json.loads(line)["ok"] for line in capsys.readouterr().out.splitlines()] == [True, True]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        free = listener.getsockname()[1]
    assert main(["connect", f"127.0.0.1:{free}", targets[0], "--only-ca", files.ca]) == 3
    assert "certificate trusted" in capsys.readouterr().out


def test_quiet(port: int, files: Files, capsys: Printed) -> None:
    assert main(["connect", f"localhost:{port}", "--only-ca", files.ca, "-q"]) == 0
    assert main(["connect", f"localhost:{port}", "--name", "wrong.test", "--only-ca", files.ca, "-q"]) == 6
    assert capsys.readouterr() == ("", "")


def test_insecure_says_so(port: int, capsys: Printed) -> None:
    assert main(["connect", f"localhost:{port}", "--insecure", "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["verified"] is False
    assert printed.err.count("\n") == 1
    assert "not checked" in printed.err
    assert main(["connect", f"localhost:{port}", "--insecure"]) == 0
    assert "certificate not checked" in capsys.readouterr().out


def test_key_log(port: int, files: Files, tmp_path: Path, capsys: Printed) -> None:
    log = tmp_path / "keys.txt"
    assert main(["connect", f"localhost:{port}", "--only-ca", files.ca, "--keylog", str(log)]) == 0
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert "CLIENT_TRAFFIC_SECRET_0 " in log.read_text()
    log.chmod(0o644)
    assert main(["connect", f"localhost:{port}", "--only-ca", files.ca, "--keylog", str(log)]) == 0
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert str(log) in capsys.readouterr().err
    assert main(["connect", f"localhost:{port}", "--only-ca", files.ca, "--keylog", str(tmp_path / "no" / "x")]) == 2


# --- using the connection --------------------------------------------------------------------------------------------

WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Odd: \x1b[31m\r\n\r\nhello"


def test_one_request(credential: Credential, files: Files, capsys: Printed) -> None:
    with tls_server(ServerConfig(credentials=[credential]), WHOLE) as port:
        assert main(["connect", f"localhost:{port}", "--only-ca", files.ca, "--get", "/"]) == 0
    printed = capsys.readouterr()
    assert printed.out == "HTTP/1.1 200 OK\nContent-Length: 5\nX-Odd: \\x1b[31m\n"
    assert "certificate trusted" in printed.err
    assert "5 B of body" in printed.err
    with tls_server(ServerConfig(credentials=[credential]), WHOLE) as port:
        assert main(["connect", f"localhost:{port}", "--only-ca", files.ca, "--get", "/", "-q"]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("answer", "code", "seen"),
    [
        (b"220 mail ready\r\n", "http.none", "The answer began: 220 mail ready"),
        (b"\r\n\r\n", "http.none", "None came."),
        (WHOLE.replace(b"5", b"5000"), "http.length", "5 B of 5 000 B came, and then the server said goodbye."),
        (WHOLE.replace(b"5", b"3"), "http.length", "5 B of 3 B came, and then the server said goodbye."),
    ],
)
def test_answers_that_are_none(
    answer: bytes, code: str, seen: str, credential: Credential, files: Files, capsys: Printed
) -> None:
    with tls_server(ServerConfig(credentials=[credential]), answer) as port:
        assert main(["connect", f"localhost:{port}", "--only-ca", files.ca, "--get", "/", "--json"]) == 9
    problem = json.loads(capsys.readouterr().out)["problem"]
    assert (problem["code"], problem["seen"].replace("\u202f", " ").replace("\xa0", " ")) == (code, seen)


def test_a_long_answer_is_not_read_to_its_end(credential: Credential, files: Files, capsys: Printed) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n" + bytes(2_000_000)
    with tls_server(ServerConfig(credentials=[credential]), answer) as port:
        assert main(["connect", f"localhost:{port}", "--only-ca", files.ca, "--get", "/"]) == 0
    assert "there is more" in capsys.readouterr().err


def test_an_answer_cut_short(credential: Credential, files: Files, capsys: Printed) -> None:
    def converse(sock: socket.socket) -> None:
        tls = handclasp.wrap(sock, ServerConfig(credentials=[credential]))
        tls.recv(65536)
        tls.sendall(WHOLE.replace(b"5", b"5000"))
        sock.shutdown(socket.SHUT_RDWR)

    with answering(converse) as port:
        assert main(["connect", f"localhost:{port}", "--only-ca", files.ca, "--get", "/", "--json"]) == 9
    found = json.loads(capsys.readouterr().out)
    assert found["problem"]["code"] == "conn.truncated"
    assert found["http"] == {
        "status": "HTTP/1.1 200 OK",
        "headers": found["http"]["headers"],
        "received": 5,
        "size": 5000,
    }


@pytest.mark.parametrize(
    ("goodbye", "code"),
    [(b"", "conn.truncated"), (bytes([21, 3, 3, 0, 2, 2, 80]), "conn.damaged")],
    ids=["cut", "in the clear"],
)
def test_a_connection_that_breaks(
    goodbye: bytes, code: str, credential: Credential, files: Files, capsys: Printed
) -> None:
    def converse(sock: socket.socket) -> None:
        handclasp.wrap(sock, ServerConfig(credentials=[credential])).recv(65536)
        sock.sendall(goodbye)
        sock.shutdown(socket.SHUT_RDWR)

    with answering(converse) as port:
        assert main(["connect", f"localhost:{port}", "--only-ca", files.ca, "--get", "/"]) == 9
    told = capsys.readouterr().err
    check_frame(told[told.index("✗") :], f"localhost:{port}", f"{code} · exit 9")


def test_a_server_that_stops_talking(credential: Credential, files: Files, capsys: Printed) -> None:
    with tls_server(ServerConfig(credentials=[credential])) as port:
        aim = ["connect", f"localhost:{port}", "--only-ca", files.ca, "--get", "/", "--json", "-q"]
        exit_code, code = 0, ""
        for timeout in ("0.5", "2", "8"):  # on a busy machine the handshake may be what takes too long
            exit_code = main([*aim, "--timeout", timeout])
            code = json.loads(capsys.readouterr().out)["problem"]["code"]
            if code != "net.silent":
                break
    assert (exit_code, code) == (9, "conn.silent")


def test_talking(credential: Credential, files: Files) -> None:
    def echo(sock: socket.socket) -> None:
        with handclasp.wrap(sock, ServerConfig(credentials=[credential])) as tls:
            while data := tls.recv(65536):
                tls.sendall(data[::-1])

    with answering(echo) as port:
        done = subprocess.run(
            command("connect", f"localhost:{port}", "--only-ca", files.ca, "--talk"),
            env=environment(),
            input=b"abc",
            capture_output=True,
            timeout=30,
            check=False,
        )
    assert (done.returncode, done.stdout) == (0, b"cba")
    assert b"certificate trusted" in done.stderr


# --- our certificate -------------------------------------------------------------------------------------------------


@pytest.fixture
def strict_port(credential: Credential, authority: CertificateAuthority, trust: TrustStore) -> Iterator[int]:
    auth = ClientAuth(verify=trust, authorities=[authority.certificate.subject_der])
    with tls_server(ServerConfig(credentials=[credential], client_auth=auth)) as found:
        yield found


def test_the_server_wants_our_certificate(strict_port: int, files: Files, capsys: Printed) -> None:
    aim = ["connect", f"localhost:{strict_port}", "--only-ca", files.ca]
    assert main(aim) == 7
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "client.cert-required · exit 7 · alert received: certificate_required" in printed.err
    assert "accepts CAs   handclasp test CA" in printed.err
    assert main([*aim, "--cert", files.client]) == 0
    assert "we showed     Me" in capsys.readouterr().out
    assert main([*aim, "--cert", files.stranger]) == 7
    printed = capsys.readouterr()
    assert "client.cert-rejected · exit 7 · alert received: unknown_ca" in printed.err
    assert "issued by     stranger" in printed.err


def test_a_server_of_tls_1_2_that_wants_our_certificate(
    credential: Credential, trust: TrustStore, authority: CertificateAuthority, files: Files, capsys: Printed
) -> None:
    auth = ClientAuth(verify=trust, authorities=[authority.certificate.subject_der])
    config = ServerConfig(credentials=[credential], client_auth=auth, versions=[TLSVersion.TLS_1_2])
    with tls_server(config) as port:
        aim = ["connect", f"localhost:{port}", "--only-ca", files.ca]
        assert main(aim) == 7
        printed = capsys.readouterr()
        assert "client.cert-required" in printed.err
        assert "accepts CAs   handclasp test CA" in printed.err
        assert main([*aim, "--cert", files.client, "--steps"]) == 0
        assert "now show yours" in capsys.readouterr().out
        assert main([*aim, "--cert", files.stranger]) == 7
        assert "client.cert-rejected" in capsys.readouterr().err


def test_a_server_that_only_asks(credential: Credential, trust: TrustStore, files: Files, capsys: Printed) -> None:
    auth = ClientAuth(verify=trust, required=False)
    with tls_server(ServerConfig(credentials=[credential], client_auth=auth)) as port:
        assert main(["connect", f"localhost:{port}", "--only-ca", files.ca]) == 0
    assert "went on without one" in capsys.readouterr().out


# --- what goes wrong -------------------------------------------------------------------------------------------------


def test_certificates_that_are_refused(authority: CertificateAuthority, files: Files, capsys: Printed) -> None:
    now = datetime.now(UTC)
    cases = {
        "cert.name-mismatch": authority.issue("other.test"),
        "cert.expired": authority.issue("localhost", not_before=now - timedelta(days=9), days=6),
        "cert.not-yet-valid": authority.issue("localhost", not_before=now + timedelta(days=5)),
        "cert.no-san": authority.issue("localhost", san=False),
        "cert.wrong-purpose": authority.issue("localhost", usage="client"),
        "cert.unknown-ca": CertificateAuthority("Private CA").issue("localhost"),
    }
    for code, shown in cases.items():
        with tls_server(ServerConfig(credentials=[shown])) as port:
            assert main(["connect", f"localhost:{port}", "--only-ca", files.ca]) == 6
            printed = capsys.readouterr()
            check_frame(printed.err, f"localhost:{port}", f"{code} · exit 6 · alert sent: ")
            assert printed.out == ""
            assert main(["connect", f"localhost:{port}", "--only-ca", files.ca, "--json", "-q"]) == 6
            found = json.loads(capsys.readouterr().out)
            assert found["problem"]["code"] == code
            assert found["problem"]["alert"]["direction"] == "sent"
            assert found["certificates"][0]["problems"] in ([code], [])
            assert found["verified"] is False


def close_at_once(sock: socket.socket) -> None:
    sock.recv(65536)


def say(words: bytes) -> Callable[[socket.socket], None]:
    def converse(sock: socket.socket) -> None:
        sock.recv(65536)
        sock.sendall(words)

    return converse


def alert(description: int) -> Callable[[socket.socket], None]:
    return say(bytes([21, 3, 3, 0, 2, 2, description]))


def stay_silent(sock: socket.socket) -> None:
    while sock.recv(65536):
        pass


@pytest.mark.parametrize(
    ("converse", "options", "code", "exit_code"),
    [
        (say(b"HTTP/1.1 400 Bad Request\r\n\r\n"), [], "peer.plain-http · exit 4", 4),
        (say(b"SSH-2.0-server\r\n"), [], "peer.not-tls · exit 4", 4),
        (say(b"220 mail.test ESMTP\r\n"), [], "peer.needs-starttls · exit 4", 4),
        (close_at_once, [], "hello.dropped (likely) · exit 5", 5),
        (alert(70), [], "hello.no-version · exit 5 · alert received: protocol_version", 5),
        (alert(40), [], "hello.refused (likely) · exit 5 · alert received: handshake_failure", 5),
        (alert(40), ["--groups", "x25519"], "hello.no-group (likely) · exit 5", 5),
        (alert(40), ["--suites", "TLS_AES_256_GCM_SHA384"], "hello.no-suite (likely) · exit 5", 5),
        (alert(40), ["--sigalgs", "ed25519"], "hello.no-sigalg (likely) · exit 5", 5),
        (alert(112), [], "hello.unknown-name · exit 5", 5),
        (alert(120), ["--alpn", "h2"], "hello.no-alpn · exit 5", 5),
        (say(bytes([22, 3, 3, 0, 4, 99, 0, 0, 0])), [], "hello.protocol · exit 5 · alert sent: unexpected_message", 5),
        (stay_silent, ["--timeout", "0.2"], "net.silent (likely) · exit 3", 3),
    ],
    ids=lambda value: value.split(" ")[0] if isinstance(value, str) else None,
)
def test_servers_that_fail(
    converse: Callable[[socket.socket], None],
    options: list[str],
    code: str,
    exit_code: int,
    files: Files,
    capsys: Printed,
) -> None:
    with answering(converse) as port:
        assert main(["connect", f"localhost:{port}", "--only-ca", files.ca, *options]) == exit_code
        check_frame(capsys.readouterr().err, f"localhost:{port}", code)


def test_no_overlap_with_our_own_server(credential: Credential, files: Files, capsys: Printed) -> None:
    with tls_server(ServerConfig(credentials=[credential], groups=[NamedGroup.X25519])) as port:
        assert main(["connect", f"localhost:{port}", "--only-ca", files.ca, "--groups", "P-256"]) == 5
        assert "hello.no-group (likely)" in capsys.readouterr().err
        assert main(["connect", f"localhost:{port}", "--only-ca", files.ca, "--alpn", "h2"]) == 5
        assert "hello.no-alpn" in capsys.readouterr().err


def test_nobody_there(files: Files, capsys: Printed) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        free = listener.getsockname()[1]
    assert main(["connect", f"127.0.0.1:{free}", "--only-ca", files.ca, "--json"]) == 3
    printed = capsys.readouterr()
    check_frame(printed.err, f"127.0.0.1:{free}", "net.refused · exit 3")
    assert json.loads(printed.out)["problem"]["certainty"] == "certain"


def test_a_host_that_does_not_answer() -> None:
    attempt = Attempt(target="192.0.2.7:443", host="192.0.2.7", name="192.0.2.7", address="192.0.2.7:443", timeout=2.5)
    found = diagnose(TimeoutError("timed out"), attempt)
    assert (found.code, found.exit) == ("net.timeout", 3)
    assert found.headline == "192.0.2.7:443 did not answer in 2.5 s"
    found = diagnose(OSError(errno.EHOSTUNREACH, "No route to host"), attempt)
    assert (found.code, found.exit) == ("net.unreachable", 3)


@pytest.mark.parametrize("code", list(CATALOGUE))
def test_every_entry_can_be_told(code: str) -> None:
    attempt = Attempt(target="shop.example.com:443", host="shop.example.com", name="shop.example.com")
    told = problem(code, attempt, "This is what we saw.", remedy="do this")
    check_frame("\n".join(frame(told, Look(colour=False))), "shop.example.com:443", f"{code} · exit {told.exit}")
    assert "{" not in told.headline + told.why + "".join(text for _, text in told.fixes)


def test_no_such_name(monkeypatch: pytest.MonkeyPatch, files: Files, capsys: Printed) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert main(["connect", "shop.exmaple.test", "--only-ca", files.ca]) == 3
    check_frame(capsys.readouterr().err, "shop.exmaple.test:443", "net.dns · exit 3")


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--only-ca", "/nowhere/ca.pem"], "file.missing"),
        (["--cert", "/nowhere/me.pem"], "file.missing"),
        (["--only-ca", __file__], "file.unreadable"),
        (["--key", "me.key"], "option"),
        (["--talk", "--json"], "option"),
        (["--get", "/", "--alpn", "h2"], "option"),
        (["--at", "127.0.0.1:none"], "option"),
    ],
)
def test_what_cannot_be_used(options: list[str], code: str, capsys: Printed) -> None:
    assert main(["connect", "localhost:1", *options]) == 2
    printed = capsys.readouterr()
    check_frame(printed.err, "localhost:1", f"{code} · exit 2")
    if printed.out:
        found = json.loads(printed.out)
        assert found["exit"] == 2
        assert found["problem"].keys() >= {"code", "certainty", "headline", "seen", "why", "fix", "facts", "alert"}


def test_a_key_of_another_certificate(files: Files, capsys: Printed) -> None:
    assert main(["connect", "localhost:1", "--cert", files.client, "--key", files.server]) == 2
    check_frame(capsys.readouterr().err, "localhost:1", "file.key-mismatch · exit 2")


def check_frame(text: str, target: str, code: str) -> None:
    """The frame of a failure: headline, what was seen, why or fix, code; short, and in words."""
    lines = text.splitlines()
    assert lines[0].startswith(f"✗ {target}")
    assert lines[-1].startswith(f"  {code}")
    assert len(lines) <= 19
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("  fix  ") for line in lines)
    assert not any(word in text for word in ("SSL routines", "_ssl.c", "Errno", "sslv3", "Traceback", "invalid"))


# --- against OpenSSL -------------------------------------------------------------------------------------------------

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="the openssl command is not here")


@contextmanager
def s_server(files: Files, *options: str) -> Iterator[int]:
    """`openssl s_server` on a free port. It takes port 0 and says which one it got."""
    arguments = ["openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", files.server, "-www", *options]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            for line in process.stdout or ():
                if line.startswith("ACCEPT"):
                    yield int(line.rpartition(":")[2])
                    break
            else:
                pytest.fail("s_server did not begin to listen")
        finally:
            process.kill()


@needs_openssl
def test_with_s_server(files: Files, capsys: Printed) -> None:
    with s_server(files) as port:
        assert main(["connect", f"127.0.0.1:{port}", "--only-ca", files.ca, "--get", "/"]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("HTTP/1.0 200 ok\n")
    assert "X25519" in printed.err


@needs_openssl
def test_with_an_old_s_server(files: Files, capsys: Printed) -> None:
    with s_server(files, "-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0") as port:
        assert main(["connect", f"127.0.0.1:{port}", "--only-ca", files.ca]) == 5
    check_frame(capsys.readouterr().err, f"127.0.0.1:{port}", "hello.no-version · exit 5")


@needs_openssl
def test_with_an_s_server_of_tls_1_2(files: Files, capsys: Printed) -> None:
    with s_server(files, "-tls1_2") as port:
        aim = ["connect", f"127.0.0.1:{port}", "--only-ca", files.ca]
        assert main([*aim, "--steps"]) == 0
        told = capsys.readouterr().out
        assert main([*aim, "--bytes"]) == 0
        explained = capsys.readouterr().out
        assert main([*aim, "--tls", "1.3"]) == 5
    check_frame(capsys.readouterr().err, f"127.0.0.1:{port}", "hello.no-version · exit 5")
    assert "TLS 1.2, certificate trusted" in told
    assert "(2 round trips)" in told
    assert re.search(r"◀── Certificate +[\d ]+ B   1 certificate$", told, re.MULTILINE)
    assert re.search(r"◀── ServerKeyExchange +[\d ]+ B   ✓ key share, signed$", told, re.MULTILINE)
    assert re.search(r"◀── ServerHelloDone +4 B   your turn$", told, re.MULTILINE)
    assert re.search(r"──▶ ClientKeyExchange +[\d ]+ B   the other key share$", told, re.MULTILINE)
    assert re.search(r"◀── ChangeCipherSpec +1 B   encrypted from here on$", told, re.MULTILINE)
    assert re.search(r"◀── Finished +16 B   ✓ nothing was altered$", told, re.MULTILINE)
    assert max(map(len, told.splitlines())) <= 80
    assert "named_curve  X25519" in explained
    assert "certificate_list length" in explained


def test_a_range_of_versions(port: int, files: Files, capsys: Printed) -> None:
    for wanted, version in (("1.2", "1.2"), ("1.3", "1.3"), ("1.2-1.3", "1.3")):
        assert main(["connect", f"localhost:{port}", "--only-ca", files.ca, "--tls", wanted, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["tls"]["version"] == version
    assert main(["connect", f"localhost:{port}", "--tls", "1.1"]) == 2
    assert "takes 1.2, 1.3, 1.2-1.3" in capsys.readouterr().err


@needs_openssl
def test_with_an_s_server_that_wants_our_certificate(files: Files, capsys: Printed) -> None:
    with s_server(files, "-Verify", "1", "-CAfile", files.ca, "-verify_return_error") as port:
        assert main(["connect", f"127.0.0.1:{port}", "--only-ca", files.ca]) == 7
        assert main(["connect", f"127.0.0.1:{port}", "--only-ca", files.ca, "--cert", files.client]) == 0
    assert "client.cert-required" in capsys.readouterr().err


@needs_openssl
def test_with_an_s_server_of_other_groups(files: Files, capsys: Printed) -> None:
    with s_server(files, "-groups", "P-256") as port:
        assert main(["connect", f"127.0.0.1:{port}", "--only-ca", files.ca, "--groups", "X25519"]) == 5
    assert "hello.no-group (likely)" in capsys.readouterr().err


def test_it_is_quick(port: int, files: Files, capsys: Printed) -> None:
    """It waits for nothing but its peer."""
    with waits_less_than(1):
        assert main(["connect", f"localhost:{port}", "--only-ca", files.ca, "--json"]) == 0
    timing = json.loads(capsys.readouterr().out)["timing_ms"]
    assert 0 < timing["tls"] <= timing["total"]
