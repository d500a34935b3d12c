"""The key in another process: handshakes work, and the process signs nothing but handshakes."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import handclasp
from handclasp import (
    CallbackError,
    ClientConfig,
    ClientConnection,
    Credential,
    ServerConfig,
    ServerConnection,
    SignatureScheme,
    TLSVersion,
)
from handclasp.crypto.signatures import KeyKind, PrivateKey
from handclasp.lab.ca import CertificateAuthority
from handclasp.lab.pair import Pair
from remote_signer import SIGNED_BY_SERVERS, RemoteSigner


@pytest.fixture(params=[KeyKind.P256, KeyKind.RSA], ids=lambda kind: kind.value)
def signed(request: pytest.FixtureRequest, authority: CertificateAuthority, tmp_path: Path) -> Iterator[Credential]:
    pair = authority.issue_pem("localhost", key_kind=request.param)
    (tmp_path / "chain.pem").write_bytes(pair.chain)
    (tmp_path / "key.pem").write_bytes(pair.key)
    with RemoteSigner(tmp_path / "chain.pem", tmp_path / "key.pem") as signer:
        yield Credential.from_signer(pair.chain, signer)


def test_handshakes_over_loopback(signed: Credential, authority: CertificateAuthority) -> None:
    config = ServerConfig(credentials=[signed], versions=[TLSVersion.TLS_1_3])
    with handclasp.listen(("127.0.0.1", 0), config) as listener:

        def answer() -> None:
            for _ in range(3):
                with listener.accept() as tls:
                    tls.sendall(b"hello")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        for _ in range(3):
            client = ClientConfig(trust=authority.trust)
            with handclasp.connect("127.0.0.1", listener.address[1], client, server_name="localhost") as tls:
                assert tls.info.peer_certificates == signed.chain
                assert tls.recv(5) == b"hello"
        thread.join()


def test_it_signs_what_a_server_signs_and_nothing_else(signed: Credential) -> None:
    scheme = signed.schemes[0]
    assert signed.signer.sign(scheme, SIGNED_BY_SERVERS + bytes(32))
    with pytest.raises(PermissionError):
        signed.signer.sign(scheme, b"a certificate, say")


def test_a_server_whose_signer_is_gone_refuses(signed: Credential, authority: CertificateAuthority) -> None:
    signer = signed.signer
    assert isinstance(signer, RemoteSigner)
    signer.process.kill()
    signer.process.wait()
    server = ServerConnection(ServerConfig(credentials=[signed]))
    pair = Pair(ClientConnection(ClientConfig(trust=authority.trust), "localhost"), server)
    pair.shuttle()
    (asked,) = pair.asked
    with pytest.raises(CallbackError) as caught:
        asked.question.put()
    with pytest.raises(CallbackError):
        server.answer(asked.question, caught.value)
    assert not server.established
    assert not pair.client.established


def test_the_server_holds_no_private_key(authority: CertificateAuthority, tmp_path: Path) -> None:
    def keys() -> int:
        gc.collect()
        return sum(isinstance(thing, PrivateKey) for thing in gc.get_objects())

    assert SignatureScheme.ECDSA_SECP256R1_SHA256  # the imports are done
    pair = authority.issue_pem("localhost")
    (tmp_path / "chain.pem").write_bytes(pair.chain)
    (tmp_path / "key.pem").write_bytes(pair.key)
    del pair
    opened: list[str] = []
    original = Path.read_bytes

    def watched(self: Path) -> bytes:
        opened.append(self.name)
        return original(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "read_bytes", watched)
        before = keys()
        with RemoteSigner(tmp_path / "chain.pem", tmp_path / "key.pem") as signer:
            assert signer.sign(SignatureScheme.ECDSA_SECP256R1_SHA256, SIGNED_BY_SERVERS + bytes(32))
            assert keys() == before
    assert opened == ["chain.pem"]
