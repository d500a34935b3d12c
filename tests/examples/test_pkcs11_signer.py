"""The key in a PKCS#11 module, tried with SoftHSM."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import handclasp
from handclasp import ClientConfig, Credential, ServerConfig, SignatureScheme, TLSVersion
from handclasp.crypto.signatures import KeyKind
from handclasp.lab.ca import CertificateAuthority
from interop.programs import meanwhile

pytest.importorskip("pkcs11", reason="python-pkcs11 is not installed")

from pkcs11_signer import ModuleSigner

MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
)
KINDS = {"P256": KeyKind.P256, "P384": KeyKind.P384, "RSA": KeyKind.RSA}
TOKEN, PIN = "handclasp", "1234"


@dataclass
class Module:
    """A token with a key of each kind, and the chains that go with them."""

    path: str
    chains: dict[str, bytes]

    def signer(self, label: str) -> ModuleSigner:
        return ModuleSigner(self.path, TOKEN, PIN, label, self.chains[label])


@pytest.fixture(scope="module")
def module(authority: CertificateAuthority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Module]:
    tool, path = shutil.which("softhsm2-util"), next((path for path in MODULES if Path(path).exists()), None)
    if tool is None or path is None:
        pytest.skip("SoftHSM is not installed")
    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    (folder / "conf").write_text(f"directories.tokendir = {folder / 'tokens'}\nobjectstore.backend = file\n")
    chains = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(folder / "conf"))
        _run(tool, "--init-token", "--free", "--label", TOKEN, "--pin", PIN, "--so-pin", "5678")
        for number, (label, kind) in enumerate(KINDS.items()):
            pair = authority.issue_pem("localhost", key_kind=kind)
            chains[label] = pair.chain
            key = folder / f"{label}.key"
            key.write_bytes(pair.key)
            imported = ("--import", key, "--token", TOKEN, "--label", label, "--id", f"{number:02}", "--pin", PIN)
            _run(tool, *imported)
            key.unlink()
        yield Module(path, chains)


def _run(*command: str | Path) -> None:
    ran = subprocess.run(command, capture_output=True, check=False)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("version", [TLSVersion.TLS_1_3, TLSVersion.TLS_1_2], ids=str)
@pytest.mark.parametrize("label", KINDS)
def test_handshakes_over_loopback(
    label: str, version: TLSVersion, module: Module, authority: CertificateAuthority
) -> None:
    signer = module.signer(label)
    credential = Credential.from_signer(module.chains[label], signer)
    config = ServerConfig(credentials=[credential], versions=[version])
    with handclasp.listen(("127.0.0.1", 0), config) as listener:

        def answer() -> None:
            with listener.accept() as tls:
                tls.sendall(b"hello")

        with (
            meanwhile(answer),
            handclasp.connect(
                "127.0.0.1", listener.address[1], ClientConfig(trust=authority.trust), server_name="localhost"
            ) as tls,
        ):
            assert tls.info.peer_certificates == credential.chain
            assert tls.recv(5) == b"hello"
    signer.close()


@pytest.mark.parametrize(
    "scheme",
    [
        SignatureScheme.RSA_PSS_RSAE_SHA256,
        SignatureScheme.RSA_PSS_RSAE_SHA384,
        SignatureScheme.RSA_PSS_RSAE_SHA512,
    ],
    ids=str,
)
def test_every_scheme_of_an_rsa_key(scheme: SignatureScheme, module: Module, authority: CertificateAuthority) -> None:
    signer = module.signer("RSA")
    credential = Credential.from_signer(module.chains["RSA"], signer)
    with handclasp.listen(("127.0.0.1", 0), ServerConfig(credentials=[credential])) as listener:
        client = ClientConfig(trust=authority.trust, signature_schemes=[scheme])
        with (
            meanwhile(lambda: listener.accept().close()),
            handclasp.connect("127.0.0.1", listener.address[1], client, server_name="localhost") as tls,
        ):
            assert tls.info.signature_scheme is scheme
    signer.close()
