"""What a test shows of a foreign implementation, read from our end of every connection it made.

Under `make interop` each test records it, and `measure.py` makes the table of it: so the table says what happened on
wires, and no test has to claim anything. Where our end is another process, or a peer refuses us without an alert, the
test adds what it asserted (`Seen.add`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from handclasp import (
    AlertReceived,
    CertificateError,
    ClientConnection,
    NegotiationError,
    ServerConnection,
)
from handclasp.connection import Connection
from handclasp.identity.revocation.finding import Evidence
from handclasp.trace import DataMoved, Direction, KeysChanged, MessageMoved, Subject, TraceEvent
from handclasp.wire.names import ContentType

HANDSHAKE = "handshake"
SUITE = "suite"
GROUP = "group"
SCHEME = "scheme"
FEATURE = "feature"
WE_REFUSE = "we refuse"
IT_REFUSES = "it refuses"

DATA = "data both ways"
ALPN = "ALPN"
CLIENT_CERTIFICATE = "client certificate"
RESUMPTION = "resumption"
EARLY_DATA = "early data"
PSK = "pre-shared key"
RETRY = "HelloRetryRequest"
UPDATE_SENT = "KeyUpdate from us"
UPDATE_RECEIVED = "KeyUpdate from it"
STAPLE = "stapled OCSP"
FEATURES = (DATA, ALPN, CLIENT_CERTIFICATE, RESUMPTION, EARLY_DATA, PSK, RETRY, UPDATE_SENT, UPDATE_RECEIVED, STAPLE)
"""In the order in which the table has them."""


@dataclass(frozen=True, order=True)
class Fact:
    """Something that was shown: with whom, in which role of the peer's, in which version, of which kind, what."""

    peer: str
    role: str
    version: str
    kind: str
    what: str


@dataclass
class _Watched:
    """One connection of ours, and what moved on it."""

    role: str
    """The peer's."""
    connection: Connection
    hello: bytes = b""
    """The first handshake message, either way."""
    moved: Counter[Direction] = field(default_factory=Counter)
    updates: Counter[Direction] = field(default_factory=Counter)

    def note(self, event: TraceEvent) -> None:
        if isinstance(event, DataMoved):
            self.moved[event.direction] += event.size
        elif isinstance(event, KeysChanged) and event.generation:
            self.updates[event.direction] += 1
        elif isinstance(event, MessageMoved) and event.type is ContentType.HANDSHAKE:
            self.hello = self.hello or event.message


class Seen:
    """What one test shows of its peer."""

    def __init__(self, peer: str) -> None:
        self._peer = peer
        self._watched: list[_Watched] = []
        self._added: list[Fact] = []

    def add(self, role: str, version: str, kind: str, what: str) -> None:
        """Something that our end of the connection does not tell, and the test has asserted."""
        self._added.append(Fact(self._peer, role, version, kind, what))

    def facts(self) -> Counter[Fact]:
        """All of it. Each connection counts, but for those whose other end is ours too."""
        found = Counter(self._added)
        ends = Counter(watched.hello for watched in self._watched)
        for watched in (each for each in self._watched if ends[each.hello] == 1):
            version = watched.connection.info.version
            if version is not None:
                found.update(Fact(self._peer, watched.role, f"{version}", kind, what) for kind, what in _shown(watched))
        return found

    def watch(self, patch: pytest.MonkeyPatch) -> None:
        """See every connection that is made from here on."""
        for ours, theirs in ((ClientConnection, "server"), (ServerConnection, "client")):
            patch.setattr(ours, "__init__", self._watching(ours.__init__, theirs))

    def _watching(self, original: Any, role: str) -> Any:
        def init(connection: Connection, config: Any, *arguments: Any, **named: Any) -> None:
            watched = _Watched(role, connection)
            theirs = config.trace

            def both(event: TraceEvent) -> None:
                watched.note(event)
                if theirs is not None:
                    theirs(event)

            original(connection, config.replace(trace=both), *arguments, **named)
            self._watched.append(watched)

        return init


def _shown(watched: _Watched) -> Iterator[tuple[str, str]]:
    """Kind and name of everything that a connection shows."""
    info, error = watched.connection.info, watched.connection.error
    if isinstance(error, CertificateError | NegotiationError):
        yield WE_REFUSE, error.code
    elif isinstance(error, AlertReceived):
        yield IT_REFUSES, str(error.alert)
    elif watched.connection.established or watched.moved:
        yield HANDSHAKE, ""
        yield SUITE, str(info.cipher_suite)
        if info.group is not None:
            yield GROUP, str(info.group)
        for scheme in (info.signature_scheme, info.client_signature_scheme):
            if scheme is not None:
                yield SCHEME, str(scheme)
        yield from ((FEATURE, feature) for feature, there in _features(watched).items() if there)


def _features(watched: _Watched) -> dict[str, bool]:
    info = watched.connection.info
    proved = info.verified_chain if watched.role == "client" else info.client_signature_scheme
    return {
        DATA: watched.moved[Direction.SENT] > 0 and watched.moved[Direction.RECEIVED] > 0,
        ALPN: info.alpn is not None,
        CLIENT_CERTIFICATE: bool(proved),
        RESUMPTION: info.resumed and info.psk is None,
        EARLY_DATA: info.early_data is True,
        PSK: info.psk is not None,
        RETRY: info.hello_retry,
        UPDATE_SENT: watched.updates[Direction.SENT] > 0,
        UPDATE_RECEIVED: watched.updates[Direction.RECEIVED] > 0,
        STAPLE: info.revocation is Evidence.STAPLE
        or any(c.subject is Subject.STAPLE and c.value for c in info.choices),
    }


def encoded(facts: Counter[Fact]) -> str:
    """For a report of a test."""
    return json.dumps([[f.peer, f.role, f.version, f.kind, f.what, count] for f, count in facts.items()])


def decoded(text: str) -> Counter[Fact]:
    return Counter({Fact(*parts): count for *parts, count in json.loads(text)})
