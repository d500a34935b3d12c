"""What every test of the adapters needs: configurations, a runtime, and proof that nothing is left behind."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from handclasp import ClientConfig, Credential, ServerConfig, TrustStore
from handclasp.crypto.signatures import KeyKind
from handclasp.lab.ca import CertificateAuthority

from .runtimes import RUNTIMES, Runtime


@pytest.fixture(scope="session")
def identity(authority: CertificateAuthority, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A server's chain and key in one file, for the `ssl` module."""
    pair = authority.issue_pem("localhost", "127.0.0.1")
    path = tmp_path_factory.mktemp("identity") / "server.pem"
    path.write_bytes(pair.key + pair.chain)
    return path


@pytest.fixture(params=RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> Runtime:
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    found: Runtime = RUNTIMES[request.param]
    return found


@pytest.fixture(scope="session")
def credential(authority: CertificateAuthority) -> Credential:
    """Its signatures are all of one length: a handshake has as many bytes each time, and a fault hits the same one."""
    return authority.issue("localhost", "example.test", "127.0.0.1", key_kind=KeyKind.ED25519)


@pytest.fixture
def server_config(credential: Credential) -> ServerConfig:
    return ServerConfig(credentials=[credential])


@pytest.fixture
def client_config(trust: TrustStore) -> ClientConfig:
    return ClientConfig(trust=trust)


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """No socket and no thread outlives its test; an unclosed one warns, and warnings are errors."""
    gc.collect()
    before = sockets()
    yield
    gc.collect()
    assert sockets() <= before
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("handclasp")] == []


def sockets() -> set[str]:
    """The sockets this process has open, where the system tells."""
    found = set()
    for descriptor in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else ():
        with suppress(OSError):
            found.add(os.readlink(f"/proc/self/fd/{descriptor}"))
    return {name for name in found if name.startswith("socket:")}
