"""Which message may carry which extension: the table of RFC 8446 §4.2, every cell of it."""

from __future__ import annotations

from typing import Any

import pytest

from handclasp.rules import EXTENSION_MISPLACED, EXTENSION_UNKNOWN_DUPLICATE, PeerFault
from handclasp.wire.blocks import RECOGNISED, Extensions
from handclasp.wire.codec import decode
from handclasp.wire.extensions import (
    CertificateEntryExtensions,
    CertificateRequestExtensions,
    ClientHelloExtensions,
    EncryptedExtensionsBlock,
    HelloRetryRequestExtensions,
    NewSessionTicketExtensions,
    ServerHelloExtensions,
)
from handclasp.wire.names import ExtensionType as E

BLOCKS: dict[str, Extensions[Any]] = {
    "CH": Extensions(ClientHelloExtensions, 0, False),
    "SH": Extensions(ServerHelloExtensions, 0, False),
    "EE": Extensions(EncryptedExtensionsBlock, 0, False),
    "CT": Extensions(CertificateEntryExtensions, 0, False),
    "CR": Extensions(CertificateRequestExtensions, 0, False),
    "NST": Extensions(NewSessionTicketExtensions, 0, False),
    "HRR": Extensions(HelloRetryRequestExtensions, 0, False),
}

TABLE = {
    E.SERVER_NAME: "CH EE",
    E.MAX_FRAGMENT_LENGTH: "CH EE",
    E.STATUS_REQUEST: "CH CR CT",
    E.SUPPORTED_GROUPS: "CH EE",
    E.SIGNATURE_ALGORITHMS: "CH CR",
    E.APPLICATION_LAYER_PROTOCOL_NEGOTIATION: "CH EE",
    E.SIGNED_CERTIFICATE_TIMESTAMP: "CH CR CT",
    E.COMPRESS_CERTIFICATE: "CH CR",  # RFC 8879 §3
    E.PADDING: "CH",
    E.RECORD_SIZE_LIMIT: "CH EE",  # RFC 8449 §4
    E.KEY_SHARE: "CH SH HRR",
    E.PRE_SHARED_KEY: "CH SH",
    E.PSK_KEY_EXCHANGE_MODES: "CH",
    E.EARLY_DATA: "CH EE NST",
    E.COOKIE: "CH HRR",
    E.SUPPORTED_VERSIONS: "CH SH HRR",
    E.CERTIFICATE_AUTHORITIES: "CH CR",
    E.OID_FILTERS: "CR",
    E.POST_HANDSHAKE_AUTH: "CH",
    E.SIGNATURE_ALGORITHMS_CERT: "CH CR",
    # of TLS 1.2, offered beside the others by those who speak both
    E.EC_POINT_FORMATS: "CH",
    E.ENCRYPT_THEN_MAC: "CH",
    E.EXTENDED_MASTER_SECRET: "CH",
    E.SESSION_TICKET: "CH",
    E.RENEGOTIATION_INFO: "CH",
}

OF_TLS_1_2 = {
    E.SERVER_NAME,
    E.MAX_FRAGMENT_LENGTH,
    E.STATUS_REQUEST,
    E.SUPPORTED_GROUPS,
    E.EC_POINT_FORMATS,
    E.APPLICATION_LAYER_PROTOCOL_NEGOTIATION,
    E.SIGNED_CERTIFICATE_TIMESTAMP,  # RFC 6962 §3.3.1
    E.EXTENDED_MASTER_SECRET,
    E.RECORD_SIZE_LIMIT,
    E.SESSION_TICKET,
    E.RENEGOTIATION_INFO,
}
"""A ServerHello of TLS 1.2 carries these; in one of TLS 1.3 the client refuses them, as a test of rules shows."""


def test_the_table_is_about_all_that_is_recognised() -> None:
    assert set(TABLE) == RECOGNISED


@pytest.mark.attack(28, "extensions out of place")
@pytest.mark.parametrize("block", sorted(BLOCKS))
@pytest.mark.parametrize("type_", sorted(TABLE), ids=str)
def test_an_extension_is_read_where_it_belongs_and_nowhere_else(type_: E, block: str) -> None:
    belongs = block in TABLE[type_].split() or (block == "SH" and type_ in OF_TLS_1_2)
    assert (type_ in BLOCKS[block].by_type) is belongs
    data = (4).to_bytes(2) + type_.to_bytes(2) + b"\0\0"
    try:
        decode(BLOCKS[block], data)
    except PeerFault as fault:
        assert (fault.rule is EXTENSION_MISPLACED) is not belongs  # noqa: PT017 - reading it is right too
    else:
        assert belongs


@pytest.mark.parametrize("block", sorted(BLOCKS))
@pytest.mark.parametrize("type_", [E(0x0A0A), E(0x7F7F), E.HEARTBEAT, E.USE_SRTP], ids=str)
def test_what_is_not_recognised_is_kept_and_may_not_be_repeated(type_: E, block: str) -> None:
    once = type_.to_bytes(2) + b"\0\1?"
    read = decode(BLOCKS[block], len(once).to_bytes(2) + once)
    assert read.unknown == ((type_, b"?"),)
    with pytest.raises(PeerFault) as caught:
        decode(BLOCKS[block], (2 * len(once)).to_bytes(2) + 2 * once)
    assert caught.value.rule is EXTENSION_UNKNOWN_DUPLICATE


def test_the_same_extension_means_another_thing_in_another_message() -> None:
    """key_share: a list in the ClientHello, an entry in the ServerHello, a group in the HelloRetryRequest."""
    group = (6).to_bytes(2) + E.KEY_SHARE.to_bytes(2) + b"\0\2\0\x1d"
    assert decode(BLOCKS["HRR"], group).key_share == 0x1D
    for block in ("CH", "SH"):
        with pytest.raises(PeerFault):
            decode(BLOCKS[block], group)
