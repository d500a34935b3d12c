"""A CA that is asked during the handshake, under every runtime: its answer counts, and its silence holds up nobody."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from handclasp import CertificateError, ClientAuth, ClientConfig, Credential, Evidence, Revocation, ServerConfig, fetch
from handclasp.lab.ca import CertificateAuthority
from handclasp.lab.responder import Fault, StatusServer

from .runtimes import Conn, Runtime


@pytest.fixture
def status() -> Iterator[StatusServer]:
    with StatusServer(CertificateAuthority("a CA to ask")) as server:
        yield server


def issued(status: StatusServer, way: str, name: str = "localhost", **options: Any) -> Credential:
    options[f"{way}_url"] = {"ocsp": status.ocsp_url, "crl": status.crl_url}[way]
    return status.ca.issue(name, **options)


async def fetch_later(url: str, **how: Any) -> bytes:
    return fetch(url, **how)


async def greet(conn: Conn) -> None:
    await conn.write(b"hello")
    await conn.close()


@pytest.mark.parametrize("fetching", [fetch, fetch_later], ids=["sync", "async"])
@pytest.mark.parametrize("way", ["ocsp", "crl"])
def test_a_client_asks(runtime: Runtime, status: StatusServer, way: str, fetching: Any) -> None:
    good, bad = issued(status, way), issued(status, way)
    status.ca.revoke(bad.leaf)
    client = ClientConfig(trust=status.ca.trust, revocation=Revocation("hard", fetch=fetching))

    async def story() -> None:
        async with runtime.serve(ServerConfig(credentials=[good]), greet, 10) as port:
            conn = await runtime.connect(port, client, 10)
            assert conn.info.revocation is Evidence(way)
            assert await conn.read() == b"hello"
            await conn.close()
        async with runtime.serve(ServerConfig(credentials=[bad]), greet, 10) as port:
            with pytest.raises(CertificateError) as caught:
                await runtime.connect(port, client, 10)
            assert caught.value.code == "revoked"

    runtime.run(story)
    assert status.asked == (["ocsp", "ocsp"] if way == "ocsp" else ["crl"])


@pytest.mark.parametrize("fetching", [fetch, fetch_later], ids=["sync", "async"])
def test_a_server_asks(runtime: Runtime, status: StatusServer, fetching: Any) -> None:
    good, bad = (issued(status, "ocsp", "staff.test", usage="client") for _ in range(2))
    status.ca.revoke(bad.leaf)
    auth = ClientAuth(verify=status.ca.trust, revocation=Revocation("hard", fetch=fetching))
    server = ServerConfig(credentials=[status.ca.issue("localhost")], client_auth=auth)
    greeted: list[Evidence | None] = []

    async def greet_known(conn: Conn) -> None:
        greeted.append(conn.info.revocation)
        await greet(conn)

    async def story() -> None:
        async with runtime.serve(server, greet_known, 10) as port:
            for mine, said in ((good, b"hello"), (bad, b"")):
                config = ClientConfig(trust=status.ca.trust, credentials=[mine])
                assert await said_to(runtime, port, config) == said

    runtime.run(story)
    assert greeted == [Evidence.OCSP]
    assert status.asked == ["ocsp", "ocsp"]


async def said_to(runtime: Runtime, port: int, config: ClientConfig) -> bytes:
    """What the server says; a refusal comes after our own handshake is done."""
    conn = await runtime.connect(port, config, 10)
    try:
        return await conn.read()
    except Exception:
        return b""
    finally:
        await conn.close()


def test_a_silent_ca_holds_up_nobody_else(runtime: Runtime, status: StatusServer) -> None:
    status.fault = Fault.SLOW
    slow = ClientConfig(trust=status.ca.trust, revocation=Revocation("hard", timeout=10))
    quick = ClientConfig(trust=status.ca.trust)
    done: list[str] = []

    async def story() -> None:
        async with runtime.serve(ServerConfig(credentials=[issued(status, "ocsp")]), greet, 20) as port:

            async def ask() -> None:
                with pytest.raises(CertificateError) as caught:
                    await runtime.connect(port, slow, 20)
                done.append(caught.value.code)

            async def do_not_ask() -> None:
                for _ in range(3):
                    conn = await runtime.connect(port, quick, 10)
                    assert await conn.read() == b"hello"
                    await conn.close()
                done.append("three others")
                await runtime.elsewhere(status.close)

            await runtime.together(ask, do_not_ask)

    runtime.run(story)
    assert done == ["three others", "revocation-unknown"]
