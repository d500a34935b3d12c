"""Protected records: nonces, additional data, padding, wear; against RFC 8448 and against whoever alters them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from handclasp.channel.protection import ClearSealer, Opener13, Sealer13
from handclasp.channel.schedule import TrafficSecret
from handclasp.crypto.secret import Secret
from handclasp.crypto.suites import SUITES, Suite
from handclasp.limits import MAX_PLAINTEXT, RECORD_HEADER, Limits
from handclasp.rules import PLAINTEXT_OVERFLOW, RECORD_KEY_SPENT, RECORD_ONLY_PADDING, PeerFault
from handclasp.wire.names import CipherSuite, ContentType
from vectors.rfc8448 import NAMES, load

GCM = SUITES[CipherSuite.TLS_AES_128_GCM_SHA256]
DATA = ContentType.APPLICATION_DATA
MOST = MAX_PLAINTEXT + 1

suites = pytest.mark.parametrize("suite", list(SUITES.values()), ids=lambda suite: str(suite.code))


def _secret(suite: Suite) -> TrafficSecret:
    return TrafficSecret(suite, Secret(bytes(suite.hash.size)))


def _pair(suite: Suite = GCM, limits: Limits | None = None, most: int = MOST) -> tuple[Sealer13, Opener13]:
    limits = limits or Limits()
    return Sealer13(_secret(suite), limits), Opener13(_secret(suite), limits, most)


def _seal(sealer: Sealer13 | ClearSealer, type_: ContentType, content: bytes, padding: int) -> bytes:
    """A record in one piece."""
    return b"".join(sealer.seal(type_, content, padding))


def _open(opener: Opener13, record: bytes) -> tuple[ContentType, bytes] | None:
    return opener.open(record[:RECORD_HEADER], record[RECORD_HEADER:])


@pytest.mark.parametrize("name", NAMES)
def test_the_records_of_the_rfc(name: str) -> None:
    trace = load(name)
    seen = 0
    sealers: dict[tuple[str, str], tuple[Sealer13, Opener13]] = {}
    for record in trace.records:
        key = (record.epoch, record.sender)
        if record.epoch == "plaintext":
            continue
        if key not in sealers:
            secret = TrafficSecret(GCM, Secret(trace.secrets[f"{record.sender}_{record.epoch}_traffic"]))
            sealers[key] = Sealer13(secret, Limits()), Opener13(secret, Limits(), MOST)
        sealer, opener = sealers[key]
        type_ = ContentType[record.type.upper()]
        assert _seal(sealer, type_, record.payload, 0) == record.record
        assert _open(opener, record.record) == (type_, record.payload)
        seen += 1
    assert seen == sum(record.epoch != "plaintext" for record in trace.records) >= 4


@suites
@pytest.mark.parametrize("size", [0, 1, 100, MAX_PLAINTEXT])
def test_there_and_back(suite: Suite, size: int) -> None:
    sealer, opener = _pair(suite)
    for index in range(3):
        content = bytes([index + 1]) * size
        record = _seal(sealer, DATA, content, 0)
        assert record[:3] == b"\x17\3\3"
        assert int.from_bytes(record[3:5]) == len(record) - 5 == size + 1 + suite.aead.tag_size
        assert _open(opener, record) == (DATA, content)


@pytest.mark.attack(37, "record headers altered")
@suites
def test_any_byte_altered(suite: Suite) -> None:
    """The header too: it is authenticated as it came, not as it should have been."""
    record = _seal(_pair(suite)[0], DATA, b"data", 3)
    for at in range(len(record)):
        opener = _pair(suite)[1]
        altered = record[:at] + bytes([record[at] ^ 1]) + record[at + 1 :]
        assert _open(opener, altered) is None
        assert opener.number < 0
        assert _open(opener, record) == (DATA, b"data")


@pytest.mark.parametrize("change", [lambda r: r[:-1], lambda r: r + b"\0", lambda r: r[:5], lambda r: r[:10]])
def test_too_short_and_too_long(change: Callable[[bytes], bytes]) -> None:
    sealer, opener = _pair()
    assert _open(opener, change(_seal(sealer, DATA, b"data", 0))) is None


def test_out_of_order_and_again() -> None:
    sealer, opener = _pair()
    first, second = _seal(sealer, DATA, b"1", 0), _seal(sealer, DATA, b"2", 0)
    assert _open(opener, second) is None
    assert _open(opener, first) == (DATA, b"1")
    assert _open(opener, first) is None
    assert _open(opener, second) == (DATA, b"2")


@pytest.mark.parametrize("padding", [0, 1, 255, 5000])
def test_padding_is_hidden(padding: int) -> None:
    sealer, opener = _pair()
    record = _seal(sealer, DATA, b"data", padding)
    assert len(record) == 5 + 4 + 1 + padding + 16
    assert _open(opener, record) == (DATA, b"data")


@pytest.mark.parametrize("content", [b"\0\0\0", b"data\0\0"])
def test_zeros_of_the_content_are_no_padding(content: bytes) -> None:
    sealer, opener = _pair()
    assert _open(opener, _seal(sealer, DATA, content, 7)) == (DATA, content)


@pytest.mark.attack(40, "records of nothing but padding")
@pytest.mark.parametrize("size", [0, 1, MAX_PLAINTEXT])
def test_nothing_but_padding(size: int) -> None:
    sealer, opener = _pair()
    with pytest.raises(PeerFault) as caught:
        _open(opener, _seal(sealer, ContentType.INVALID, bytes(size), 0))
    assert caught.value.rule is RECORD_ONLY_PADDING


@pytest.mark.attack(41, "record overflow")
@pytest.mark.parametrize(("content", "padding"), [(MAX_PLAINTEXT + 1, 0), (MAX_PLAINTEXT, 1), (1, MAX_PLAINTEXT)])
def test_longer_than_a_record_may_be(content: int, padding: int) -> None:
    sealer, opener = _pair()
    with pytest.raises(PeerFault) as caught:
        _open(opener, _seal(sealer, DATA, bytes(content), padding))
    assert caught.value.rule is PLAINTEXT_OVERFLOW


@pytest.mark.parametrize("most", [64, 500])
def test_longer_than_was_agreed(most: int) -> None:
    """The agreed size counts content, type and padding (RFC 8449 §4)."""
    sealer, opener = _pair(most=most)
    assert _open(opener, _seal(sealer, DATA, b"x" * (most - 1), 0)) is not None
    assert _open(opener, _seal(sealer, DATA, b"x" * (most - 11), 10)) is not None
    with pytest.raises(PeerFault) as caught:
        _open(opener, _seal(sealer, DATA, b"x" * (most - 11), 11))
    assert caught.value.rule is PLAINTEXT_OVERFLOW


@suites
def test_wear(suite: Suite) -> None:
    sealer, opener = _pair(suite, Limits(records_per_key=3, records_received_per_key=5))
    states = []
    for _ in range(5):
        _open(opener, _seal(sealer, DATA, b"", 0))
        states.append((sealer.number >= sealer.last, opener.number >= opener.worn_at))
    worn = [(False, False), (False, False), (True, True), (True, True), (True, True)]
    assert states == (worn if suite.counts_records else [(False, False)] * 5)
    record = _seal(sealer, DATA, b"", 0)
    if suite.counts_records:
        with pytest.raises(PeerFault) as caught:
            _open(opener, record)
        assert caught.value.rule is RECORD_KEY_SPENT
    else:
        assert _open(opener, record) == (DATA, b"")


@dataclass
class Failing:
    """A cipher that breaks down now and then, and remembers the nonces it was given."""

    inner: Any
    nonces: list[bytes] = field(default_factory=list)

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes:
        self.nonces.append(nonce)
        if len(self.nonces) % 2:
            raise KeyboardInterrupt
        sealed: bytes = self.inner.encrypt(nonce, data, associated_data)
        return sealed


@pytest.mark.attack(50, "nonce reuse")
def test_an_interrupted_seal_never_uses_a_nonce_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    sealer, _ = _pair()
    cipher = Failing(sealer._cipher)
    monkeypatch.setattr(sealer, "_cipher", cipher)
    for index in range(10):
        if index % 2 == 0:
            with pytest.raises(KeyboardInterrupt):
                _seal(sealer, DATA, b"data", 0)
        else:
            _seal(sealer, DATA, b"data", 0)
    assert len(set(cipher.nonces)) == len(cipher.nonces) == 10


def test_in_the_clear_the_first_record_says_an_older_version() -> None:
    sealer = ClearSealer(0x0301)
    assert _seal(sealer, ContentType.HANDSHAKE, b"a", 0) == b"\x16\3\1\0\1a"
    assert _seal(sealer, ContentType.HANDSHAKE, b"b", 0) == b"\x16\3\3\0\1b"
    assert sealer.number < sealer.last
