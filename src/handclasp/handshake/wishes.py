"""What an application may wish for after the handshake. The script sees to it between messages."""

from __future__ import annotations

from dataclasses import dataclass

from ..config import ClientAuth


@dataclass(frozen=True, slots=True)
class SendTickets:
    """More tickets for the client."""

    count: int


@dataclass(frozen=True, slots=True)
class RequestCertificate:
    """Ask the client who it is."""

    auth: ClientAuth


Wish = SendTickets | RequestCertificate
