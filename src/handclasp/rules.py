"""Everything a peer can do wrong, one line each: where it is written, the alert it earns, the sentence that says so.

Code states a rule with `require(condition, rules.X)`. The alert on the wire, the text of the exception, the table in
the docs and the test that every rule is broken once all follow from this list.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final, NoReturn

from .alerts import Alert
from .limits import MAX_ERROR_TEXT


class Kind(Enum):
    """Which family of errors a broken rule belongs to."""

    PROTOCOL = "protocol"
    """The peer broke the protocol."""
    NEGOTIATION = "negotiation"
    """Both sides are right, and have nothing in common."""
    CERTIFICATE = "certificate"
    """The peer's certificate, or its proof of owning it, is not acceptable."""
    NOT_TLS = "not-tls"
    """What answers does not speak TLS."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing a peer must not do."""

    section: str
    alert: Alert
    sentence: str
    kind: Kind = Kind.PROTOCOL
    remedy: str = ""

    @property
    def name(self) -> str:
        """The rule's name in lower case with hyphens: a stable code for programs."""
        return _NAMES[self]


class PeerFault(Exception):
    """A rule was broken. Internal: a connection turns it into one alert and one public error."""

    def __init__(
        self, rule: Rule, detail: str = "", *, ours: Iterable[object] = (), theirs: Iterable[object] = ()
    ) -> None:
        super().__init__(rule.sentence)
        self.rule = rule
        self.detail = detail
        self.ours = tuple(str(item) for item in ours)
        self.theirs = tuple(str(item) for item in list(theirs)[:64])


def require(condition: object, rule: Rule, detail: object = "") -> None:
    """Raise `PeerFault(rule)` unless the condition holds. What the detail says is worked out then alone."""
    if not condition:
        raise PeerFault(rule, str(detail))


def fail(rule: Rule, detail: str = "") -> NoReturn:
    raise PeerFault(rule, detail)


def printable(text: str | bytes, most: int = MAX_ERROR_TEXT) -> str:
    """Peer-controlled text made safe to show: escaped, on one line, at most `most` characters."""
    if isinstance(text, bytes):
        text = text[: most + 1].decode("latin-1")
    text = text[: most + 1]
    shown = text if text.isprintable() else "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
    return shown if len(shown) <= most else shown[: most - 1] + "…"


# --- records (RFC 8446 §5) -------------------------------------------------------------------------------------------

RECORD_TYPE = Rule("RFC 8446 §5", Alert.UNEXPECTED_MESSAGE, "a record has a content type that is not expected here")
RECORD_VERSION = Rule("RFC 8446 §5.1", Alert.PROTOCOL_VERSION, "a record header carries a version that is not TLS")
RECORD_OVERFLOW = Rule("RFC 8446 §5.1", Alert.RECORD_OVERFLOW, "a record is longer than the protocol allows")
PLAINTEXT_OVERFLOW = Rule("RFC 8446 §5.4", Alert.RECORD_OVERFLOW, "a record's content is longer than was agreed")
RECORD_EMPTY = Rule("RFC 8446 §5.4", Alert.UNEXPECTED_MESSAGE, "a handshake or alert record is empty")
RECORD_MAC = Rule("RFC 8446 §5.2", Alert.BAD_RECORD_MAC, "a record failed its integrity check")
RECORD_ONLY_PADDING = Rule("RFC 8446 §5.4", Alert.UNEXPECTED_MESSAGE, "a protected record has no content type")
RECORD_UNPROTECTED = Rule("RFC 8446 §5.2", Alert.UNEXPECTED_MESSAGE, "a record came unprotected after keys were agreed")
RECORD_INTERLEAVED = Rule(
    "RFC 8446 §5.1", Alert.UNEXPECTED_MESSAGE, "a record came between parts of a handshake message"
)
RECORD_KEY_SPENT = Rule("RFC 8446 §5.5", Alert.UNEXPECTED_MESSAGE, "more records came under one key than are safe")
CCS_CONTENT = Rule("RFC 8446 §5", Alert.UNEXPECTED_MESSAGE, "a ChangeCipherSpec record holds other than the byte 1")
CCS_MISPLACED = Rule("RFC 8446 §5", Alert.UNEXPECTED_MESSAGE, "a ChangeCipherSpec record came outside of the handshake")
EARLY_APPLICATION_DATA = Rule(
    "RFC 8446 §5.1", Alert.UNEXPECTED_MESSAGE, "application data came before the handshake was complete"
)

# --- what is bounded (limits.py) -------------------------------------------------------------------------------------

TOO_MANY_IDLE_RECORDS = Rule(
    "RFC 8446 §5.1", Alert.UNEXPECTED_MESSAGE, "too many records in a row carried nothing forward"
)
TOO_MANY_WARNINGS = Rule("RFC 8446 §6.1", Alert.UNEXPECTED_MESSAGE, "too many warning alerts came in a row")
TOO_MANY_POST_HANDSHAKE = Rule(
    "RFC 8446 §4.6", Alert.UNEXPECTED_MESSAGE, "too many post-handshake messages came without application data"
)
MESSAGE_TOO_LONG = Rule("RFC 8446 §4", Alert.DECODE_ERROR, "a handshake message declares more than we accept")
BUFFER_FULL = Rule("RFC 8446 §6.2", Alert.INTERNAL_ERROR, "more data came than we hold while an answer is awaited")

# --- alerts (RFC 8446 §6) --------------------------------------------------------------------------------------------

ALERT_MALFORMED = Rule("RFC 8446 §6", Alert.DECODE_ERROR, "an alert is not exactly two bytes")
ALERT_WARNING = Rule("RFC 8446 §6.2", Alert.DECODE_ERROR, "an alert that is an error in TLS 1.3 calls itself a warning")
ALERT_LEVEL = Rule("RFC 8446 §6", Alert.ILLEGAL_PARAMETER, "an alert has a level that is neither warning nor fatal")

# --- the presentation language (RFC 8446 §3) -------------------------------------------------------------------------

SHORT = Rule("RFC 8446 §3.4", Alert.DECODE_ERROR, "a field ends before its declared length")
TRAILING = Rule("RFC 8446 §3.4", Alert.DECODE_ERROR, "bytes are left over after the last field")
VECTOR_BOUNDS = Rule("RFC 8446 §3.4", Alert.DECODE_ERROR, "a vector's length is outside of its bounds")
EXTENSION_DUPLICATE = Rule("RFC 8446 §4.2", Alert.ILLEGAL_PARAMETER, "an extension appears twice in one block")
EXTENSION_UNKNOWN_DUPLICATE = Rule(
    "RFC 8446 §4.2", Alert.DECODE_ERROR, "an extension that we do not know appears twice in one block"
)
EXTENSION_MISPLACED = Rule(
    "RFC 8446 §4.2", Alert.ILLEGAL_PARAMETER, "an extension appears in a message it is not specified for"
)
EXTENSION_UNSOLICITED = Rule(
    "RFC 8446 §4.2", Alert.UNSUPPORTED_EXTENSION, "the peer answers an extension that was not offered"
)

# --- order of messages -----------------------------------------------------------------------------------------------

MESSAGE_UNEXPECTED = Rule("RFC 8446 §4", Alert.UNEXPECTED_MESSAGE, "a handshake message came out of order")
KEY_CHANGE_BOUNDARY = Rule("RFC 8446 §5.1", Alert.UNEXPECTED_MESSAGE, "handshake data runs across a change of keys")

# --- ClientHello as the server reads it (RFC 8446 §4.1.2) ------------------------------------------------------------

NO_SUPPORTED_VERSION = Rule(
    "RFC 8446 §4.2.1",
    Alert.PROTOCOL_VERSION,
    "the client and we have no TLS version in common",
    Kind.NEGOTIATION,
    "client: enable TLS 1.2 or 1.3",
)
NO_COMMON_CIPHER_SUITE = Rule(
    "RFC 8446 §4.1.1",
    Alert.HANDSHAKE_FAILURE,
    "the client and we have no cipher suite in common",
    Kind.NEGOTIATION,
    "enable one cipher suite on both sides; TLS_AES_128_GCM_SHA256 is the one every TLS 1.3 peer must have",
)
NO_COMMON_GROUP = Rule(
    "RFC 8446 §4.1.1",
    Alert.HANDSHAKE_FAILURE,
    "the client and we have no key-agreement group in common",
    Kind.NEGOTIATION,
    "enable one group on both sides; X25519 and secp256r1 are the common ones",
)
COMPRESSION_DUPLICATE = Rule("RFC 8879 §3", Alert.ILLEGAL_PARAMETER, "compress_certificate names an algorithm twice")
COMPRESSION_NOT_OFFERED = Rule(
    "RFC 8879 §4", Alert.ILLEGAL_PARAMETER, "a certificate is compressed with an algorithm that was not offered"
)
CERTIFICATE_COMPRESSION = Rule(
    "RFC 8879 §4", Alert.BAD_CERTIFICATE, "a compressed certificate is not what it declares to be", Kind.CERTIFICATE
)
NO_MATCHING_ISSUER = Rule(
    "RFC 8446 §4.2.4",
    Alert.HANDSHAKE_FAILURE,
    "the peer names none of the CAs that our credentials wait for",
    Kind.NEGOTIATION,
    "add a credential that is for everybody: one without for_named_issuers",
)
NO_FITTING_CREDENTIAL = Rule(
    "RFC 8446 §4.4.2",
    Alert.HANDSHAKE_FAILURE,
    "the server asks for a certificate, and none of our credentials fits what it accepts",
    Kind.NEGOTIATION,
    "add a credential that fits, or leave must_authenticate off and see whether the server goes on",
)
NO_COMMON_SIGNATURE_SCHEME = Rule(
    "RFC 8446 §4.4.2.2",
    Alert.HANDSHAKE_FAILURE,
    "no certificate we have can be proved by a signature scheme the peer accepts",
    Kind.NEGOTIATION,
    "add a credential with another kind of key (ECDSA P-256 and RSA are the common ones), or widen the peer's schemes",
)
NO_APPLICATION_PROTOCOL = Rule(
    "RFC 7301 §3.2",
    Alert.NO_APPLICATION_PROTOCOL,
    "the client and we have no application protocol in common",
    Kind.NEGOTIATION,
    "offer a protocol the other side has (config.alpn), or none",
)
UNRECOGNIZED_NAME = Rule(
    "RFC 6066 §3",
    Alert.UNRECOGNIZED_NAME,
    "no credential of ours is for the name the client asked for",
    Kind.NEGOTIATION,
    "add a credential whose certificate has this name, or set unknown_names='default'",
)
SERVER_NAME_REQUIRED = Rule(
    "RFC 8446 §9.2",
    Alert.MISSING_EXTENSION,
    "the client asks for no name, and our source of credentials has none for such a client",
    Kind.NEGOTIATION,
    "client: send server_name (SNI); server: let the source give a default",
)
HELLO_COMPRESSION = Rule(
    "RFC 8446 §4.1.2", Alert.ILLEGAL_PARAMETER, "the ClientHello offers other than null compression"
)
HELLO_MISSING_GROUPS = Rule("RFC 8446 §9.2", Alert.MISSING_EXTENSION, "the ClientHello lacks supported_groups")
HELLO_MISSING_SCHEMES = Rule("RFC 8446 §9.2", Alert.MISSING_EXTENSION, "the ClientHello lacks signature_algorithms")
HELLO_MISSING_KEY_SHARE = Rule("RFC 8446 §9.2", Alert.MISSING_EXTENSION, "the ClientHello lacks key_share")
KEY_SHARE_DUPLICATE = Rule("RFC 8446 §4.2.8", Alert.ILLEGAL_PARAMETER, "two key shares are for the same group")
KEY_SHARE_NOT_OFFERED = Rule(
    "RFC 8446 §4.2.8", Alert.ILLEGAL_PARAMETER, "a key share is for a group that supported_groups does not list"
)
PSK_BINDER = Rule(
    "RFC 8446 §4.2.11",
    Alert.DECRYPT_ERROR,
    "a pre-shared key's binder is wrong: the client does not have the key it names",
)
EARLY_DATA_LIMIT = Rule("RFC 8446 §4.2.10", Alert.UNEXPECTED_MESSAGE, "more early data came than its session allows")
PSK_NOT_LAST = Rule("RFC 8446 §4.2.11", Alert.ILLEGAL_PARAMETER, "pre_shared_key is not the last extension")
PSK_WITHOUT_MODES = Rule(
    "RFC 8446 §4.2.9", Alert.MISSING_EXTENSION, "pre_shared_key came without psk_key_exchange_modes"
)
PSK_BINDER_COUNT = Rule(
    "RFC 8446 §4.2.11", Alert.ILLEGAL_PARAMETER, "pre_shared_key has not one binder for each identity"
)
SERVER_NAME_MALFORMED = Rule(
    "RFC 6066 §3", Alert.ILLEGAL_PARAMETER, "server_name is not one host name of printable ASCII"
)
RECORD_SIZE_LIMIT_SMALL = Rule("RFC 8449 §4", Alert.ILLEGAL_PARAMETER, "record_size_limit is below 64")
RECORD_SIZE_LIMIT_LARGE = Rule("RFC 8449 §4", Alert.ILLEGAL_PARAMETER, "the server's record_size_limit is too large")
MAX_FRAGMENT_LENGTH_CODE = Rule(
    "RFC 6066 §4", Alert.ILLEGAL_PARAMETER, "max_fragment_length holds a code that is not registered"
)
SECOND_HELLO_PSKS = Rule(
    "RFC 8446 §4.1.2",
    Alert.MISSING_EXTENSION,
    "the second ClientHello lacks the pre-shared keys of the first, which are good for the suite we chose",
)
SECOND_HELLO_CHANGED = Rule(
    "RFC 8446 §4.1.2", Alert.ILLEGAL_PARAMETER, "the second ClientHello differs in more than the retry asked for"
)
SECOND_HELLO_KEY_SHARE = Rule(
    "RFC 8446 §4.2.8", Alert.ILLEGAL_PARAMETER, "the second ClientHello lacks exactly the key share we asked for"
)
SECOND_HELLO_COOKIE = Rule(
    "RFC 8446 §4.2.2", Alert.ILLEGAL_PARAMETER, "the second ClientHello does not return our cookie"
)
SECOND_HELLO_EARLY_DATA = Rule(
    "RFC 8446 §4.2.10", Alert.ILLEGAL_PARAMETER, "the second ClientHello still offers early data"
)
EARLY_DATA_SKIPPED_LIMIT = Rule(
    "RFC 8446 §4.2.10", Alert.UNEXPECTED_MESSAGE, "more early data came than we are willing to skip"
)

# --- ServerHello and HelloRetryRequest as the client reads them (RFC 8446 §4.1.3, §4.1.4) ----------------------------

SERVER_VERSION = Rule(
    "RFC 8446 §4.2.1",
    Alert.PROTOCOL_VERSION,
    "the server answered with a TLS version we did not offer",
    Kind.NEGOTIATION,
    "server: enable TLS 1.2 or 1.3",
)
SERVER_LEGACY_VERSION = Rule(
    "RFC 8446 §4.1.3", Alert.ILLEGAL_PARAMETER, "legacy_version is not 0x0303 in a TLS 1.3 answer"
)
SERVER_SELECTED_VERSION = Rule(
    "RFC 8446 §4.2.1", Alert.ILLEGAL_PARAMETER, "supported_versions selects a version that was not offered"
)
SERVER_SESSION_ID = Rule("RFC 8446 §4.1.3", Alert.ILLEGAL_PARAMETER, "the session id is not echoed unchanged")
SERVER_CIPHER_SUITE = Rule(
    "RFC 8446 §4.1.3", Alert.ILLEGAL_PARAMETER, "the server selected a cipher suite that was not offered"
)
SERVER_COMPRESSION = Rule("RFC 5246 §7.4.1.3", Alert.ILLEGAL_PARAMETER, "the server selected a compression method")
SERVER_LEGACY_COMPRESSION = Rule("RFC 8446 §4.1.3", Alert.DECODE_ERROR, "legacy_compression_method is not 0 in TLS 1.3")
SERVER_KEY_SHARE_MISSING = Rule("RFC 8446 §9.2", Alert.MISSING_EXTENSION, "the ServerHello lacks key_share")
SERVER_GROUP = Rule(
    "RFC 8446 §4.2.8", Alert.ILLEGAL_PARAMETER, "the server's key share is for a group we sent no share for"
)
KEY_SHARE_INVALID = Rule(
    "RFC 8446 §4.2.8", Alert.ILLEGAL_PARAMETER, "a key share is not a valid public value of its group"
)
DOWNGRADE = Rule(
    "RFC 8446 §4.1.3",
    Alert.ILLEGAL_PARAMETER,
    "the server's random carries the downgrade mark: someone pushed this connection to an older version",
    Kind.PROTOCOL,
    "do not retry with less: something between you and the server alters the handshake",
)
RETRY_EMPTY = Rule("RFC 8446 §4.1.4", Alert.ILLEGAL_PARAMETER, "the HelloRetryRequest would not change our ClientHello")
RETRY_GROUP = Rule(
    "RFC 8446 §4.2.8", Alert.ILLEGAL_PARAMETER, "the HelloRetryRequest names a group that we did not offer"
)
RETRY_GROUP_SHARED = Rule(
    "RFC 8446 §4.2.8", Alert.ILLEGAL_PARAMETER, "the HelloRetryRequest names a group that we sent a key share for"
)
RETRY_CIPHER_SUITE = Rule(
    "RFC 8446 §4.1.4", Alert.ILLEGAL_PARAMETER, "the ServerHello changes the cipher suite of the HelloRetryRequest"
)
RETRY_GROUP_CHANGED = Rule(
    "RFC 8446 §4.2.8", Alert.ILLEGAL_PARAMETER, "the ServerHello's group is not the one the HelloRetryRequest asked for"
)

# --- the rest of the server's flight ---------------------------------------------------------------------------------

PSK_SELECTED = Rule(
    "RFC 8446 §4.2.11", Alert.ILLEGAL_PARAMETER, "the server selected a pre-shared key that was not offered"
)
PSK_HASH = Rule(
    "RFC 8446 §4.2.11", Alert.ILLEGAL_PARAMETER, "the server's cipher suite has another hash than the key it selected"
)
PSK_ALONE = Rule(
    "RFC 8446 §4.2.9", Alert.ILLEGAL_PARAMETER, "the server wants a pre-shared key without a key agreement beside it"
)
EARLY_DATA_ACCEPTED = Rule(
    "RFC 8446 §4.2.10", Alert.ILLEGAL_PARAMETER, "the server takes early data that does not belong to what it chose"
)
EARLY_DATA_OLDER = Rule(
    "RFC 8446 §D.3",
    Alert.PROTOCOL_VERSION,
    "the server answered early data with TLS 1.2",
    Kind.NEGOTIATION,
    "connect again without early data",
)
ALPN_SELECTION = Rule(
    "RFC 7301 §3.1", Alert.ILLEGAL_PARAMETER, "the server selected an application protocol that was not offered"
)
ALPN_COUNT = Rule(
    "RFC 7301 §3.1", Alert.ILLEGAL_PARAMETER, "the server did not select exactly one application protocol"
)
SERVER_NAME_ACK = Rule("RFC 6066 §3", Alert.DECODE_ERROR, "the server's server_name is not empty")
MAX_FRAGMENT_LENGTH_ECHO = Rule(
    "RFC 6066 §4", Alert.ILLEGAL_PARAMETER, "the server's max_fragment_length is not the one offered"
)
BOTH_SIZE_LIMITS = Rule(
    "RFC 8449 §5", Alert.ILLEGAL_PARAMETER, "the server answers both record_size_limit and max_fragment_length"
)
REQUEST_CONTEXT = Rule("RFC 8446 §4.3.2", Alert.DECODE_ERROR, "a CertificateRequest in the handshake has a context")
REQUEST_MISSING_SCHEMES = Rule(
    "RFC 8446 §4.3.2", Alert.MISSING_EXTENSION, "a CertificateRequest lacks signature_algorithms"
)
CERTIFICATE_CONTEXT = Rule("RFC 8446 §4.4.2", Alert.ILLEGAL_PARAMETER, "a Certificate has another context than asked")
CERTIFICATE_EMPTY = Rule("RFC 8446 §4.4.2.4", Alert.DECODE_ERROR, "the server's certificate list is empty")
STATUS_TYPE = Rule("RFC 6066 §8", Alert.ILLEGAL_PARAMETER, "a certificate status is of a type that was not asked for")
CERTIFICATE_REQUIRED = Rule(
    "RFC 8446 §4.4.2.4",
    Alert.CERTIFICATE_REQUIRED,
    "the client sent no certificate, and one is required",
    Kind.CERTIFICATE,
    "client: configure a credential from a CA this server accepts",
)
CERTIFICATE_MALFORMED = Rule("RFC 8446 §4.4.2", Alert.DECODE_ERROR, "a certificate cannot be read", Kind.CERTIFICATE)
CERTIFICATE_KEY_TYPE = Rule(
    "RFC 8446 §4.4.2.2",
    Alert.UNSUPPORTED_CERTIFICATE,
    "the certificate's key is of a kind that cannot sign in TLS 1.3",
    Kind.CERTIFICATE,
    "reissue the certificate with an ECDSA P-256 or RSA-2048 key",
)
CERTIFICATE_KEY_USAGE = Rule(
    "RFC 8446 §4.4.2.2",
    Alert.UNSUPPORTED_CERTIFICATE,
    "the certificate's key usage does not allow digital signatures",
    Kind.CERTIFICATE,
    "reissue the certificate with keyUsage digitalSignature",
)
CHAIN_TOO_LONG = Rule(
    "RFC 8446 §4.4.2", Alert.BAD_CERTIFICATE, "the certificate chain is longer than we accept", Kind.CERTIFICATE
)
SIGNATURE_SCHEME_NOT_OFFERED = Rule(
    "RFC 8446 §4.4.3", Alert.ILLEGAL_PARAMETER, "CertificateVerify uses a signature scheme that was not offered"
)
SIGNATURE_SCHEME_KEY = Rule(
    "RFC 8446 §4.4.3", Alert.ILLEGAL_PARAMETER, "CertificateVerify uses a signature scheme that does not fit the key"
)
SIGNATURE = Rule(
    "RFC 8446 §4.4.3",
    Alert.DECRYPT_ERROR,
    "the signature in CertificateVerify is wrong: the peer did not prove that it owns its certificate's key",
    Kind.CERTIFICATE,
    "server: check that the key file belongs to the certificate",
)
FINISHED = Rule(
    "RFC 8446 §4.4.4", Alert.DECRYPT_ERROR, "the peer's Finished does not match: the two sides saw different handshakes"
)

# --- TLS 1.2 of its own (RFC 5246) ------------------------------------------------------------------------------------

EXTENDED_MASTER_SECRET = Rule(
    "RFC 7627 §5.2",
    Alert.HANDSHAKE_FAILURE,
    "the peer speaks TLS 1.2 without the extended master secret",
    Kind.NEGOTIATION,
    "update the peer, or enable TLS 1.3 on it; danger.allow_plain_master_secret talks to it as it is",
)
RENEGOTIATION_INFO = Rule(
    "RFC 5746 §3.4", Alert.HANDSHAKE_FAILURE, "renegotiation_info is not empty in a first handshake"
)
RENEGOTIATION = Rule("RFC 5746 §4.5", Alert.NO_RENEGOTIATION, "the peer insists on renegotiation, which we do not do")
POINT_FORMATS = Rule("RFC 8422 §5.1.2", Alert.ILLEGAL_PARAMETER, "ec_point_formats lacks uncompressed points")
HELLO_COMPRESSION_NULL = Rule(
    "RFC 5246 §7.4.1.2", Alert.ILLEGAL_PARAMETER, "the ClientHello does not offer null compression"
)
FALLBACK = Rule(
    "RFC 7507 §3",
    Alert.INAPPROPRIATE_FALLBACK,
    "the client fell back to an older version, and we have a newer one: something broke its first attempt",
)
CERTIFICATE_ENCRYPTION = Rule(
    "RFC 5246 §7.4.2",
    Alert.ILLEGAL_PARAMETER,
    "the certificate's key usage does not allow the key transport that the server chose",
    Kind.CERTIFICATE,
    "reissue the certificate with keyUsage keyEncipherment, or choose an ECDHE cipher suite",
)
RESUMED_SUITE = Rule("RFC 5246 §7.4.1.3", Alert.ILLEGAL_PARAMETER, "a resumed session changes its cipher suite")
RESUMED_MASTER_SECRET = Rule(
    "RFC 7627 §5.3", Alert.HANDSHAKE_FAILURE, "a resumed session loses, or gains, the extended master secret"
)
CLIENT_CERTIFICATE_MISSING = Rule(
    "RFC 5246 §7.4.6",
    Alert.HANDSHAKE_FAILURE,
    "the client sent no certificate, and one is required (TLS 1.2 has no alert of its own for that)",
    Kind.CERTIFICATE,
    "client: configure a credential from a CA this server accepts",
)
CERTIFICATE_SUITE = Rule(
    "RFC 5246 §7.4.2",
    Alert.ILLEGAL_PARAMETER,
    "the server's certificate has a key that its own choice of cipher suite cannot use",
)
CERTIFICATE_CURVE = Rule(
    "RFC 8422 §5.3",
    Alert.ILLEGAL_PARAMETER,
    "the server's certificate has a key on a curve that we did not offer",
    Kind.CERTIFICATE,
    "reissue the certificate with a P-256 key, or add its curve to groups",
)

# --- after the handshake (RFC 8446 §4.6) -----------------------------------------------------------------------------

KEY_UPDATE_REQUEST = Rule("RFC 8446 §4.6.3", Alert.ILLEGAL_PARAMETER, "a KeyUpdate asks for neither yes nor no")
TICKET_LIFETIME = Rule("RFC 8446 §4.6.1", Alert.ILLEGAL_PARAMETER, "a ticket's lifetime is longer than seven days")

# --- not TLS at all --------------------------------------------------------------------------------------------------

SPEAKS_HTTP = Rule(
    "RFC 8446 §5.1",
    Alert.PROTOCOL_VERSION,
    "this port speaks plain HTTP, not TLS",
    Kind.NOT_TLS,
    "use http://, or the port that has TLS",
)
SPEAKS_MAIL = Rule(
    "RFC 8446 §5.1",
    Alert.PROTOCOL_VERSION,
    "this is a mail or file server that starts in plain text",
    Kind.NOT_TLS,
    "upgrade with STARTTLS first, or use the direct TLS port (465, 993, 995, 990)",
)
SPEAKS_SSH = Rule(
    "RFC 8446 §5.1", Alert.PROTOCOL_VERSION, "this port speaks SSH, not TLS", Kind.NOT_TLS, "check the port"
)
SPEAKS_SSL2 = Rule(
    "RFC 8446 §D.5",
    Alert.PROTOCOL_VERSION,
    "the peer sent an SSL 2.0 hello",
    Kind.NOT_TLS,
    "use a client of this century",
)
SPEAKS_UNKNOWN = Rule(
    "RFC 8446 §5.1", Alert.PROTOCOL_VERSION, "what answers here is not TLS", Kind.NOT_TLS, "check the port"
)

ALL: Final[dict[str, Rule]] = {name: value for name, value in list(globals().items()) if isinstance(value, Rule)}
"""Every rule by its name in this module."""

_NAMES: Final = {rule: name.lower().replace("_", "-") for name, rule in ALL.items()}
