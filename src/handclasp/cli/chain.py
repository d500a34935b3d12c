"""A certificate chain as a table, leaf first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from ..identity.certificates import Certificate
from .terminal import Look, clipped
from .words import called, left


def table(verified: Sequence[Certificate], where: str, now: datetime, look: Look) -> list[str]:
    """A chain that was accepted, up to its root; `where` says why the root is trusted."""
    last = len(verified) - 1
    return [
        _line(
            "root" if index == last else str(index),
            certificate,
            where if index == last else left(certificate, now),
            look,
        )
        for index, certificate in enumerate(verified)
    ]


def _line(place: str, certificate: Certificate, remark: str, look: Look) -> str:
    more = len(certificate.names) - 1
    name = called(certificate) + (f" +{more} name{'s' if more > 1 else ''}" if more > 0 else "")
    key = clipped(certificate.key_description, 10)
    return f"  {place:>4}  {look.good('✓')} {clipped(name, 32):<32}  {key:<10}  {remark}"
