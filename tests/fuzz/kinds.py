"""Kinds of conversations: two configurations that fit each other, for everything that can be negotiated or declined.

They are made under the null provider of `fuzz.clear`, whose tickets anybody can read and write.
"""

from __future__ import annotations

import warnings
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from fuzz.clear import Anyone
from handclasp import (
    CipherSuite,
    ClientAuth,
    ClientConfig,
    ClientConnection,
    Credential,
    EarlyData,
    ExternalPsk,
    MaxFragmentLength,
    NamedGroup,
    ServerConfig,
    ServerConnection,
    ServerSessions,
    TLSError,
    TLSVersion,
    danger,
)
from handclasp.connection import Connection
from handclasp.crypto.signatures import KeyKind
from handclasp.crypto.suites import RSA_TRANSPORT_SUITES
from handclasp.lab.ca import CertificateAuthority
from handclasp.sessions.cache import ClientSessions
from handclasp.sessions.replay import ReplayGuard
from handclasp.sessions.tickets import TicketKeys
from property.tapes import Forgetful, Repeated, Returning, exchange, steady_credential
from rules.stage import NAME, authority, client_credential, credential


@dataclass(frozen=True)
class Kind:
    """Two configurations that fit each other."""

    client: ClientConfig
    server: ServerConfig

    def fresh(self, role: str, keylog: Any = None) -> Connection:
        """A connection that draws the same each time."""
        own: dict[str, Any] = {"entropy": Repeated(f"clear {role}"), "keylog": keylog}
        if role == "server":
            return ServerConnection(self.server.replace(**own))
        early = b"before all else" if self.server.early_data is not None else b""
        return ClientConnection(self.client.replace(**own), NAME, early_data=early)


@cache
def kinds() -> tuple[Kind, ...]:
    """All of them; what declines a session comes behind what takes one."""
    return (*_full(), *_known_beforehand(), *_resumed(), *_older())


OLDER: dict[str, Any] = {"versions": [TLSVersion.TLS_1_2]}
EITHER: dict[str, Any] = {"versions": [TLSVersion.TLS_1_3, TLSVersion.TLS_1_2]}


def _full() -> tuple[Kind, ...]:
    def choose(hello: object) -> ServerConfig:
        return asked.server

    asked = _kind({}, {"client_auth": ClientAuth(verify=Anyone(), authorities=[b"0\0"])})
    anybody = ClientAuth(verify=authority().trust, required=False, unverified="anonymous")
    return (
        _kind({}, {}),
        _kind(
            {"groups": GROUPS[::-1], "key_shares": GROUPS[1:], "credentials": []}, {"groups": GROUPS[:1], "alpn": []}
        ),
        asked,
        _kind({}, {"client_auth": anybody}),
        _kind({"credentials": [_stranger()]}, {"client_auth": anybody}),
        _kind({"trust": authority().trust, "credentials": _choose}, {"credentials": [_stapled()], "choose": choose}),
        _kind({"trust": authority().trust, "sessions": None}, {"credentials": Source(), "tickets": None}),
        _kind({"padding": lambda size: 20}, {"unknown_names": "refuse", "key_lifetime": timedelta(seconds=1)}),
    )


def _known_beforehand() -> tuple[Kind, ...]:
    alone = _alone(_kind(_known("client"), {**_known("server"), "alpn": []}))
    return (alone, _kind(_known("client"), _known("server")), _kind(_known("client"), {"psks": Source()}))


def _resumed() -> tuple[Kind, ...]:
    """Sessions of TLS 1.3: taken, and declined for every reason there is."""
    early: dict[str, Any] = {"early_data": EarlyData(replay=Forgetful())}
    now = datetime.now(UTC)
    taken = _remembered({}, {**early, "clock": lambda: now - timedelta(hours=1)})
    suites = [CipherSuite.TLS_AES_256_GCM_SHA384]
    later: tuple[tuple[dict[str, Any], dict[str, Any]], ...] = (
        ({}, early),
        ({}, {}),
        ({}, {"early_data": EarlyData(replay=ReplayGuard())}),
        ({}, {**early, "clock": lambda: now + timedelta(seconds=50)}),
        ({}, {**early, "clock": lambda: now + timedelta(hours=3)}),
        ({}, {**early, "groups": GROUPS[1:]}),
        ({}, {**early, "cipher_suites": suites}),
        ({}, {**early, "cipher_suites": [CipherSuite.TLS_CHACHA20_POLY1305_SHA256]}),
        ({"alpn": ["h2", "http/1.1"]}, {**early, "alpn": ["http/1.1"]}),
        ({}, {**early, "client_auth": None}),
        ({**EITHER}, {**early, **OLDER}),
        ({**OLDER}, {**EITHER}),
        ({"cipher_suites": suites}, early),
        ({"alpn": ["http/1.1"]}, early),
        ({"credentials": [steady_credential("client")]}, early),
        ({"send_server_name": False}, early),
    )
    return (
        *(_later(taken, ours, theirs) for ours, theirs in later),
        _remembered({}, {"tickets": None, "sessions": ServerSessions()}),
        _alone(_remembered({}, {})),
    )


def _later(kind: Kind, ours: dict[str, Any], theirs: dict[str, Any]) -> Kind:
    """The same two ends, which want something else by now."""
    usual: dict[str, Any] = {"early_data": None, "clock": kind.client.clock}
    return Kind(kind.client.replace(**ours), kind.server.replace(**{**usual, **theirs}))


def _older() -> tuple[Kind, ...]:
    both = _remembered(OLDER, {})
    small: dict[str, Any] = {"max_fragment_length": MaxFragmentLength.LENGTH_1024, "record_size_limit": None}
    return (
        _kind({**OLDER, **small}, {}),
        _kind({**OLDER, "trust": authority().trust}, {"credentials": [_stapled()], "client_auth": None}),
        both,
        _later(both, {}, {"client_auth": None}),
        _later(both, {}, {"alpn": []}),
        _later(both, {**EITHER}, {}),
        _remembered(OLDER, {"tickets": None, "sessions": ServerSessions()}),
        _remembered({**OLDER, "alpn": []}, {"alpn": []}),
        _transported(_kind({**OLDER, "send_server_name": False, "grease": False}, {"client_auth": None})),
    )


def _choose(request: object) -> Credential:
    return client_credential()


def _stranger() -> Credential:
    return CertificateAuthority("elsewhere").issue("client.test", usage="client")


def _stapled() -> Credential:
    return credential().with_staple(authority().ocsp_response(credential().leaf))


class Source:
    """Credentials, and keys known beforehand, for whoever asks."""

    def credentials(self, hello: object) -> list[Credential]:
        return [_stapled()]

    def find(self, identity: bytes) -> ExternalPsk | None:
        return ExternalPsk(b"a to b", bytes(range(32)), role="server") if identity.startswith(b"a") else None


GROUPS = (NamedGroup.X25519, NamedGroup.SECP256R1)
"""What `Repeated` has key pairs for."""


def _kind(client: dict[str, Any], server: dict[str, Any]) -> Kind:
    usual: dict[str, Any] = {"groups": GROUPS, "record_size_limit": 1000, "middlebox_compatibility": False}
    ours: dict[str, Any] = {
        "trust": Anyone(),
        "sessions": ClientSessions(),
        "credentials": [steady_credential("client"), client_credential()],
        "alpn": ["h2"],
    }
    theirs: dict[str, Any] = {
        "credentials": [credential(), steady_credential("server")],
        "client_auth": ClientAuth(verify=Anyone(), required=False),
        "tickets": TicketKeys(),
        "alpn": ["h2", "http/1.1"],
    }
    return Kind(ClientConfig(**{**usual, **ours, **client}), ServerConfig(**{**usual, **theirs, **server}))


def _remembered(client: dict[str, Any], server: dict[str, Any]) -> Kind:
    """The client holds a session of the server's, and offers it as often as it is asked."""
    kept = ClientSessions()
    made = _kind({**client, "sessions": kept}, server)
    talk(made)
    held = kept.take(NAME)
    if held is None:
        raise ValueError("the server kept no session")
    return Kind(made.client.replace(sessions=Returning(held)), made.server)


def _known(role: Any) -> dict[str, Any]:
    return {"psks": [ExternalPsk(b"a to b", bytes(range(32)), role=role)]}


def _alone(kind: Kind) -> Kind:
    """Keys may do without a key agreement."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        allow = danger.allow_psk_without_key_exchange
        return Kind(allow(kind.client), allow(kind.server))


def _transported(kind: Kind) -> Kind:
    """RSA key transport, and no extended master secret needed."""
    rsa = authority().issue(NAME, key_kind=KeyKind.RSA, key_usage=("digital_signature", "key_encipherment"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        client = danger.allow_plain_master_secret(danger.allow_rsa_key_transport(kind.client))
        server = danger.allow_plain_master_secret(danger.allow_rsa_key_transport(kind.server))
    suites = {"cipher_suites": RSA_TRANSPORT_SUITES}
    return Kind(client.replace(**suites), server.replace(**suites, credentials=[rsa]))


def talk(kind: Kind) -> dict[str, bytes]:
    """A handshake, data both ways, new keys where there can be, and the end, as each side hears it; or until it fails.

    Early data that is declined cannot be told from other data here, where everything can be read.
    """
    client, server = kind.fresh("client"), kind.fresh("server")
    heard: dict[str, list[bytes]] = {"client": [], "server": []}
    with suppress(TLSError):
        while exchange(client, server, heard):
            pass
        for speaker in (client, server):
            speaker.send(b"a question, or an answer")
            with suppress(TLSError):
                speaker.update_keys(request_peer=True)
        exchange(client, server, heard)
        client.close()
        server.close()
        exchange(client, server, heard)
    return {role: b"".join(pieces) for role, pieces in heard.items()}
