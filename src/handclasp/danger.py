"""Every way to be less safe. Nothing here is reachable from anywhere else, and each name says what it gives up.

Each function takes a configuration and returns a new one; the original stays as it was.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

from .config import ClientConfig
from .identity.trust import PresentedChain, VerifiedPeer


class InsecureWarning(UserWarning):
    """A protection was switched off."""


def insecure_no_verification(config: ClientConfig) -> ClientConfig:
    """Accept any certificate from any server: an attacker on the way can read and change everything.

    For looking at a broken server. To trust a private CA use `TrustStore.from_file`, which loses nothing.
    """
    warnings.warn("certificates are not verified: anyone on the way can be the server", InsecureWarning, stacklevel=2)
    return config.replace(trust=_NoVerification())


@dataclass(frozen=True, slots=True)
class _NoVerification:
    """Says yes to everybody."""

    def verify(self, presented: PresentedChain) -> VerifiedPeer:
        return VerifiedPeer(presented.chain[:1], "not verified: insecure_no_verification")
