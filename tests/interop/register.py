"""A CA whose register OpenSSL keeps: its responder, its lists, its responses to be stapled."""

from __future__ import annotations

import subprocess
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from handclasp import Credential
from handclasp.crypto.keys import encode_private
from handclasp.identity.pem import encode
from handclasp.lab.ca import CertificateAuthority
from handclasp.lab.responder import delegate
from handclasp.lab.statements import Speaker
from interop.programs import DEADLINE, Program, tool


@dataclass
class Register:
    """OpenSSL's index of issued certificates, and its responder over it."""

    folder: Path
    ca: CertificateAuthority

    def __post_init__(self) -> None:
        (self.folder / "ca.pem").write_bytes(self.ca.pem())
        self.sign_as(delegate(self.ca))
        self.index = self.folder / "index.txt"
        self.index.touch()

    def sign_as(self, speaker: Speaker) -> None:
        """Whose certificate and key sign what comes next."""
        (self.folder / "signer.pem").write_bytes(speaker.certificate.pem())
        (self.folder / "signer.key").write_bytes(encode("PRIVATE KEY", encode_private(speaker.key)))

    def enter(self, credential: Credential, *, revoked: bool = False) -> None:
        """Add a line; the responder reads the file when it starts."""
        ends = f"{datetime.now(UTC) + timedelta(days=30):%y%m%d%H%M%SZ}"
        taken = f"{datetime.now(UTC) - timedelta(days=1):%y%m%d%H%M%SZ},keyCompromise" if revoked else ""
        serial = f"{credential.leaf.serial:X}"
        serial = serial.zfill(len(serial) + len(serial) % 2)
        with self.index.open("a") as index:
            index.write(f"{'R' if revoked else 'V'}\t{ends}\t{taken}\t{serial}\tunknown\t/CN={serial}\n")

    def signing(self) -> list[str | Path]:
        return [
            "-index", self.index, "-CA", self.folder / "ca.pem",
            "-rsigner", self.folder / "signer.pem", "-rkey", self.folder / "signer.key", "-ndays", "1",
        ]  # fmt: skip

    def staple(self, *credentials: Credential, options: Sequence[str | Path] = ()) -> bytes:
        """One response about these certificates, made without a network."""
        request, response = self.folder / "request.der", self.folder / "response.der"
        asked: list[str | Path] = ["-no_nonce", "-issuer", self.folder / "ca.pem"]
        for number, credential in enumerate(credentials):
            file = self.folder / f"asked{number}.pem"
            file.write_bytes(credential.leaf.pem())
            asked += ["-cert", file]
        run("ocsp", *asked, "-reqout", request)
        run("ocsp", *self.signing(), *options, "-reqin", request, "-respout", response)
        return response.read_bytes()

    def list(self) -> bytes:
        """The revocation list over the register, PEM, signed by who signs."""
        (self.folder / "crlnumber").write_text("01\n")
        (self.folder / "ca.cnf").write_text(
            f"[ca]\ndefault_ca=d\n[d]\ndatabase={self.index}\ncrlnumber={self.folder / 'crlnumber'}\n"
            "default_md=sha256\ndefault_crl_days=1\ncrl_extensions=e\n[e]\nauthorityKeyIdentifier=keyid\n"
        )
        signer = ("-cert", self.folder / "signer.pem", "-keyfile", self.folder / "signer.key")
        run("ca", "-gencrl", "-config", self.folder / "ca.cnf", *signer, "-out", self.folder / "list.pem")
        return (self.folder / "list.pem").read_bytes()

    @contextmanager
    def responder(self, port: int, *options: str | Path) -> Generator[Program, None, None]:
        with Program(tool("openssl"), "ocsp", "-port", str(port), *self.signing(), *options) as program:
            program.errors.expect("waiting for OCSP client connections")
            yield program


def run(*arguments: str | Path) -> None:
    subprocess.run([tool("openssl"), *arguments], check=True, capture_output=True, timeout=DEADLINE)
