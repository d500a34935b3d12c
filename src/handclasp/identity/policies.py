"""Trust policies by name: one word in a configuration says who is believed, and why."""

from __future__ import annotations

import os
from typing import TypeAlias

import cryptography.x509 as pyca

from ..fetching import Fetch, fetch
from .aia import FetchesIssuers
from .certificates import Certificate
from .combine import Verifier
from .pins import Pin, parse_pins
from .tofu import KnownServers, TrustOnFirstUse
from .trust import Private, TrustStore

Roots: TypeAlias = "str | os.PathLike[str] | bytes | pyca.Certificate | Certificate | TrustStore"
"""A file or a directory, PEM or DER in memory, a certificate, or a store."""


def webpki(*roots: Roots) -> TrustStore:
    """The rules of the public web, with the system's roots unless others are given."""
    return _store(roots) if roots else TrustStore.system()


def private(*roots: Roots) -> Private:
    """The rules of RFC 5280 for a company's or a test's own CA, which tolerate what such CAs leave out.

    `private("ca.pem")`; a self-signed certificate may be its own root. Raises ConfigError without any.
    """
    return Private(_store(roots))


def pin(*pins: str) -> Pin:
    """Keys known beforehand: `pin("sha256/BASE64", ...)`. Alone they are all that counts; with `&` they are needed too.

    Raises ConfigError for text that is no pin, or for none.
    """
    return Pin(parse_pins(pins))


def tofu(path: str | os.PathLike[str]) -> TrustOnFirstUse:
    """Trust on first use: the file remembers each server's key, and another key is refused later."""
    return TrustOnFirstUse(KnownServers(os.fspath(path)))


def fetch_issuers(verifier: Verifier, fetch: Fetch = fetch) -> FetchesIssuers:
    """A verifier that fetches missing intermediates: `fetch_issuers(webpki())`. The peer says where from."""
    return FetchesIssuers(verifier, fetch)


def _store(roots: tuple[Roots, ...]) -> TrustStore:
    if not roots:
        return TrustStore.from_certificates(())
    first, *others = (_one(given) for given in roots)
    for other in others:
        first = TrustStore((*first.sources, *(source for source in other.sources if source not in first.sources)))
    return first


def _one(given: Roots) -> TrustStore:
    if isinstance(given, TrustStore):
        return given
    if isinstance(given, (bytes, bytearray)):
        return TrustStore.from_pem(given)
    if isinstance(given, (pyca.Certificate, Certificate)):
        return TrustStore.from_certificates([given])
    return TrustStore.from_file(given)
