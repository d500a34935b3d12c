"""Fixtures that many tests share: a certificate authority, credentials, and where the public test data is."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fuzz import seeds
from handclasp import Credential, TrustStore
from handclasp.lab.ca import CertificateAuthority

# What checks on behalf of tests says as much as they do, and checks under `python -O` too.
pytest.register_assert_rewrite("hazards.steps", "property.tapes", "rules.stage", "streams.runtimes")
pytest_plugins = ["handclasp.testing"]


@pytest.fixture(scope="session")
def authority() -> CertificateAuthority:
    """A throw-away CA for the whole run."""
    return CertificateAuthority("handclasp test CA")


@pytest.fixture(scope="session")
def trust(authority: CertificateAuthority) -> TrustStore:
    """Trusts `authority`, and nobody else."""
    return authority.trust


@pytest.fixture(scope="session")
def credential(authority: CertificateAuthority) -> Credential:
    """A server's certificate for localhost and example.test, with a P-256 key."""
    return authority.issue("localhost", "example.test", "127.0.0.1")


@pytest.fixture(scope="session")
def corpora() -> Path:
    """The folder of public test data; tests that need it are skipped where it is absent."""
    found = seeds.folder()
    if not found.is_dir():
        pytest.skip(f"no test data in {found}; set HANDCLASP_CORPORA")
    return found
