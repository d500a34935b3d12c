"""A TLS server whose private key is in another process: whoever takes over the server cannot take the key along.

    python examples/remote_signer.py chain.pem key.pem 8443

The other process opens the key, and signs one kind of thing: what a TLS 1.3 server signs in a handshake. The two talk
over a pair of UNIX sockets; a signing service on another machine differs in the address alone.

    request: signature scheme (2 bytes), length (2 bytes), data         answer: length (2 bytes), signature
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Self

import cryptography.x509 as x509

from handclasp import Credential, ServerConfig, SignatureScheme, TLSVersion, listen

SIGNED_BY_SERVERS = b" " * 64 + b"TLS 1.3, server CertificateVerify\0"
"""How everything begins that the key is for (RFC 8446 §4.4.3): the other process signs nothing else."""


class RemoteSigner:
    """A `handclasp.Signer` without a key. Safe between threads: one signature after the other."""

    blocking = True  # it waits for an answer itself

    def __init__(self, chain: Path, key: Path) -> None:
        leaf = x509.load_pem_x509_certificates(chain.read_bytes())[0]
        self.public_key = leaf.public_key()
        self._ours, theirs = socket.socketpair()
        self._lock = threading.Lock()
        with theirs:
            self.process = subprocess.Popen([sys.executable, __file__, "--sign", chain, key], stdin=theirs.fileno())

    def sign(self, scheme: SignatureScheme, data: bytes) -> bytes:
        with self._lock:
            self._ours.sendall(scheme.to_bytes(2) + len(data).to_bytes(2) + data)
            signature = read(self._ours, int.from_bytes(read(self._ours, 2)))
        if not signature:
            raise PermissionError("the other process does not sign this")
        return signature

    def close(self) -> None:
        """End the other process."""
        self._ours.close()
        self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read(sock: socket.socket, size: int) -> bytes:
    """Just this many bytes. Raises EOFError."""
    data = b""
    while len(data) < size:
        chunk = sock.recv(size - len(data))
        if not chunk:
            raise EOFError("the other process is gone")
        data += chunk
    return data


def sign_for(sock: socket.socket, chain: str, key: str) -> None:
    """The other process: answer until nobody asks any more."""
    signer = Credential.from_files(chain, key).signer
    while head := sock.recv(4, socket.MSG_WAITALL):
        scheme = SignatureScheme(int.from_bytes(head[:2]))
        data = read(sock, int.from_bytes(head[2:]))
        signature = signer.sign(scheme, data) if data.startswith(SIGNED_BY_SERVERS) else b""
        if not isinstance(signature, bytes):
            raise TypeError("a key in memory signs at once")
        sock.sendall(len(signature).to_bytes(2) + signature)


def main(chain: str, key: str, port: str) -> None:
    with RemoteSigner(Path(chain), Path(key)) as signer:
        credential = Credential.from_signer(Path(chain).read_bytes(), signer)
        config = ServerConfig(credentials=[credential], versions=[TLSVersion.TLS_1_3])
        with listen(("127.0.0.1", int(port)), config) as listener:
            for tls in listener:
                with tls:
                    tls.sendall(b"signed elsewhere\n")


if __name__ == "__main__":
    if sys.argv[1] == "--sign":
        with socket.socket(fileno=sys.stdin.fileno()) as asker:
            sign_for(asker, *sys.argv[2:])
    else:
        main(*sys.argv[1:])
