"""`serve`: what its banner says works, nothing outside of the folder gets out, and every visit is one line."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

import handclasp
from handclasp import ClientConfig, Credential, TLSError, TrustStore
from handclasp.cli.__main__ import main
from handclasp.cli.site import Request, answer, locate, request

from .commands import Files, command, environment

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not here")
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="the openssl command is not here")


@dataclass
class Serving:
    """A running `handclasp serve`."""

    process: subprocess.Popen[str]
    log: Path
    banner: str
    port: int

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    @property
    def ca(self) -> str:
        found = re.search(r"--cacert (\S+)", self.banner)
        assert found is not None
        return found[1]

    def wait_for(self, text: str) -> str:
        """The log line with a text; waits until it is there."""
        ends = time.monotonic() + 30
        while time.monotonic() < ends:
            for line in self.log.read_text().splitlines():
                if text in line:
                    return line
            time.sleep(0.01)
        pytest.fail(f"no line with {text!r} in {self.log.read_text()!r}")

    def get(self, path: str, method: str = "GET", config: ClientConfig | None = None) -> tuple[str, bytes]:
        """(head, body) of one request, the path exactly as given."""
        config = config or ClientConfig(trust=TrustStore.from_file(self.ca))
        with handclasp.connect("127.0.0.1", self.port, config, server_name="localhost") as tls:
            tls.sendall(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode("utf-8", "surrogateescape"))
            whole = b"".join(iter(lambda: tls.recv(65536), b""))
        head, _, body = whole.partition(b"\r\n\r\n")
        return head.decode(), body


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[Serving]:
    log = folder.parent / "log.txt"
    with log.open("w") as errors:
        process = subprocess.Popen(
            command("serve", str(folder), "--on", ":0", *options),
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            encoding="utf-8",
        )
    with process:
        lines = []
        for line in process.stdout or ():
            lines.append(line)
            if not line.strip():
                break
        banner = "".join(lines)
        found = re.search(r"https://localhost:(\d+)/", banner)
        try:
            assert found is not None, log.read_text()
            yield Serving(process, log, banner, int(found[1]))
        finally:
            process.terminate()
    assert "Traceback" not in log.read_text()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    site = tmp_path / "site"
    (site / "sub").mkdir(parents=True)
    (site / "a.txt").write_text("hello\n")
    (site / "big.bin").write_bytes(bytes(range(256)) * 4096)
    (site / ".env").write_text("secret")
    (site / "sub" / "<b> & c.html").write_text("<p>")
    (tmp_path / "outside.txt").write_text("outside")
    (site / "out").symlink_to(tmp_path / "outside.txt")
    (site / "up").symlink_to(tmp_path)
    (site / "in").symlink_to("a.txt")
    (site / "loop").symlink_to("loop")
    return site


@pytest.fixture
def server(folder: Path) -> Iterator[Serving]:
    with serving(folder) as running:
        yield running


# --- files -----------------------------------------------------------------------------------------------------------


def test_files_and_folders(server: Serving, folder: Path) -> None:
    head, body = server.get("/a.txt")
    assert head.startswith("HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 6\r\n")
    assert body == b"hello\n"
    assert server.get("/big.bin")[1] == (folder / "big.bin").read_bytes()
    head, body = server.get("/a.txt", "HEAD")
    assert "Content-Length: 6" in head
    assert body == b""
    assert server.get("/in")[1] == b"hello\n"
    assert server.get("/a.txt?x=1#y")[1] == b"hello\n"
    assert server.get("/", "DELETE")[0].startswith("HTTP/1.1 405 ")
    line = server.wait_for("GET /big.bin")
    assert re.search(r"^  \d\d:\d\d:\d\d 127\.0\.0\.1:\d+  TLS 1\.3 \S+  200 GET /big\.bin  1\.0 MB  \S+ ms$", line)


def test_listings(server: Serving, folder: Path) -> None:
    page = server.get("/")[1].decode()
    assert re.findall(r'href="([^"]*)"', page) == ["./sub/", "./a.txt", "./big.bin", "./in"]
    page = server.get("/sub/")[1].decode()
    assert '<a href="./%3Cb%3E%20%26%20c.html">&lt;b&gt; &amp; c.html</a>' in page
    head, _ = server.get("//sub")
    assert "301" in head
    assert "Location: /sub/" in head
    (folder / "sub" / "index.html").write_text("index")
    assert server.get("/sub/")[1] == b"index"


OUTSIDE = [
    "/../outside.txt",
    "/sub/../../outside.txt",
    "/%2e%2e/outside.txt",
    "/..%2foutside.txt",
    "/%2e%2e%2foutside.txt",
    "/out",
    "/up/outside.txt",
    "/up/",
    "/.env",
    "/%2eenv",
    "/loop",
    "/..%5coutside.txt",
    "/%00",
    "//[x",
    f"/{'a' * 300}",
    "/%ff%fe",
    "/nothing",
    "/a.txt/x",
]


@pytest.mark.parametrize("path", OUTSIDE)
def test_nothing_outside_gets_out(path: str, folder: Path) -> None:
    assert locate(folder.resolve(), path) is None
    assert answer(folder.resolve(), Request("GET", path, "")).status == 404


def test_nothing_outside_gets_out_over_the_wire(server: Serving) -> None:
    for path in OUTSIDE:
        head, body = server.get(path)
        assert head.startswith("HTTP/1.1 404 ")
        assert body == b"404 Not Found\n"
    assert server.get("an absolute nonsense")[0].startswith("HTTP/1.1 400 ")


def test_requests_that_cannot_be_read() -> None:
    assert request(b"") is None
    assert request(b"GET /") is None
    assert request(b"GET / SPDY/9") is None
    assert request(b"GET /\x1b[31m HTTP/1.1") is None
    assert request(b"GET / HTTP/1.1\r\nhOst:  x:1 ") == Request("GET", "/", "x:1")


# --- TLS -------------------------------------------------------------------------------------------------------------


@needs_curl
def test_the_printed_command_works(server: Serving) -> None:
    line = next(line.strip() for line in server.banner.splitlines() if line.strip().startswith("curl"))
    done = subprocess.run([*line.split(), "-sS"], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    assert "a.txt" in done.stdout


@needs_curl
def test_a_client_that_does_not_trust_us(server: Serving) -> None:
    done = subprocess.run(["curl", "-sS", server.url], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 60
    assert server.wait_for("does not trust").endswith("client does not trust our CA (alert unknown_ca)")


@needs_openssl
def test_with_s_client(server: Serving) -> None:
    arguments = ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-servername", "localhost"]
    check = ["-CAfile", server.ca, "-verify_return_error", "-verify_hostname", "localhost", "-quiet"]
    done = subprocess.run(
        [*arguments, *check], input=b"GET /a.txt HTTP/1.1\r\n\r\n", capture_output=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(b"\r\n\r\nhello\n")


@needs_openssl
def test_an_old_client(server: Serving) -> None:
    arguments = ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-tls1_1"]
    weak = [*arguments, "-cipher", "DEFAULT@SECLEVEL=0"]
    done = subprocess.run(weak, input=b"", capture_output=True, timeout=30, check=False)
    assert done.returncode != 0
    assert "TLS 1.1" in server.wait_for("client is too old: it offers")


@needs_openssl
def test_a_client_of_tls_1_2(server: Serving) -> None:
    arguments = ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-tls1_2", "-quiet"]
    check = ["-servername", "localhost", "-CAfile", server.ca, "-verify_return_error"]
    request = b"GET /a.txt HTTP/1.1\r\n\r\n"
    done = subprocess.run([*arguments, *check], input=request, capture_output=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(b"\r\n\r\nhello\n")
    assert "TLS 1.2 " in server.wait_for("200 GET /a.txt")


def test_the_standard_library_as_client(server: Serving) -> None:
    context = ssl.create_default_context(cafile=server.ca)
    with (
        socket.create_connection(("127.0.0.1", server.port)) as sock,
        context.wrap_socket(sock, server_hostname="localhost") as tls,
    ):
        tls.sendall(b"GET /a.txt HTTP/1.1\r\n\r\n")
        assert tls.recv(65536).startswith(b"HTTP/1.1 200 OK")
        assert tls.version() == "TLSv1.3"


def test_plain_http_is_sent_to_https(server: Serving) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as sock:
        sock.sendall(b"GET /a.txt HTTP/1.1\r\nHost: localhost\r\n\r\n")
        reply = sock.makefile("rb").read().decode()
    assert reply.startswith("HTTP/1.1 308 ")
    assert f"Location: {server.url}/a.txt\r\n" in reply
    server.wait_for("plain HTTP sent here; redirected to https")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (b"\x16\x03\x01", "client left without a goodbye"),
        (b"\x00" * 16, "what was sent here is not TLS"),
        (b"hello?\r\n\r\n", "neither TLS nor HTTP"),
        (b"", "client left without a goodbye"),
    ],
)
def test_visitors_that_speak_something_else(server: Serving, words: bytes, line: str) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as sock:
        sock.sendall(words)
        sock.shutdown(socket.SHUT_WR)
        server.wait_for(line)


def test_visitors_that_say_nothing_hold_up_nobody(server: Serving) -> None:
    """Before their handshake, or behind it."""
    config = ClientConfig(trust=TrustStore.from_file(server.ca))
    with ExitStack() as leaving:
        for _ in range(70):
            leaving.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        for _ in range(3):
            leaving.enter_context(handclasp.connect("127.0.0.1", server.port, config, server_name="localhost"))
        assert server.get("/a.txt")[1] == b"hello\n"


def test_echo(folder: Path) -> None:
    with serving(folder, "--echo") as server:
        head, body = server.get("/")
    found = json.loads(body)
    assert "application/json" in head
    assert found["group"] == "X25519MLKEM768"
    assert found["post_quantum"] is True
    assert found["server_name"] == "localhost"
    assert found["offered"]["versions"] == ["TLS 1.3", "TLS 1.2"]
    assert found["offered"]["key_shares"] == ["X25519MLKEM768", "X25519"]
    assert found["offered"]["grease"] is True
    assert found["offered"]["client_hello_bytes"] > 1216


def test_client_certificates(folder: Path, files: Files) -> None:
    with serving(folder, "--mtls", files.ca) as server:
        trust = TrustStore.from_file(server.ca)
        ours = ClientConfig(trust=trust, credentials=[Credential.from_files(files.client)])
        assert server.get("/a.txt", config=ours)[1] == b"hello\n"
        with pytest.raises((TLSError, ConnectionError)):
            server.get("/a.txt")
        server.wait_for("handshake refused: the client sent no certificate, and one is required")


def test_our_own_certificate(folder: Path, files: Files) -> None:
    with serving(folder, "--cert", files.server, "-q") as server:
        assert "made now" not in server.banner
        assert "curl" not in server.banner
        assert server.get("/a.txt", config=ClientConfig(trust=TrustStore.from_file(files.ca)))[1] == b"hello\n"
    assert server.log.read_text() == ""


def test_more_names_and_a_file_for_the_root(folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "my ca.pem"
    with serving(folder, "--name", "app.test", "--ca-out", str(root)) as server:
        assert f"curl --cacert '{root}' " in server.banner
        config = ClientConfig(trust=TrustStore.from_file(root))
        handclasp.connect("127.0.0.1", server.port, config, server_name="app.test").close()
        handclasp.connect("127.0.0.1", server.port, config).close()
    assert b"PRIVATE" not in root.read_bytes()


# --- beginning and end -----------------------------------------------------------------------------------------------


def test_the_banner(server: Serving) -> None:
    lines = server.banner.splitlines()
    assert max(map(len, lines[1:])) <= 80
    assert lines[0].startswith("✓ serving ")
    assert "localhost, 127.0.0.1, ::1 (made now, 29 days left)" in server.banner
    assert Path(server.ca).read_text().count("BEGIN CERTIFICATE") == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_it_stops_cleanly(folder: Path, number: signal.Signals, code: int) -> None:
    with serving(folder) as server:
        assert server.get("/a.txt")[1] == b"hello\n"
        server.process.send_signal(number)
        assert server.process.wait(30) == code
        assert not Path(server.ca).parent.exists()


def test_a_port_that_is_taken(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = f":{listener.getsockname()[1]}"
        assert main(["serve", str(folder), "--on", taken]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert f"✗ {taken}  something else listens here already" in printed.err
    assert "listen.in-use · exit 2" in printed.err


@pytest.mark.parametrize(
    "options",
    [
        ["/nowhere"],
        ["--cert", "/nowhere"],
        ["--key", "x"],
        ["--mtls", "/nowhere"],
        ["--on", "x"],
        ["--ca-out", "/nowhere/x"],
    ],
)
def test_what_cannot_be_used(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--on", ":0", *options]) == 2
    assert "exit 2" in capsys.readouterr().err
