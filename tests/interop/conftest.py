"""Fixtures of the interoperability tests."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator

import pytest

from handclasp.lab.ca import CertificateAuthority
from interop.identities import Identities
from interop.observe import Seen, encoded
from interop.peers import VERSIONS


@pytest.fixture(scope="session")
def identities(authority: CertificateAuthority, tmp_path_factory: pytest.TempPathFactory) -> Identities:
    """Leaves of the test CA, made when first asked for."""
    return Identities(authority, tmp_path_factory.mktemp("identities"))


@pytest.fixture(scope="session")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Identities:
    """Leaves of a CA that nobody trusts."""
    return Identities(CertificateAuthority("an unknown CA"), tmp_path_factory.mktemp("strangers"))


@pytest.fixture(autouse=True)
def seen(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> Generator[Seen, None, None]:
    """What the test shows of the peer in its marker; recorded under `make interop` alone."""
    marker = request.node.get_closest_marker("peer")
    peer = marker.args[0] if marker else ""
    assert not marker or peer in VERSIONS
    shown = Seen(peer)
    if not os.environ.get("HANDCLASP_INTEROP") or not marker:
        yield shown
        return
    with monkeypatch.context() as patch:
        shown.watch(patch)
        yield shown
    record_property("seen", encoded(shown.facts()))
