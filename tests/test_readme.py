"""The README's Python runs as it is printed, against servers and files of the test's own."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Any

import pytest

import handclasp
from handclasp import ClientConfig, ClientConnection, Credential, ServerConfig, ServerConnection, TrustStore
from handclasp.lab.ca import CertificateAuthority
from handclasp.lab.pair import handshake

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
CLIENT, SERVER, ASYNCIO, SANS_IO, TRUST, SESSIONS, REVOCATION, CLIENT_AUTH = BLOCKS


def test_the_client(
    credential: Credential, trust: TrustStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    connect = handclasp.connect
    with handclasp.listen(("127.0.0.1", 0), ServerConfig(credentials=[credential])) as listener:

        def answer() -> None:
            with listener.accept() as tls:
                assert tls.recv(1000).startswith(b"GET / HTTP/1.1\r\nHost: example.com")
                tls.sendall(b"HTTP/1.1 200 OK\r\n\r\nhello")

        def near(host: str, port: int) -> Any:
            assert (host, port) == ("example.com", 443)
            return connect("127.0.0.1", listener.address[1], ClientConfig(trust=trust), server_name="example.test")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        monkeypatch.setattr(handclasp, "connect", near)
        exec(CLIENT, {})
        thread.join(10)
    printed = capsys.readouterr().out
    assert printed.startswith("TLS 1.3 X25519MLKEM768 ")
    assert printed.endswith("hello\n")


def test_asyncio(
    credential: Credential, trust: TrustStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    open_connection = handclasp.aio.open_connection
    with handclasp.listen(("127.0.0.1", 0), ServerConfig(credentials=[credential])) as listener:

        def answer() -> None:
            with listener.accept() as tls:
                assert tls.recv(1000).startswith(b"GET / HTTP/1.1\r\nHost: example.com")
                tls.sendall(b"HTTP/1.1 200 OK\r\n\r\nhello")

        async def near(host: str, port: int) -> Any:
            assert (host, port) == ("example.com", 443)
            config = ClientConfig(trust=trust)
            return await open_connection("127.0.0.1", listener.address[1], config, server_name="example.test")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        monkeypatch.setattr(handclasp.aio, "open_connection", near)
        exec(ASYNCIO, {})
        thread.join(10)
    assert capsys.readouterr().out == "TLS 1.3 b'HTTP/1.1 200 OK\\r\\n'\n"


def test_the_server(
    authority: CertificateAuthority, trust: TrustStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = authority.issue_pem("localhost")
    (tmp_path / "chain.pem").write_bytes(pair.chain)
    (tmp_path / "key.pem").write_bytes(pair.key)
    monkeypatch.chdir(tmp_path)
    listeners: list[handclasp.Listener] = []
    listen = handclasp.listen

    def anywhere(address: tuple[str, int], config: ServerConfig) -> handclasp.Listener:
        assert address == ("127.0.0.1", 8443)
        listeners.append(listen(("127.0.0.1", 0), config))
        ready.set()
        return listeners[0]

    ready = threading.Event()
    monkeypatch.setattr(handclasp, "listen", anywhere)
    thread = threading.Thread(target=exec, args=(SERVER, {}), daemon=True)
    thread.start()
    assert ready.wait(10)
    port = listeners[0].address[1]
    with handclasp.connect("127.0.0.1", port, ClientConfig(trust=trust), server_name="localhost") as tls:
        tls.sendall(b"echo")
        assert tls.recv(100) == b"echo"
    listeners[0].close()
    thread.join(10)
    assert not thread.is_alive()


def test_without_io() -> None:
    names: dict[str, Any] = {}
    exec(SANS_IO, names)
    assert names["to_send"][:3] == b"\x16\x03\x01"
    assert names["conn"].waiting_for == ("ServerHello", "HelloRetryRequest")


def test_whom_to_trust(
    credential: Credential, authority: CertificateAuthority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "company-ca.pem").write_bytes(authority.pem())
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(TRUST, names)
    server = ServerConfig(credentials=[credential])
    met = handshake(ClientConnection(names["config"], "localhost"), ServerConnection(server))
    assert met.client.established
    with pytest.raises(handclasp.CertificateError):
        handshake(ClientConnection(ClientConfig(trust=names["pinned"]), "localhost"), ServerConnection(server))


def test_sessions(
    authority: CertificateAuthority, trust: TrustStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = authority.issue_pem("localhost")
    (tmp_path / "chain.pem").write_bytes(pair.chain)
    (tmp_path / "key.pem").write_bytes(pair.key)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(SESSIONS, names)
    client = names["client"].replace(trust=trust)
    resumed = []
    for _ in range(2):
        met = handshake(ClientConnection(client, "localhost"), ServerConnection(names["server"]))
        resumed.append(met.client.info.resumed)
    assert resumed == [False, True]


def test_with_the_ca_itself() -> None:
    names: dict[str, Any] = {}
    exec(REVOCATION, names)
    assert names["careful"].revocation == handclasp.Revocation("hard")
    assert names["staff"].revocation.crls == ("/etc/pki/crls",)


def test_client_certificates(authority: CertificateAuthority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "staff-ca.pem").write_bytes(authority.pem())
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(CLIENT_AUTH, names)
    assert names["staff"].roots.certificates == (authority.root,)
    settings = [(names[name].required, names[name].unverified.value) for name in ("auth", "asked", "told")]
    assert settings == [(True, "refuse"), (False, "refuse"), (False, "anonymous")]
