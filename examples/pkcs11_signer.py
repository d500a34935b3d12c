"""A TLS server whose private key never leaves a hardware module: a smart card, a network HSM, or SoftHSM to try it.

    pip install python-pkcs11
    softhsm2-util --init-token --free --label web --pin 1234 --so-pin 5678
    softhsm2-util --import key.pem --token web --label server --id 01 --pin 1234
    python examples/pkcs11_signer.py /usr/lib/softhsm/libsofthsm2.so web 1234 server chain.pem 8443

A key that is made inside of the module is better than one that is brought there: this way needs no second tool.
"""

from __future__ import annotations

import hashlib
import sys
import threading
from pathlib import Path
from typing import Any

import cryptography.x509 as x509
import pkcs11
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from pkcs11 import MGF, Mechanism, ObjectClass

from handclasp import Credential, ServerConfig, SignatureScheme, listen

ECDSA = {
    SignatureScheme.ECDSA_SECP256R1_SHA256: "sha256",
    SignatureScheme.ECDSA_SECP384R1_SHA384: "sha384",
    SignatureScheme.ECDSA_SECP521R1_SHA512: "sha512",
}

RSA: dict[SignatureScheme, tuple[Mechanism, Any]] = {
    SignatureScheme.RSA_PSS_RSAE_SHA256: (Mechanism.SHA256_RSA_PKCS_PSS, (Mechanism.SHA256, MGF.SHA256, 32)),
    SignatureScheme.RSA_PSS_RSAE_SHA384: (Mechanism.SHA384_RSA_PKCS_PSS, (Mechanism.SHA384, MGF.SHA384, 48)),
    SignatureScheme.RSA_PSS_RSAE_SHA512: (Mechanism.SHA512_RSA_PKCS_PSS, (Mechanism.SHA512, MGF.SHA512, 64)),
    SignatureScheme.RSA_PKCS1_SHA256: (Mechanism.SHA256_RSA_PKCS, None),
    SignatureScheme.RSA_PKCS1_SHA384: (Mechanism.SHA384_RSA_PKCS, None),
    SignatureScheme.RSA_PKCS1_SHA512: (Mechanism.SHA512_RSA_PKCS, None),
}
"""What the module is asked for; PKCS#1 is for TLS 1.2 alone."""


class ModuleSigner:
    """A `handclasp.Signer` for a key in a PKCS#11 module. Safe between threads: a session does one thing at a time."""

    blocking = True  # some modules take their time

    def __init__(self, module: str, token: str, pin: str, label: str, chain: bytes) -> None:
        self.public_key = x509.load_pem_x509_certificates(chain)[0].public_key()
        self._session = pkcs11.lib(module).get_token(token_label=token).open(user_pin=pin)
        self._key: Any = self._session.get_key(object_class=ObjectClass.PRIVATE_KEY, label=label)
        self._lock = threading.Lock()

    def sign(self, scheme: SignatureScheme, data: bytes) -> bytes:
        with self._lock:
            if scheme in ECDSA:
                digest = hashlib.new(ECDSA[scheme], data).digest()
                return _as_der(self._key.sign(digest, mechanism=Mechanism.ECDSA))
            mechanism, parameters = RSA[scheme]
            return bytes(self._key.sign(data, mechanism=mechanism, mechanism_param=parameters))

    def close(self) -> None:
        """Give the session back."""
        self._session.close()


def _as_der(signature: bytes) -> bytes:
    """Modules give the two numbers of an ECDSA signature side by side; TLS wants them in DER (RFC 8446 §4.2.3)."""
    half = len(signature) // 2
    return encode_dss_signature(int.from_bytes(signature[:half]), int.from_bytes(signature[half:]))


def main(module: str, token: str, pin: str, label: str, chain_path: str, port: str) -> None:
    chain = Path(chain_path).read_bytes()
    credential = Credential.from_signer(chain, ModuleSigner(module, token, pin, label, chain))
    with listen(("127.0.0.1", int(port)), ServerConfig(credentials=[credential])) as listener:
        for tls in listener:
            with tls:
                tls.sendall(b"signed in a module\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
