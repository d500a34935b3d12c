"""The registries: every code point handclasp has a name for (IANA "TLS Parameters", RFC 9847 and its predecessors)."""

from __future__ import annotations

from ..codes import Code


class TLSVersion(Code, size=2):
    """ProtocolVersion, RFC 8446 §4.1.2 and §B.3.1.1."""

    SSL_3_0 = 0x0300
    TLS_1_0 = 0x0301
    TLS_1_1 = 0x0302
    TLS_1_2 = 0x0303
    TLS_1_3 = 0x0304

    @property
    def label(self) -> str:
        return self.name.replace("_", " ", 1).replace("_", ".") if self.known else self.name


class ContentType(Code, size=1):
    """RFC 8446 §5.1."""

    INVALID = 0
    CHANGE_CIPHER_SPEC = 20
    ALERT = 21
    HANDSHAKE = 22
    APPLICATION_DATA = 23
    HEARTBEAT = 24

    @property
    def label(self) -> str:
        return self.name.lower()


class HandshakeType(Code, size=1):
    """RFC 8446 §4 and §B.3."""

    HELLO_REQUEST = 0
    CLIENT_HELLO = 1
    SERVER_HELLO = 2
    NEW_SESSION_TICKET = 4
    END_OF_EARLY_DATA = 5
    ENCRYPTED_EXTENSIONS = 8
    CERTIFICATE = 11
    SERVER_KEY_EXCHANGE = 12
    CERTIFICATE_REQUEST = 13
    SERVER_HELLO_DONE = 14
    CERTIFICATE_VERIFY = 15
    CLIENT_KEY_EXCHANGE = 16
    FINISHED = 20
    CERTIFICATE_STATUS = 22
    KEY_UPDATE = 24
    COMPRESSED_CERTIFICATE = 25
    MESSAGE_HASH = 254

    @property
    def label(self) -> str:
        return self.name.replace("_", " ").title().replace(" ", "") if self.known else self.name


class ExtensionType(Code, size=2):
    """RFC 8446 §4.2 and the registry it opened."""

    SERVER_NAME = 0
    MAX_FRAGMENT_LENGTH = 1
    STATUS_REQUEST = 5
    SUPPORTED_GROUPS = 10
    EC_POINT_FORMATS = 11
    SIGNATURE_ALGORITHMS = 13
    USE_SRTP = 14
    HEARTBEAT = 15
    APPLICATION_LAYER_PROTOCOL_NEGOTIATION = 16
    SIGNED_CERTIFICATE_TIMESTAMP = 18
    CLIENT_CERTIFICATE_TYPE = 19
    SERVER_CERTIFICATE_TYPE = 20
    PADDING = 21
    ENCRYPT_THEN_MAC = 22
    EXTENDED_MASTER_SECRET = 23
    COMPRESS_CERTIFICATE = 27
    RECORD_SIZE_LIMIT = 28
    SESSION_TICKET = 35
    PRE_SHARED_KEY = 41
    EARLY_DATA = 42
    SUPPORTED_VERSIONS = 43
    COOKIE = 44
    PSK_KEY_EXCHANGE_MODES = 45
    CERTIFICATE_AUTHORITIES = 47
    OID_FILTERS = 48
    POST_HANDSHAKE_AUTH = 49
    SIGNATURE_ALGORITHMS_CERT = 50
    KEY_SHARE = 51
    QUIC_TRANSPORT_PARAMETERS = 57
    ENCRYPTED_CLIENT_HELLO = 0xFE0D
    RENEGOTIATION_INFO = 0xFF01

    @property
    def label(self) -> str:
        return self.name.lower() if self.known else self.name


class CipherSuite(Code, size=2):
    """RFC 8446 §B.4; RFC 5288, RFC 5289 and RFC 7905; the signalling values of RFC 5746 §3.3 and RFC 7507 §2."""

    TLS_RSA_WITH_AES_128_GCM_SHA256 = 0x009C
    TLS_RSA_WITH_AES_256_GCM_SHA384 = 0x009D
    TLS_EMPTY_RENEGOTIATION_INFO_SCSV = 0x00FF
    TLS_AES_128_GCM_SHA256 = 0x1301
    TLS_AES_256_GCM_SHA384 = 0x1302
    TLS_CHACHA20_POLY1305_SHA256 = 0x1303
    TLS_AES_128_CCM_SHA256 = 0x1304
    TLS_AES_128_CCM_8_SHA256 = 0x1305
    TLS_FALLBACK_SCSV = 0x5600
    TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 = 0xC02B
    TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 = 0xC02C
    TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 = 0xC02F
    TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 = 0xC030
    TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 = 0xCCA8
    TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 = 0xCCA9


class NamedGroup(Code, size=2):
    """Key-agreement groups: RFC 8446 §4.2.7, RFC 7919 (named only) and the ML-KEM hybrids of RFC 10024."""

    SECP256R1 = 0x0017
    SECP384R1 = 0x0018
    SECP521R1 = 0x0019
    X25519 = 0x001D
    X448 = 0x001E
    FFDHE2048 = 0x0100
    FFDHE3072 = 0x0101
    FFDHE4096 = 0x0102
    FFDHE6144 = 0x0103
    FFDHE8192 = 0x0104
    MLKEM512 = 0x0200
    MLKEM768 = 0x0201
    MLKEM1024 = 0x0202
    SECP256R1_MLKEM768 = 0x11EB
    X25519_MLKEM768 = 0x11EC
    SECP384R1_MLKEM1024 = 0x11ED

    @property
    def label(self) -> str:
        return _GROUP_LABELS.get(self._value_) or (self.name.lower() if self.known else self.name)


_GROUP_LABELS = {
    0x001D: "X25519",
    0x001E: "X448",
    0x0200: "MLKEM512",
    0x0201: "MLKEM768",
    0x0202: "MLKEM1024",
    0x11EB: "SecP256r1MLKEM768",
    0x11EC: "X25519MLKEM768",
    0x11ED: "SecP384r1MLKEM1024",
}


class SignatureScheme(Code, size=2):
    """RFC 8446 §4.2.3; ML-DSA from draft-ietf-tls-mldsa (registered)."""

    RSA_PKCS1_SHA1 = 0x0201
    ECDSA_SHA1 = 0x0203
    RSA_PKCS1_SHA256 = 0x0401
    ECDSA_SECP256R1_SHA256 = 0x0403
    RSA_PKCS1_SHA384 = 0x0501
    ECDSA_SECP384R1_SHA384 = 0x0503
    RSA_PKCS1_SHA512 = 0x0601
    ECDSA_SECP521R1_SHA512 = 0x0603
    RSA_PSS_RSAE_SHA256 = 0x0804
    RSA_PSS_RSAE_SHA384 = 0x0805
    RSA_PSS_RSAE_SHA512 = 0x0806
    ED25519 = 0x0807
    ED448 = 0x0808
    RSA_PSS_PSS_SHA256 = 0x0809
    RSA_PSS_PSS_SHA384 = 0x080A
    RSA_PSS_PSS_SHA512 = 0x080B
    MLDSA44 = 0x0904
    MLDSA65 = 0x0905
    MLDSA87 = 0x0906

    @property
    def label(self) -> str:
        return self.name.lower() if self.known else self.name


class NameType(Code, size=1):
    """RFC 6066 §3."""

    HOST_NAME = 0


class PskKeyExchangeMode(Code, size=1):
    """RFC 8446 §4.2.9."""

    PSK_KE = 0
    PSK_DHE_KE = 1

    @property
    def label(self) -> str:
        return self.name.lower()


class KeyUpdateRequest(Code, size=1):
    """RFC 8446 §4.6.3."""

    UPDATE_NOT_REQUESTED = 0
    UPDATE_REQUESTED = 1

    @property
    def label(self) -> str:
        return self.name.lower()


class CertificateCompression(Code, size=2):
    """RFC 8879 §7.3."""

    ZLIB = 1
    BROTLI = 2
    ZSTD = 3

    @property
    def label(self) -> str:
        return self.name.lower() if self.known else self.name


class CertificateStatusType(Code, size=1):
    """RFC 6066 §8."""

    OCSP = 1


class MaxFragmentLength(Code, size=1):
    """RFC 6066 §4: the code n stands for 2^(8+n) bytes."""

    LENGTH_512 = 1
    LENGTH_1024 = 2
    LENGTH_2048 = 3
    LENGTH_4096 = 4

    @property
    def octets(self) -> int:
        """The agreed most content of one record, in bytes."""
        return 1 << 8 + self._value_


class ECCurveType(Code, size=1):
    """RFC 8422 §5.4; only named curves are left."""

    NAMED_CURVE = 3


class ClientCertificateType(Code, size=1):
    """RFC 5246 §7.4.4 and RFC 8422 §5.5."""

    RSA_SIGN = 1
    ECDSA_SIGN = 64
