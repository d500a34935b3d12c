"""The handshake traces of RFC 8448, "Example Handshake Traces for TLS 1.3", as data.

The values are in ``rfc8448.json``, every octet string in hex. Its keys are the five traces:

- ``simple-1rtt`` (§3)
- ``resumed-0rtt`` (§4), which resumes with the ticket of ``simple-1rtt``
- ``hello-retry-request`` (§5)
- ``client-authentication`` (§6), whose certificates' private keys the RFC does not show
- ``compatibility-mode`` (§7)

and ``server-rsa-key``, the RSA key of §2, which signs for the server in §3, §5 and §7.

A trace holds:

- ``section``: the RFC's section
- ``keys``: the ephemeral key pairs, ``{client,server}_{x25519,p256}_{private,public}``
- ``certificates``: the DER certificate that each side sent, by side
- ``psk_binder``: null, or the ClientHello up to its binders, the hash of that, and the binder
- ``messages``: the handshake messages, header included, in the order sent
- ``records``: the records in the order sent, each with the payload it carries and as it is on the wire
- ``secrets``: the key schedule by name. ``early_secret``, ``handshake_secret`` and ``master_secret`` are its stages,
  ``early_derived`` and ``handshake_derived`` the salts between them, and ``psk`` and ``shared_secret`` the inputs;
  ``binder_key`` and the traffic, exporter and resumption secrets hang off the stages; ``*_finished_key`` are the MAC
  keys, and ``resumption_psk`` is what the NewSessionTicket gives
- ``transcript_hashes``: the hash that went into each secret, under the secret's name
- ``traffic_keys``: the AES-128-GCM key and iv by side and epoch, such as ``client_handshake``

Three things differ from the page. The HelloRetryRequest has its own name, where §5 prints it as a ServerHello. The
ClientHello of §4 is the whole message that was sent; the part that is printed as its construction is the prefix in
``psk_binder``. And the RFC leaves to the reader which keys protect a record: here ``epoch`` says it, and ``sequence``
is the record's number under them (null for a record in the clear).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

Side: TypeAlias = Literal["client", "server"]
RecordType: TypeAlias = Literal["change_cipher_spec", "alert", "handshake", "application_data"]
Epoch: TypeAlias = Literal["plaintext", "early", "handshake", "application"]

NAMES = ("simple-1rtt", "resumed-0rtt", "hello-retry-request", "client-authentication", "compatibility-mode")


@dataclass(frozen=True, slots=True)
class Message:
    sender: Side
    name: str
    message: bytes
    """The header of 4 octets and the body."""


@dataclass(frozen=True, slots=True)
class Record:
    sender: Side
    type: RecordType
    """The type of the payload; a protected record says application_data on the wire."""
    epoch: Epoch
    sequence: int | None
    payload: bytes
    record: bytes


@dataclass(frozen=True, slots=True)
class TrafficKeys:
    key: bytes
    iv: bytes


@dataclass(frozen=True, slots=True)
class PskBinder:
    client_hello_prefix: bytes
    hash: bytes
    binder: bytes


@dataclass(frozen=True, slots=True)
class RsaKey:
    modulus: int
    public_exponent: int
    private_exponent: int
    prime1: int
    prime2: int
    exponent1: int
    exponent2: int
    coefficient: int


@dataclass(frozen=True, slots=True)
class Trace:
    name: str
    section: int
    keys: Mapping[str, bytes]
    certificates: Mapping[Side, bytes]
    psk_binder: PskBinder | None
    messages: tuple[Message, ...]
    records: tuple[Record, ...]
    secrets: Mapping[str, bytes]
    transcript_hashes: Mapping[str, bytes]
    traffic_keys: Mapping[str, TrafficKeys]

    def message(self, sender: Side, name: str) -> bytes:
        """The one message of that sender and name."""
        (found,) = (m.message for m in self.messages if m.sender == sender and m.name == name)
        return found


def load(name: str) -> Trace:
    """The trace of that name, one of `NAMES`."""
    if name not in NAMES:
        raise KeyError(name)
    trace = _document()[name]
    binder = trace["psk_binder"]
    return Trace(
        name=name,
        section=trace["section"],
        keys=_octets(trace["keys"]),
        certificates={side: bytes.fromhex(der) for side, der in trace["certificates"].items()},
        psk_binder=None if binder is None else PskBinder(**_octets(binder)),
        messages=tuple(Message(m["from"], m["name"], bytes.fromhex(m["message"])) for m in trace["messages"]),
        records=tuple(
            Record(
                sender=r["from"],
                type=r["type"],
                epoch=r["epoch"],
                sequence=r["sequence"],
                payload=bytes.fromhex(r["payload"]),
                record=bytes.fromhex(r["record"]),
            )
            for r in trace["records"]
        ),
        secrets=_octets(trace["secrets"]),
        transcript_hashes=_octets(trace["transcript_hashes"]),
        traffic_keys={name: TrafficKeys(**_octets(keys)) for name, keys in trace["traffic_keys"].items()},
    )


def load_server_rsa_key() -> RsaKey:
    """The RSA key of §2."""
    return RsaKey(**{name: int(value, 16) for name, value in _document()["server-rsa-key"].items()})


def _octets(values: Mapping[str, str]) -> dict[str, bytes]:
    return {name: bytes.fromhex(value) for name, value in values.items()}


@cache
def _document() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(Path(__file__).with_name("rfc8448.json").read_text(encoding="ascii"))
    return document
