"""Every way to be less safe. Nothing here is reachable from anywhere else, and each name says what it gives up.

Each function takes a configuration and returns a new one; the original stays as it was.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import TypeVar

from .config import ClientConfig, Config
from .crypto.suites import RSA_TRANSPORT_SUITES
from .identity.trust import PresentedChain, VerifiedPeer

C = TypeVar("C", bound=Config)


class InsecureWarning(UserWarning):
    """A protection was switched off."""


def insecure_no_verification(config: ClientConfig) -> ClientConfig:
    """Accept any certificate from any server: an attacker on the way can read and change everything.

    For looking at a broken server. To trust a private CA use `handclasp.private`, which loses nothing.
    """
    warnings.warn("certificates are not verified: anyone on the way can be the server", InsecureWarning, stacklevel=2)
    return config.replace(trust=_NoVerification(), revocation="off")


def allow_rsa_key_transport(config: C) -> C:
    """Also offer TLS_RSA_WITH_* in TLS 1.2: the client's secret, encrypted under the server's public key.

    There is no forward secrecy: whoever ever gets the server's key can read every connection recorded before. And each
    server of this kind has to hide what it sees in a client's secret, down to the time it takes: that has failed in
    every decade since 1998. Last in preference; for study, and for peers that have nothing else.
    """
    warnings.warn("RSA key transport is allowed: no forward secrecy", InsecureWarning, stacklevel=2)
    suites = (*config.cipher_suites, *(suite for suite in RSA_TRANSPORT_SUITES if suite not in config.cipher_suites))
    return config.replace(cipher_suites=suites, danger=replace(config.danger, rsa_key_transport=True))


def allow_plain_master_secret(config: C) -> C:
    """Also speak TLS 1.2 with peers that lack the extended master secret (RFC 7627).

    Two connections of one attacker can then be made to share a secret (the triple handshake): whatever authenticates
    the application by this connection, a channel binding or a client certificate, can be carried over to another.
    """
    warnings.warn("TLS 1.2 without extended master secret is allowed", InsecureWarning, stacklevel=2)
    return config.replace(danger=replace(config.danger, plain_master_secret=True))


def allow_psk_without_key_exchange(config: C) -> C:
    """Also resume, and use pre-shared keys, without a key agreement beside them (psk_ke, RFC 8446 §4.2.9).

    There is no forward secrecy: whoever ever gets the key can read every connection that used it.
    """
    warnings.warn("pre-shared keys are allowed to stand alone: no forward secrecy", InsecureWarning, stacklevel=2)
    return config.replace(danger=replace(config.danger, psk_alone=True))


@dataclass(frozen=True, slots=True)
class _NoVerification:
    """Says yes to everybody."""

    def verify(self, presented: PresentedChain) -> VerifiedPeer:
        return VerifiedPeer(presented.chain[:1], "not verified: insecure_no_verification")
