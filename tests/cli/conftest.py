"""Certificates in files, for commands that read them."""

from __future__ import annotations

import pytest

from handclasp.lab.ca import CertificateAuthority

from .commands import Files


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority) -> Files:
    folder = tmp_path_factory.mktemp("files")
    server = authority.issue_pem("localhost", "127.0.0.1")
    client = authority.issue_pem(common_name="Me", usage="client")
    stranger = CertificateAuthority("stranger").issue_pem(common_name="Stranger", usage="client")
    contents = {
        "ca": authority.pem(),
        "server": server.chain + server.key,
        "client": client.chain + client.key,
        "stranger": stranger.chain + stranger.key,
    }
    for name, content in contents.items():
        (folder / f"{name}.pem").write_bytes(content)
    return Files(*(str(folder / f"{name}.pem") for name in contents))
