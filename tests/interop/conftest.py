"""Fixtures of the interoperability tests."""

from __future__ import annotations

import pytest

from handclasp.lab.ca import CertificateAuthority
from interop.identities import Identities


@pytest.fixture(scope="session")
def identities(authority: CertificateAuthority, tmp_path_factory: pytest.TempPathFactory) -> Identities:
    """Leaves of the test CA, made when first asked for."""
    return Identities(authority, tmp_path_factory.mktemp("identities"))


@pytest.fixture(scope="session")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Identities:
    """Leaves of a CA that nobody trusts."""
    return Identities(CertificateAuthority("an unknown CA"), tmp_path_factory.mktemp("strangers"))
