"""The flags of a test: what one run of the shim is told, for its first connection, the later ones, and a second try."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum


class Unimplemented(Exception):
    """The test needs something that the library or the shim does not have."""


class Unmet(Exception):
    """Something was not as the test expects it."""


class Phase(Enum):
    """Which part of a test a flag is for. The value is its prefix; a flag without one is for all."""

    INITIAL = "-on-initial"
    RESUME = "-on-resume"
    RETRY = "-on-retry"
    """What follows on the same connection when early data was declined."""


_SWITCHES = """
    -async -check-close-notify -decline-alpn -decline-ocsp-callback -enable-early-data -enable-grease
    -enable-ocsp-stapling -expect-accept-early-data -expect-extended-master-secret -expect-hrr -expect-no-hrr
    -expect-no-offer-early-data -expect-no-peer-cert -expect-no-server-name -expect-no-session -expect-no-session-id
    -expect-reject-early-data -expect-session-id -expect-session-miss
    -expect-ticket-renewal -expect-ticket-supports-early-data -export-traffic-secrets -fail-cert-callback
    -fail-ddos-callback -fail-early-callback -fail-ocsp-callback -handshake-twice -implicit-handshake
    -install-ddos-callback -ipv6 -key-update -key-update-before-read -no-key-shares -no-op-extra-handshake
    -no-ticket -no-tls1 -no-tls11 -no-tls12 -no-tls13 -permute-extensions -reject-alpn -require-any-client-certificate
    -server -server-preference -set-ocsp-in-callback -shim-shuts-down -shim-writes-first -tls-unique
    -use-custom-verify-callback -use-early-callback -use-export-context -use-ocsp-callback
    -use-old-client-cert-callback -use-ticket-aead-callback -use-ticket-callback -renew-ticket -skip-ticket
    -expect-verify-result -verify-fail -verify-peer -reverify-on-resume -send-alert -peek-then-read
    -enable-signed-cert-timestamps -install-cert-compression-algs -read-with-unfinished-write -no-legacy-server-connect
    """

SWITCHES = frozenset(_SWITCHES.split())

_VALUES = """
    -advertise-alpn -cipher -curves -expect-advertised-alpn -expect-alpn -expect-cipher -expect-cipher-aes
    -expect-cipher-no-aes -expect-curve-id -expect-early-data-reason -expect-ocsp-response
    -expect-peer-cert-file -expect-peer-signature-algorithm -expect-selected-credential -expect-server-name
    -expect-version -export-context -export-keying-material -export-label -host-name -key-shares -max-cert-list
    -max-version -min-version -port -read-size -repeat-shim-initial-write -resume-count -resumption-delay
    -select-alpn -shim-id -shim-initial-write -srtp-profiles -trust-cert -use-client-ca-list -verify-prefs
    -max-send-fragment -expect-peer-verify-pref -server-supported-groups-hint -expect-client-ca-list
    -expect-ticket-age-skew
    -expect-certificate-types -expect-signed-cert-timestamps -install-one-cert-compression-alg
    """

VALUES = frozenset(_VALUES.split())

NOT_THERE = {
    "-allow-unknown-alpn-protos": "a protocol that was not offered is refused (RFC 7301 §3.2)",
    "-curves-flags": "groups have an order, and none is as good as the next",
    "-early-write-after-message": "early data is given when a connection is made",
    "-expect-msg-callback": "the trace has another form than the runner's",
    "-expect-secure-renegotiation": "there is no renegotiation that could be secure",
    "-fallback-scsv": "a client does not try again with an older version",
    "-no-server-name-ack": "a server says when it used the name (RFC 6066 §3)",
    "-retain-only-sha256-client-cert": "certificates of clients are kept whole, not as a hash",
    "-select-empty-alpn": "an empty protocol cannot be configured",
    "-ticket-key": "tickets have a form of their own, which the runner cannot write",
}
"""Flags for what the library does not do, and why not."""

OF_CREDENTIAL = frozenset(
    ("-cert-file", "-key-file", "-signing-prefs", "-ocsp-response", "-must-match-issuer", "-signed-cert-timestamps")
)
"""Flags that describe the credential named last, or the default one before any is."""

NEW_CREDENTIAL = "-new-x509-credential"


@dataclass(frozen=True)
class Options:
    """What holds for one connection."""

    flags: dict[str, list[bytes]] = field(default_factory=dict)
    credentials: list[dict[str, list[bytes]]] = field(default_factory=lambda: [{}])
    """The default credential, then the others in order of preference."""

    def __contains__(self, flag: str) -> bool:
        return flag in self.flags

    def text(self, flag: str) -> bytes | None:
        """The value given last."""
        return self.flags[flag][-1] if flag in self.flags else None

    def number(self, flag: str) -> int | None:
        value = self.text(flag)
        return None if value is None else int(value)

    def numbers(self, flag: str) -> list[int]:
        """All values, in the order they were given."""
        return [int(value) for value in self.flags.get(flag, ())]

    def decoded(self, flag: str) -> bytes | None:
        """A value in base64."""
        value = self.text(flag)
        return None if value is None else base64.b64decode(value)

    @property
    def server(self) -> bool:
        return "-server" in self


def read(arguments: Sequence[bytes], phase: Phase) -> Options:
    """The flags that hold in one phase. Raises Unimplemented for one that is not known."""
    options = Options()
    for flag, value in _flags(arguments, phase):
        if flag == NEW_CREDENTIAL:
            options.credentials.append({})
            continue
        where = options.credentials[-1] if flag in OF_CREDENTIAL else options.flags
        where.setdefault(flag, []).append(value)
    return options


def _flags(arguments: Sequence[bytes], phase: Phase) -> Iterator[tuple[str, bytes]]:
    """Each flag of a phase without its prefix, and its value; empty for a switch."""
    rest = iter(arguments)
    for argument in rest:
        flag, wanted = _unprefixed(argument.decode("latin-1"), phase)
        if flag in SWITCHES or flag in (NEW_CREDENTIAL, "-must-match-issuer"):
            value = b""
        elif flag in VALUES or flag in OF_CREDENTIAL:
            value = next(rest)
        else:
            raise Unimplemented(f"{flag}: {NOT_THERE[flag]}" if flag in NOT_THERE else f"unknown flag {flag}")
        if wanted:
            yield flag, value


def _unprefixed(flag: str, phase: Phase) -> tuple[str, bool]:
    """The bare flag, and whether it is for us and for this phase."""
    if flag.startswith("-on-handshaker-"):
        return flag.removeprefix("-on-handshaker"), False
    flag = "-" + flag.removeprefix("-on-shim-") if flag.startswith("-on-shim-") else flag
    for other in Phase:
        if flag.startswith(other.value + "-"):
            return flag.removeprefix(other.value), other is phase
    return flag, True


def equal(what: str, found: object, expected: object) -> None:
    """Raises Unmet."""
    if found != expected:
        raise Unmet(f"{what}: {found!r} where {expected!r} was expected")
