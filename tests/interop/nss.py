"""A folder with certificates and keys as NSS keeps them, for its programs and for browsers."""

from __future__ import annotations

import subprocess
from pathlib import Path

from interop.identities import Identities, Identity
from interop.programs import DEADLINE, tool


class Database:
    """A folder that trusts a CA, and nobody else. The test is skipped where NSS's programs are not installed."""

    def __init__(self, folder: Path, trusted: Identities) -> None:
        for program in ("certutil", "pk12util", "openssl"):
            tool(program)
        self.folder = folder
        self.name = f"sql:{folder}"
        folder.mkdir(parents=True)
        _run("certutil", "-N", "-d", self.name, "--empty-password")
        _run("certutil", "-A", "-d", self.name, "-n", "root", "-t", "CT,C,C", "-i", trusted.root_file)

    def enter(self, identity: Identity) -> str:
        """Take in a leaf with its key; the nickname it has then."""
        nickname = identity.chain_file.stem
        bundle = self.folder / f"{nickname}.p12"
        _run("openssl", "pkcs12", "-export", "-in", identity.chain_file, "-inkey", identity.key_file,
             "-name", nickname, "-out", bundle, "-passout", "pass:")  # fmt: skip
        _run("pk12util", "-i", bundle, "-d", self.name, "-W", "")
        return nickname


def _run(program: str, *arguments: str | Path) -> None:
    subprocess.run([tool(program), *arguments], check=True, capture_output=True, timeout=DEADLINE)
