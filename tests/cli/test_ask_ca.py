"""`connect --ask-ca`: what the CA says of a certificate, and how that is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from handclasp import Credential, ServerConfig
from handclasp.cli.__main__ import main
from handclasp.lab.ca import CertificateAuthority
from handclasp.lab.responder import Fault, StatusServer

from .commands import tls_server

Printed = pytest.CaptureFixture[str]


@pytest.fixture
def status() -> Iterator[StatusServer]:
    with StatusServer(CertificateAuthority("a CA to ask")) as server:
        yield server


@pytest.fixture
def roots(status: StatusServer, tmp_path: Path) -> str:
    (tmp_path / "ca.pem").write_bytes(status.ca.pem())
    return str(tmp_path / "ca.pem")


@pytest.fixture
def credential(status: StatusServer) -> Credential:
    return status.ca.issue("localhost", ocsp_url=status.ocsp_url)


def test_a_good_certificate(status: StatusServer, credential: Credential, roots: str, capsys: Printed) -> None:
    with tls_server(ServerConfig(credentials=[credential])) as port:
        assert main(["connect", f"localhost:{port}", "--only-ca", roots]) == 0
        assert "asked the CA" not in capsys.readouterr().out
        assert status.asked == []
        assert main(["connect", f"localhost:{port}", "--only-ca", roots, "--ask-ca"]) == 0
        told = capsys.readouterr().out
        assert "asked the CA" in told
        assert "good by its CA's OCSP responder" in " ".join(told.split())
        assert max(map(len, told.splitlines())) <= 80
        assert main(["connect", f"localhost:{port}", "--only-ca", roots, "--ask-ca", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["trust"]["revocation"] == "ocsp"
        status.fault = Fault.TRY_LATER
        assert main(["connect", f"localhost:{port}", "--only-ca", roots, "--ask-ca"]) == 0
        assert "try_later" in capsys.readouterr().out
        assert main(["connect", f"localhost:{port}", "--only-ca", roots, "--ask-ca", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["trust"]["revocation"] == "no-answer"


def test_a_revoked_certificate(status: StatusServer, credential: Credential, roots: str, capsys: Printed) -> None:
    status.ca.revoke(credential.leaf)
    with tls_server(ServerConfig(credentials=[credential])) as port:
        assert main(["connect", f"localhost:{port}", "--only-ca", roots]) == 0
        capsys.readouterr()
        assert main(["connect", f"localhost:{port}", "--only-ca", roots, "--ask-ca"]) == 6
        told = capsys.readouterr().err
    assert told.startswith(f"✗ localhost:{port}  the CA has withdrawn this certificate")
    assert "keyCompromise" in told
    assert "cert.revoked · exit 6 · alert sent: certificate_revoked" in told
    assert max(map(len, told.splitlines())) <= 80


def test_staples_are_told_of(status: StatusServer, credential: Credential, roots: str, capsys: Printed) -> None:
    ca = status.ca
    good = credential.with_staple(ca.ocsp_response(credential.leaf))
    with tls_server(ServerConfig(credentials=[good])) as port:
        assert main(["connect", f"localhost:{port}", "--only-ca", roots]) == 0
        assert "the CA says" in capsys.readouterr().out
        assert main(["connect", f"localhost:{port}", "--only-ca", roots, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["trust"]["revocation"] == "staple"
    bad = credential.with_staple(b"junk")
    with tls_server(ServerConfig(credentials=[bad])) as port:
        assert main(["connect", f"localhost:{port}", "--only-ca", roots]) == 6
        assert "cert.bad-staple" in capsys.readouterr().err


def test_it_is_no_use_for_a_certificate_that_is_not_checked(capsys: Printed) -> None:
    assert main(["connect", "localhost:1", "--insecure", "--ask-ca"]) == 2
    assert "leave out --insecure" in capsys.readouterr().err
