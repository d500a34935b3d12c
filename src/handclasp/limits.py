"""What bounds a peer. Every number a peer can push against is here; nothing is sized by a declared length.

The defaults are what the trusted implementations use; the hard caps keep a configuration from removing a bound. A name
in capitals is a bound for everybody, or the default of an argument that says so. docs/limits.md has the tests of each.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Final

# --- records and messages --------------------------------------------------------------------------------------------

RECORD_HEADER: Final = 5
"""Type, version and length in front of every record, in bytes."""

MAX_PLAINTEXT: Final = 1 << 14
"""RFC 8446 §5.1: the most content one record carries, in bytes."""

MAX_CIPHERTEXT: Final = MAX_PLAINTEXT + 256
"""RFC 8446 §5.2: the most a protected record's fragment may measure, in bytes."""

MAX_SMALL_MESSAGE: Final = 16_384
"""Hellos of a server, signatures and key exchanges, in bytes: far above the largest there are (ML-DSA, ML-KEM)."""

MAX_FINISHED: Final = 64
"""A Finished message, in bytes: the longest hash there is."""

# --- sessions and keys that are known beforehand ---------------------------------------------------------------------

MAX_TICKET: Final = 1 << 14
"""The largest ticket a client keeps or a server makes, in bytes: several fit into one ClientHello."""

MAX_TICKET_LIFETIME: Final = 604_800
"""RFC 8446 §4.6.1: seven days, in seconds."""

MAX_TICKETS_AT_ONCE: Final = 16
"""Most tickets sent at one call: each costs the client a place, and us a seal."""

MOST_SESSIONS_PER_NAME: Final = 8
"""Sessions a client keeps for one server, unless told otherwise: a page of eight connections resumes them all."""

MOST_NAMES: Final = 1000
"""Servers a client remembers, unless told otherwise; the one longest unused makes room."""

MOST_SESSIONS: Final = 10_000
"""Sessions a server keeps in memory, unless told otherwise; the oldest makes room."""

MOST_REPLAYS: Final = 100_000
"""Hellos with early data a server remembers, unless told otherwise; a full store declines early data."""

MAX_SESSION: Final = 512 * 1024
"""A client's session in its stored form, in bytes: the largest chain and the largest ticket fit."""

TICKET_ROTATION: Final = timedelta(hours=6)
"""How long one key seals tickets: whoever steals it opens those of six hours."""

TICKET_ACCEPTED: Final = timedelta(hours=12)
"""How long a key opens tickets: it is dead one period after the next one came."""

MOST_TICKET_KEYS: Final = 24
"""Keys that may be good at one time: each costs a look at every ticket."""

MAX_LIFETIME: Final = timedelta(days=365)
"""How long sessions and keys may be said to be good: longer is no limit, and no date far enough for it."""

EARLY_DATA: Final = 14_336
"""Early data of one client that is taken where it is taken at all, in bytes: whoever sent it is not known yet."""

MAX_EARLY_DATA: Final = 1 << 20
"""The most early data that can be allowed, in bytes."""

MAX_PSK_IDENTITY: Final = 16_384
"""Name of a key known beforehand, in bytes: well below what the extension can hold, so that several fit."""

MAX_PSKS_OFFERED: Final = 1 << 15
"""All such keys of a client as a ClientHello names them, in bytes: half of what there is room for. The other is for
a ticket and the rest of the hello."""

MAX_PROTOCOLS: Final = 4096
"""Application protocols of one configuration as a ClientHello names them, in bytes: all that are registered take a few
hundred."""

MAX_END_NAME: Final = 255
"""Name of an end of such a key, in bytes: what its length's one byte can say."""

LEAST_PSK: Final = 16
"""Shortest key known beforehand, in bytes: less entropy than 128 bits can be searched (RFC 9257 §4.2)."""

# --- certificates, and what is fetched for them ----------------------------------------------------------------------

MAX_NAME: Final = 253
"""The longest DNS name in its presentation form (RFC 1035 §2.3.4), in bytes. Longer ones are refused unread."""

MAX_REMEMBERED: Final = 4096
"""Longest certificate in DER, and longest message, that is kept to be met again, in bytes: with few exceptions, all
certificates of the web."""

MOST_REMEMBERED: Final = 128
"""Certificates that are kept so, whoever showed them, and as many messages of each kind."""

MOST_REMEMBERED_PARTS: Final = 16
"""Certificates and extensions in a message that is kept so: read, each of them takes many times its length."""

MAX_REMEMBERED_BODY: Final = 96
"""Longest body of an extension that is kept to be met again, in bytes: lists of schemes and groups, names of hosts."""

MOST_REMEMBERED_BODIES: Final = 64
"""Bodies that are kept so, of each extension: hellos say much the same."""

MAX_AUTHORITIES: Final = 60_000
"""Names of CAs that a server gives its clients as a hint, all together, in bytes: one extension has room for them."""

LEAST_RSA_BITS: Final = 1024
"""RSA keys below it can be factored: no signature by them is believed, whoever vouches for them."""

MAX_RSA_EXPONENT: Final = (1 << 32) - 1
"""Larger public exponents make one verification cost milliseconds, and serve nobody."""

MOST_SIGNATURES: Final = 24
"""Signatures that one search for a path checks: with the slowest keys there are, well under 50 ms."""

MOST_STEPS: Final = 500
"""Certificates that one search for a path looks at."""

MOST_COMPARISONS: Final = 20_000
"""Look-ups of a chain's names among its name constraints, and pairs of the two: both lists are the peer's to fill."""

MOST_URLS: Final = 4
"""Addresses of one kind that are read from a certificate."""

MOST_RESPONDERS: Final = 2
"""Addresses that are asked about one certificate."""

MOST_DELEGATES: Final = 4
"""Certificates of an OCSP response that are looked at for one that may speak for the CA."""

MAX_RESPONSE: Final = 64 * 1024
"""An OCSP response, in bytes, wherever it comes from."""

MAX_LIST: Final = 10 * 1024 * 1024
"""A revocation list, in bytes, unless told otherwise: the large ones of the web's CAs."""

MAX_FETCHED: Final = 65_536
"""An issuer's certificate that is fetched, in bytes."""

MAX_HEAD: Final = 64 * 1024
"""What an answer over HTTP may have beside its content, in bytes: its headers, and the lengths of its chunks."""

MOST_FETCHES: Final = 3
"""Issuers that are fetched for one chain."""

MOST_REDIRECTS: Final = 2
"""Redirects that one fetch follows."""

MAX_URL: Final = 2048
"""An address that is fetched, in bytes."""

FETCH_TIMEOUT: Final = 5.0
"""Seconds for all that is fetched about one chain, unless told otherwise."""

# --- streams ---------------------------------------------------------------------------------------------------------

MAX_RECEIVED: Final = 64 * 1024
"""Most bytes taken from a transport at once: bounds the plaintext that waits for its reader."""

HANDSHAKE_TIMEOUT: Final = 10.0
"""Seconds a handshake may take in all; one deadline, however many bytes trickle in."""

CLOSE_TIMEOUT: Final = 1.0
"""Seconds to wait for the peer's close_notify once ours is sent."""

# --- what is said of a peer ------------------------------------------------------------------------------------------

MAX_ERROR_TEXT: Final = 200
"""Longest piece of peer-controlled text that reaches an error message, in characters."""

MAX_MESSAGE: Final = 300
"""Longest text of an error that speaks of a peer, in characters. The facts in full are its attributes."""

# --- what a configuration may change ---------------------------------------------------------------------------------

MAX_WISHES: Final = 16
"""Most calls of the application, such as for tickets, that wait for a connection's open question."""

HARD_CAPS: Final = {
    "handshake_message": 256 * 1024,
    "certificate_message": 256 * 1024,
    "chain_length": 16,
    "certificate": 64 * 1024,
    "rsa_bits": 16_384,
    "idle_records": 32,
    "warning_alerts": 4,
    "post_handshake_messages": 32,
    "certificate_requests": 32,
    "buffered": 1 << 20,
    "psk_identities": 64,
    "skipped_early_data": 65_536,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on what one peer can make us hold or do. Sizes in bytes, counts in units.

    Raises ValueError for a value below 1 or above its hard cap.
    """

    handshake_message: int = 65_536
    """Any handshake message; refused at its 4-byte header, before its body is stored (rustls, s2n and Go: 64 KiB)."""

    certificate_message: int = 65_536
    """A Certificate message (rustls: 64 KiB, BoringSSL: 100 KiB, Go: 256 KiB)."""

    chain_length: int = 10
    """Certificates in a chain: the web has four (s2n: 7, GnuTLS: 16)."""

    certificate: int = 16_384
    """One certificate, DER: the largest of the web with its hundred names, twice over."""

    rsa_bits: int = 8_192
    """RSA modulus. Larger keys make one verification cost milliseconds (OpenSSL: 16,384, Go: 8,192)."""

    idle_records: int = 32
    """Records in a row that carry nothing forward: empty ones, ChangeCipherSpec. One counter for all kinds (BoringSSL,
    rustls: 32)."""

    warning_alerts: int = 4
    """Alerts in a row that do not end the connection (user_canceled; BoringSSL, rustls: 4)."""

    post_handshake_messages: int = 32
    """Messages after the handshake, KeyUpdate above all, with no application data between (rustls: 32)."""

    certificate_requests: int = 8
    """Requests for our certificate after the handshake, in the life of a connection: each may cost a signature."""

    buffered: int = 64 * 1024
    """Bytes received and not yet processed while a question is open: with it a stranger makes us hold less than 192 KiB
    in all (rustls: 64 KiB)."""

    records_per_key: int = 1 << 23
    """Records sealed under one AES-GCM or AES-CCM key before our KeyUpdate; half of what RFC 8446 §5.5 allows."""

    records_received_per_key: int = 23_726_566
    """Records opened under one AES-GCM or AES-CCM key before we refuse: 2^24.5, RFC 8446 §5.5."""

    psk_identities: int = 8
    """Pre-shared keys of one ClientHello that are looked up; those behind are passed over."""

    skipped_early_data: int = 16_384
    """Undecryptable records of a 0-RTT attempt that we decline, RFC 8446 §4.2.10."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            cap = HARD_CAPS.get(field.name)
            if value < 1:
                raise ValueError(f"limits.{field.name} must be at least 1, not {value}")
            if cap is not None and value > cap:
                raise ValueError(f"limits.{field.name} must be at most {cap}, not {value}")
