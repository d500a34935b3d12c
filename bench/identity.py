"""The one certificate all libraries show and verify: a P-256 leaf for localhost under one P-256 root."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from handclasp.identity.credentials import Credential
from handclasp.identity.trust import TrustStore
from handclasp.lab.ca import CertificateAuthority

NAME = "localhost"


@dataclass(frozen=True)
class Identity:
    """As files, for those who want files."""

    chain: Path
    key: Path
    root: Path

    @property
    def credential(self) -> Credential:
        return Credential.from_files(self.chain, self.key)

    @property
    def trust(self) -> TrustStore:
        return TrustStore.from_file(self.root)


def make_identity(folder: Path) -> Identity:
    """A new CA and leaf, written to a folder."""
    ca = CertificateAuthority("bench root")
    pair = ca.issue_pem(NAME)
    identity = Identity(folder / "chain.pem", folder / "key.pem", folder / "root.pem")
    identity.chain.write_bytes(pair.chain)
    identity.key.write_bytes(pair.key)
    identity.root.write_bytes(ca.pem())
    return identity
