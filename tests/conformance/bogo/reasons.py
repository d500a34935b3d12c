"""What the runner calls the errors that we have names of our own for."""

from __future__ import annotations

from typing import Final

from handclasp import AlertReceived, TLSError

REASONS: Final = {
    "record-type": "UNEXPECTED_RECORD",
    "record-version": "WRONG_VERSION_NUMBER",
    "record-overflow": "ENCRYPTED_LENGTH_TOO_LONG",
    "plaintext-overflow": "DATA_LENGTH_TOO_LONG",
    "record-empty": "TOO_MANY_EMPTY_FRAGMENTS",
    "record-mac": "DECRYPTION_FAILED_OR_BAD_RECORD_MAC",
    "record-only-padding": "DECRYPTION_FAILED_OR_BAD_RECORD_MAC",
    "record-unprotected": "INVALID_OUTER_RECORD_TYPE",
    "ccs-content": "BAD_CHANGE_CIPHER_SPEC",
    "ccs-misplaced": "UNEXPECTED_RECORD",
    "early-application-data": "UNEXPECTED_RECORD",
    "too-many-idle-records": "TOO_MANY_EMPTY_FRAGMENTS",
    "too-many-warnings": "TOO_MANY_WARNING_ALERTS",
    "too-many-post-handshake": "TOO_MANY_KEY_UPDATES",
    "message-too-long": "EXCESSIVE_MESSAGE_SIZE",
    "alert-malformed": "BAD_ALERT",
    "alert-warning": "BAD_ALERT",
    "alert-level": "UNKNOWN_ALERT_TYPE",
    "short": "DECODE_ERROR",
    "trailing": "DECODE_ERROR",
    "vector-bounds": "DECODE_ERROR",
    "extension-duplicate": "DUPLICATE_EXTENSION",
    "extension-unknown-duplicate": "DUPLICATE_EXTENSION",
    "extension-misplaced": "UNEXPECTED_EXTENSION",
    "extension-unsolicited": "UNEXPECTED_EXTENSION",
    "message-unexpected": "UNEXPECTED_MESSAGE",
    "key-change-boundary": "EXCESS_HANDSHAKE_DATA",
    "no-supported-version": "UNSUPPORTED_PROTOCOL",
    "server-version": "UNSUPPORTED_PROTOCOL",
    "no-common-cipher-suite": "NO_SHARED_CIPHER",
    "no-common-group": "NO_SHARED_GROUP",
    "no-common-signature-scheme": "NO_COMMON_SIGNATURE_ALGORITHMS",
    "no-application-protocol": "NO_APPLICATION_PROTOCOL",
    "hello-compression": "INVALID_COMPRESSION_LIST",
    "hello-compression-null": "INVALID_COMPRESSION_LIST",
    "hello-missing-groups": "NO_SHARED_GROUP",
    "hello-missing-key-share": "MISSING_KEY_SHARE",
    "server-key-share-missing": "MISSING_KEY_SHARE",
    "key-share-duplicate": "DUPLICATE_KEY_SHARE",
    "key-share-invalid": "BAD_ECPOINT",
    "second-hello-psks": "MISSING_EXTENSION",
    "compression-duplicate": "ERROR_PARSING_EXTENSION",
    "compression-not-offered": "UNKNOWN_CERT_COMPRESSION_ALG",
    "certificate-compression": "CERT_DECOMPRESSION_FAILED",
    "psk-binder": "DIGEST_CHECK_FAILED",
    "psk-not-last": "PRE_SHARED_KEY_MUST_BE_LAST",
    "psk-without-modes": "MISSING_EXTENSION",
    "psk-binder-count": "PSK_IDENTITY_BINDER_COUNT_MISMATCH",
    "psk-selected": "PSK_IDENTITY_NOT_FOUND",
    "psk-hash": "OLD_SESSION_PRF_HASH_MISMATCH",
    "early-data-limit": "TOO_MUCH_READ_EARLY_DATA",
    "early-data-skipped-limit": "TOO_MUCH_SKIPPED_EARLY_DATA",
    "early-data-older": "WRONG_VERSION_ON_EARLY_DATA",
    "server-selected-version": "UNSUPPORTED_PROTOCOL",
    "server-legacy-version": "UNSUPPORTED_PROTOCOL",
    "server-session-id": "SERVER_ECHOED_INVALID_SESSION_ID",
    "server-cipher-suite": "WRONG_CIPHER_RETURNED",
    "server-compression": "UNSUPPORTED_COMPRESSION_ALGORITHM",
    "server-legacy-compression": "DECODE_ERROR",
    "server-group": "WRONG_CURVE",
    "alpn-selection": "INVALID_ALPN_PROTOCOL",
    "not-established": "HANDSHAKE_NOT_COMPLETE",
    "point-formats": "ERROR_PARSING_EXTENSION",
    "certificate-curve": "BAD_ECC_CERT",
    "downgrade": "TLS13_DOWNGRADE",
    "retry-empty": "EMPTY_HELLO_RETRY_REQUEST",
    "retry-group": "WRONG_CURVE",
    "retry-group-shared": "WRONG_CURVE",
    "retry-group-changed": "WRONG_CURVE",
    "retry-cipher-suite": "WRONG_CIPHER_RETURNED",
    "request-context": "DECODE_ERROR",
    "server-name-ack": "DECODE_ERROR",
    "key-update-request": "DECODE_ERROR",
    "second-hello-key-share": "WRONG_CURVE",
    "certificate-required": "PEER_DID_NOT_RETURN_A_CERTIFICATE",
    "client-certificate-missing": "PEER_DID_NOT_RETURN_A_CERTIFICATE",
    "certificate-empty": "DECODE_ERROR",
    "certificate-malformed": "CANNOT_PARSE_LEAF_CERT",
    "certificate-key-type": "UNKNOWN_CERTIFICATE_TYPE",
    "certificate-key-usage": "KEY_USAGE_BIT_INCORRECT",
    "certificate-encryption": "KEY_USAGE_BIT_INCORRECT",
    "certificate-suite": "WRONG_CERTIFICATE_TYPE",
    "signature-scheme-not-offered": "WRONG_SIGNATURE_TYPE",
    "signature-scheme-key": "WRONG_SIGNATURE_TYPE",
    "signature": "BAD_SIGNATURE",
    "finished": "DIGEST_CHECK_FAILED",
    "renegotiation": "NO_RENEGOTIATION",
    "renegotiation-info": "RENEGOTIATION_MISMATCH",
    "fallback": "INAPPROPRIATE_FALLBACK",
    "resumed-suite": "OLD_SESSION_CIPHER_NOT_RETURNED",
    "speaks-http": "HTTP_REQUEST",
    "speaks-unknown": "WRONG_VERSION_NUMBER",
}
"""By `TLSError.code`. What is not listed has the code itself in capitals."""


def reason(error: TLSError) -> str:
    """The runner's word for an error."""
    if isinstance(error, AlertReceived) and error.alert is not None:
        name = error.alert.name
        return f"{'TLSV1' if name in _NEWER_ALERTS else 'SSLV3'}_ALERT_{name}"
    return REASONS.get(error.code, error.code.upper().replace("-", "_"))


_NEWER = """
    DECRYPTION_FAILED RECORD_OVERFLOW UNKNOWN_CA ACCESS_DENIED DECODE_ERROR DECRYPT_ERROR EXPORT_RESTRICTION
    PROTOCOL_VERSION INSUFFICIENT_SECURITY INTERNAL_ERROR USER_CANCELED NO_RENEGOTIATION UNSUPPORTED_EXTENSION
    CERTIFICATE_UNOBTAINABLE UNRECOGNIZED_NAME BAD_CERTIFICATE_STATUS_RESPONSE UNKNOWN_PSK_IDENTITY
    CERTIFICATE_REQUIRED NO_APPLICATION_PROTOCOL
    """

_NEWER_ALERTS: Final = frozenset(_NEWER.split())
"""Alerts that came after SSL 3.0: the runner's errors tell them apart."""
