"""Against browsers without a window: Chromium and Firefox, with `handclasp serve` and with a server in the test.

A page's script sends something, gets it back, and reports what it got: all is asserted from the server's side.
They run under `make interop` alone, in a network of its own: a browser likes to call home.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Self

import pytest

import handclasp
from handclasp import (
    Alert,
    AlertReceived,
    ClientAuth,
    ConnectionInfo,
    NamedGroup,
    ServerConfig,
    TicketKeys,
    TLSSocket,
    TLSVersion,
    TruncatedError,
)
from handclasp.crypto.groups import POST_QUANTUM
from handclasp.trace import Direction
from interop import observe
from interop.identities import Identities, wrong_one
from interop.nss import Database
from interop.observe import Seen
from interop.programs import DEADLINE, HOST, Host, Program, Watch, tool

PATIENCE: Final = 60.0
"""Seconds for a browser to start and do something."""

PAGE: Final = """\
<!doctype html><title>handclasp</title><link rel="icon" href="data:,">
<script>
(async () => {
  const posted = "a line from the browser ".repeat(4000);
  for (let turn = 0; turn < 3; turn++) {
    const answer = await fetch("/echo", {method: "POST", body: posted});
    if (await answer.text() !== posted) return;
  }
  await fetch("/report", {method: "POST", body: "three times the same"});
})();
</script>
"""

CHROMIUM: Final = (
    "--headless",
    "--no-sandbox",  # as root there is none
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
)

FIREFOX: Final[Mapping[str, str]] = {
    "app.normandy.enabled": "false",
    "app.update.disabledForTesting": "true",
    "browser.aboutwelcome.enabled": "false",
    "browser.safebrowsing.malware.enabled": "false",
    "browser.safebrowsing.phishing.enabled": "false",
    "browser.shell.checkDefaultBrowser": "false",
    "browser.startup.homepage_override.mstone": '"ignore"',
    "datareporting.policy.dataSubmissionEnabled": "false",
    "extensions.getAddons.cache.enabled": "false",
    "network.captive-portal-service.enabled": "false",
    "network.connectivity-service.enabled": "false",
    "network.proxy.type": "0",
    "security.OCSP.enabled": "0",
    "security.default_personal_cert": '"Select Automatically"',
    "services.settings.server": '"data:,"',
}
"""Nothing that it does by itself; and a certificate of its own is shown without a question."""


class Browser:
    """One of them, with a folder of its own that trusts the CA of `trusted`."""

    def __init__(self, name: str, folder: Path, trusted: Identities) -> None:
        self.name = name
        self._folder = folder
        self._program = tool({"Chromium": "chromium", "Firefox": "firefox-esr"}[name])
        self.database = Database(folder / "profile" if name == "Firefox" else folder / ".pki" / "nssdb", trusted)

    def visiting(self, url: str) -> Program:
        """It opens a page and stays there."""
        if self.name == "Chromium":
            where: tuple[str, ...] = (*CHROMIUM, f"--user-data-dir={self._folder / 'data'}")
        else:
            profile = self.database.folder
            lines = [f'user_pref("{name}", {value});\n' for name, value in FIREFOX.items()]
            (profile / "user.js").write_text("".join(lines), encoding="utf-8")
            where = ("--headless", "--no-remote", "--profile", str(profile))
        surroundings = {
            "HOME": str(self._folder),
            "XDG_CONFIG_HOME": "",
            "XDG_CACHE_HOME": "",
            "MOZ_CRASHREPORTER_DISABLE": "1",
        }
        return Program(self._program, *where, url, environment=surroundings)


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.peer(name)) for name in ("Chromium", "Firefox")])
def browser(request: pytest.FixtureRequest, tmp_path: Path, identities: Identities) -> Browser:
    if not os.environ.get("HANDCLASP_INTEROP"):
        pytest.skip("browsers run under `make interop`")
    return Browser(request.param, tmp_path / "browser", identities)


class Site:
    """Our `listen`, with the page and its echo, for any number of connections at once."""

    def __init__(self, config: ServerConfig, *, keep: bool = False, update: bool = False) -> None:
        self.infos: list[ConnectionInfo] = []
        self.reports: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._keep, self._update = keep, update
        self._listener = handclasp.listen((HOST, 0), config, timeout=DEADLINE)
        self.url = f"https://localhost:{self._listener.address[1]}/"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        for tls in self._listener:
            self.infos.append(tls.info)
            threading.Thread(target=self._answer_all, args=(tls,), daemon=True).start()

    def _answer_all(self, tls: TLSSocket) -> None:
        tls.settimeout(PATIENCE)
        with tls, suppress(handclasp.TLSError, OSError), tls.makefile("rb") as reader:
            while self._answer(tls, reader) and self._keep:
                pass

    def _answer(self, tls: TLSSocket, reader: Any) -> bool:
        """One request, one answer; whether there was one."""
        request = reader.readline()
        length = 0
        while (line := reader.readline().strip().lower()) != b"":
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        body: bytes = reader.read(length) if request.startswith(b"POST") else PAGE.encode()
        if not request:
            return False
        if self._update:
            tls.update_keys(request_peer=True)
        kept = "keep-alive" if self._keep else "close"
        head = (
            f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(body)}\r\nConnection: {kept}\r\n\r\n"
        )
        tls.sendall(head.encode() + body)
        if request.startswith(b"POST /report "):
            self.reports.put(body.decode())
        return True


def visit(browser: Browser, site: Site) -> list[ConnectionInfo]:
    """Open the site's page, and wait until its script has done all it does; the connections there were."""
    with site, browser.visiting(site.url) as program:
        try:
            assert site.reports.get(timeout=PATIENCE) == "three times the same"
        except queue.Empty:
            raise AssertionError(f"no report came: {program.errors.so_far()[-2000:]!r}") from None
    return site.infos


# --- handclasp serve -------------------------------------------------------------------------------------------------


@contextmanager
def handclasp_serve(*options: str | Path) -> Generator[tuple[Program, str], None, None]:
    """The command, and the address it tells."""
    with Program(sys.executable, "-m", "handclasp", "serve", *options, "--on", f"{HOST}:0") as server:
        yield server, server.output.expect(r"(https://localhost:\d+/)")


def test_a_page_of_handclasp_serve(browser: Browser, seen: Seen, identities: Identities, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    script = 'fetch("/text").then(answer => answer.text()).then(text => fetch("/heard-" + text))'
    (tmp_path / "site" / "index.html").write_text(f"<!doctype html><script>{script}</script>", encoding="utf-8")
    (tmp_path / "site" / "text").write_text("it", encoding="utf-8")
    shown = identities.of()
    certificate = ("--cert", shown.chain_file, "--key", shown.key_file)
    with (
        handclasp_serve(tmp_path / "site", *certificate) as (server, url),
        browser.visiting(url),
    ):
        # the log tells what was agreed, and that the script had the text
        agreed = server.errors.expect(r"(TLS 1\.3 \S+)  200 GET / ", PATIENCE)
        server.errors.expect(r"404 GET /heard-it ", PATIENCE)
    assert agreed == f"TLS 1.3 {POST_QUANTUM[0]}"
    for kind, what in ((observe.HANDSHAKE, ""), (observe.FEATURE, observe.DATA), (observe.GROUP, str(POST_QUANTUM[0]))):
        seen.add("client", "TLS 1.3", kind, what)


# --- a server in the test --------------------------------------------------------------------------------------------


def test_it_sends_and_receives(browser: Browser, identities: Identities) -> None:
    watch = Watch()
    config = ServerConfig(credentials=[identities.of().credential], alpn=["http/1.1"], trace=watch)
    infos = visit(browser, Site(config, keep=True, update=True))
    used = [info for info in infos if info.alpn == "http/1.1"]
    assert used
    for info in used:
        assert info.version is TLSVersion.TLS_1_3
        # NamedGroup.X25519MLKEM768, wherever our primitives have it
        assert info.group is (*POST_QUANTUM, NamedGroup.X25519)[0]
        assert info.server_name == "localhost"
    assert watch.updates(Direction.SENT) >= 4
    assert watch.updates(Direction.RECEIVED) >= 1


def test_it_is_asked_to_retry(browser: Browser, identities: Identities) -> None:
    config = ServerConfig(credentials=[identities.of().credential], groups=[NamedGroup.SECP384R1])
    infos = visit(browser, Site(config))
    assert all(info.hello_retry and info.group is NamedGroup.SECP384R1 for info in infos)


@pytest.mark.parametrize("version", [TLSVersion.TLS_1_3, TLSVersion.TLS_1_2], ids=str)
def test_it_resumes(browser: Browser, version: TLSVersion, identities: Identities) -> None:
    config = ServerConfig(credentials=[identities.of().credential], versions=[version], tickets=TicketKeys())
    infos = visit(browser, Site(config))
    assert {info.version for info in infos} == {version}
    assert any(info.resumed for info in infos)


@pytest.mark.parametrize("version", [TLSVersion.TLS_1_3, TLSVersion.TLS_1_2], ids=str)
def test_it_shows_a_certificate(browser: Browser, version: TLSVersion, identities: Identities) -> None:
    if browser.name == "Chromium":
        pytest.skip("without a window Chromium shows a certificate only where the system's policy says which")
    browser.database.enter(identities.of())
    auth = ClientAuth(verify=identities.trust)
    config = ServerConfig(credentials=[identities.of().credential], versions=[version], client_auth=auth)
    infos = visit(browser, Site(config))
    assert {info.verified_chain[0].der for info in infos} == {identities.of().credential.leaf.der}


REFUSALS: Final = {
    "Firefox": {"name": Alert.BAD_CERTIFICATE, "CA": Alert.UNKNOWN_CA, "time": Alert.CERTIFICATE_EXPIRED},
    "Chromium": dict.fromkeys(("name", "CA", "time"), Alert.CERTIFICATE_UNKNOWN),
}

CHROMIUMS_REASONS: Final = {"name": "net_error -200", "CA": "net_error -202", "time": "net_error -201"}
"""ERR_CERT_COMMON_NAME_INVALID, ERR_CERT_AUTHORITY_INVALID, ERR_CERT_DATE_INVALID."""


def refusal(host: Host, config: ServerConfig) -> Alert | None:
    """With what a browser refuses us. It may first open connections that it has no use for then."""
    for _ in range(4):
        try:
            with host.accept(config) as tls:
                tls.recv(1)
        except AlertReceived as error:
            return error.alert
        except (TruncatedError, ConnectionError):
            pass
    raise AssertionError("no alert came")


@pytest.mark.parametrize("wrong", ["name", "CA", "time"])
def test_it_refuses(browser: Browser, wrong: str, identities: Identities, strangers: Identities) -> None:
    shown = wrong_one(wrong, identities, strangers)
    config = ServerConfig(credentials=[shown.credential])
    with Host(patience=PATIENCE) as host, browser.visiting(f"https://localhost:{host.port}/") as program:
        assert refusal(host, config) is REFUSALS[browser.name][wrong]
        if browser.name == "Chromium":
            program.errors.expect(CHROMIUMS_REASONS[wrong])
