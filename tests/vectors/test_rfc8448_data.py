"""The data of RFC 8448 agrees with itself: every value follows from the others, by `cryptography` and `hashlib` alone.

What a slip of transcription would break is checked here, so that a replay that fails is the library's fault.
"""

from __future__ import annotations

import hashlib
import hmac
from itertools import groupby
from operator import itemgetter

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .rfc8448 import NAMES, Epoch, Side, Trace, load, load_server_rsa_key

MESSAGE_TYPES = {
    "ClientHello": 1,
    "ServerHello": 2,
    "HelloRetryRequest": 2,
    "NewSessionTicket": 4,
    "EndOfEarlyData": 5,
    "EncryptedExtensions": 8,
    "Certificate": 11,
    "CertificateRequest": 13,
    "CertificateVerify": 15,
    "Finished": 20,
}
CONTENT_TYPES = {"change_cipher_spec": 20, "alert": 21, "handshake": 22, "application_data": 23}
HELLO_RETRY_REQUEST_RANDOM = hashlib.sha256(b"HelloRetryRequest").digest()
RECORD_HEADER = 5
AEAD_TAG = 16
ZEROS = bytes(32)

CLIENT_HELLO, SERVER_HELLO, KEY_SHARE, PRE_SHARED_KEY = 1, 2, 51, 41

every_trace = pytest.mark.parametrize("trace", [load(name) for name in NAMES], ids=NAMES)


# --- what the checks are made of


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def mac(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, "sha256")


def expand_label(secret: bytes, label: str, context: bytes, length: int) -> bytes:
    """HKDF-Expand-Label of RFC 8446 §7.1, for no more than one block of SHA-256."""
    assert length <= hashlib.sha256().digest_size
    full = b"tls13 " + label.encode()
    info = length.to_bytes(2) + bytes([len(full)]) + full + bytes([len(context)]) + context
    return mac(secret, info + b"\x01")[:length]


def transcript(trace: Trace, through: int) -> bytes:
    """The messages up to and with that index; a retry replaces the first ClientHello by its hash (RFC 8446 §4.4.1)."""
    messages = [m.message for m in trace.messages[: through + 1]]
    if len(messages) > 1 and trace.messages[1].name == "HelloRetryRequest":
        messages[0] = b"\xfe\0\0\x20" + sha256(messages[0])
    return b"".join(messages)


def index(trace: Trace, sender: Side, name: str) -> int:
    return max(i for i, m in enumerate(trace.messages) if (m.sender, m.name) == (sender, name))


def extensions(hello: bytes) -> dict[int, bytes]:
    """The extensions of a ClientHello or of a ServerHello."""
    at = 4 + 2 + 32
    at += 1 + hello[at]  # the session id
    if hello[0] == CLIENT_HELLO:
        at += 2 + int.from_bytes(hello[at : at + 2])  # the cipher suites
        at += 1 + hello[at]  # the compression methods
    else:
        at += 3
    assert int.from_bytes(hello[at : at + 2]) == len(hello) - at - 2
    at += 2
    found: dict[int, bytes] = {}
    while at < len(hello):
        length = int.from_bytes(hello[at + 2 : at + 4])
        found[int.from_bytes(hello[at : at + 2])] = hello[at + 4 : at + 4 + length]
        at += 4 + length
    assert at == len(hello)
    return found


def key_share(hello: bytes) -> tuple[int, bytes]:
    """The group and the key of the one share in a hello."""
    data = extensions(hello)[KEY_SHARE]
    if hello[0] == CLIENT_HELLO:
        assert int.from_bytes(data[:2]) == len(data) - 2
        data = data[2:]
    assert int.from_bytes(data[2:4]) == len(data) - 4
    return int.from_bytes(data[:2]), data[4:]


def exchange(private: bytes, public: bytes) -> bytes:
    if len(public) == 32:
        peer = x25519.X25519PublicKey.from_public_bytes(public)
        return x25519.X25519PrivateKey.from_private_bytes(private).exchange(peer)
    point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public)
    return p256(private).exchange(ec.ECDH(), point)


def p256(private: bytes) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int.from_bytes(private), ec.SECP256R1())


# --- framing


@every_trace
def test_a_message_is_as_long_as_its_header_says(trace: Trace) -> None:
    for m in trace.messages:
        assert m.message[0] == MESSAGE_TYPES[m.name]
        assert int.from_bytes(m.message[1:4]) == len(m.message) - 4


@every_trace
def test_only_a_hello_retry_request_has_its_random(trace: Trace) -> None:
    retries = [m.message[6:38] == HELLO_RETRY_REQUEST_RANDOM for m in trace.messages if m.message[0] == SERVER_HELLO]
    assert retries == ([True, False] if trace.name == "hello-retry-request" else [False])


@every_trace
def test_a_record_is_as_long_as_its_header_says(trace: Trace) -> None:
    for r in trace.records:
        protected = r.epoch != "plaintext"
        assert r.record[0] == CONTENT_TYPES["application_data" if protected else r.type]
        assert r.record[1:3] == (b"\x03\x01" if r is trace.records[0] else b"\x03\x03")
        assert int.from_bytes(r.record[3:5]) == len(r.record) - RECORD_HEADER
        assert len(r.record) - RECORD_HEADER == len(r.payload) + (1 + AEAD_TAG if protected else 0)


@every_trace
def test_the_handshake_records_carry_the_messages_and_nothing_else(trace: Trace) -> None:
    def flights(sent: list[tuple[Side, bytes]]) -> list[tuple[Side, bytes]]:
        return [(side, b"".join(data for _, data in group)) for side, group in groupby(sent, key=itemgetter(0))]

    carried = [(r.sender, r.payload) for r in trace.records if r.type == "handshake"]
    assert flights(carried) == flights([(m.sender, m.message) for m in trace.messages])


@every_trace
def test_the_other_records_carry_what_they_should(trace: Trace) -> None:
    for r in trace.records:
        if r.type == "change_cipher_spec":
            assert r.payload == b"\x01"
        elif r.type == "alert":
            assert r.payload == b"\x01\x00"  # warning, close_notify
        elif r.type == "application_data":
            assert r.payload == (b"ABCDEF" if r.epoch == "early" else bytes(range(50)))
    assert [r.sender for r in trace.records[-2:]] == ["client", "server"]
    assert {r.type for r in trace.records[-2:]} == {"alert"}


@every_trace
def test_a_side_changes_cipher_spec_once_before_it_protects(trace: Trace) -> None:
    changers = [r.sender for r in trace.records if r.type == "change_cipher_spec"]
    assert changers == (["server", "client"] if trace.name == "compatibility-mode" else [])
    for side in changers:
        sent = [r for r in trace.records if r.sender == side]
        at = [r.type for r in sent].index("change_cipher_spec")
        assert {r.epoch for r in sent[: at + 1]} == {"plaintext"}
        assert "plaintext" not in {r.epoch for r in sent[at + 1 :]}


# --- protection


@every_trace
def test_a_record_in_the_clear_is_its_header_and_payload(trace: Trace) -> None:
    for r in trace.records:
        if r.epoch == "plaintext":
            assert r.sequence is None
            assert r.record[RECORD_HEADER:] == r.payload


@every_trace
def test_a_protected_record_opens_to_its_payload_and_seals_to_itself(trace: Trace) -> None:
    sent: dict[tuple[Side, Epoch], int] = {}
    for r in trace.records:
        if r.epoch == "plaintext":
            continue
        sequence = sent.get((r.sender, r.epoch), 0)
        sent[r.sender, r.epoch] = sequence + 1
        assert r.sequence == sequence
        keys = trace.traffic_keys[f"{r.sender}_{r.epoch}"]
        nonce = bytes(a ^ b for a, b in zip(keys.iv, sequence.to_bytes(12), strict=True))
        header, sealed = r.record[:RECORD_HEADER], r.record[RECORD_HEADER:]
        inner = r.payload + bytes([CONTENT_TYPES[r.type]])
        assert AESGCM(keys.key).decrypt(nonce, sealed, header) == inner
        assert AESGCM(keys.key).encrypt(nonce, inner, header) == sealed
    assert {f"{sender}_{epoch}" for sender, epoch in sent} == set(trace.traffic_keys)


# --- keys


@every_trace
def test_a_private_key_gives_its_public_key(trace: Trace) -> None:
    assert {name.rpartition("_")[2] for name in trace.keys} == {"private", "public"}
    for name, private in trace.keys.items():
        side_and_group, _, kind = name.rpartition("_")
        if kind == "public":
            continue
        public = trace.keys[f"{side_and_group}_public"]
        if side_and_group.endswith("x25519"):
            assert x25519.X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw() == public
        else:
            encoding, form = serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
            assert p256(private).public_key().public_bytes(encoding, form) == public


@every_trace
def test_the_hellos_share_the_public_keys(trace: Trace) -> None:
    shares = [(m.sender, *key_share(m.message)) for m in trace.messages if m.name in {"ClientHello", "ServerHello"}]
    groups = {"x25519": 29, "p256": 23}
    public = [
        (name.split("_")[0], groups[name.split("_")[1]], value)
        for name, value in trace.keys.items()
        if name.endswith("_public")
    ]
    assert shares == public


@every_trace
def test_the_key_shares_agree_on_the_shared_secret(trace: Trace) -> None:
    group = "p256" if trace.name == "hello-retry-request" else "x25519"
    keys, shared = trace.keys, trace.secrets["shared_secret"]
    assert exchange(keys[f"client_{group}_private"], keys[f"server_{group}_public"]) == shared
    assert exchange(keys[f"server_{group}_private"], keys[f"client_{group}_public"]) == shared


# --- the key schedule


@every_trace
def test_the_key_schedule_follows_from_its_inputs(trace: Trace) -> None:
    hashed = trace.transcript_hashes
    early = mac(ZEROS, trace.secrets.get("psk", ZEROS))
    early_derived = expand_label(early, "derived", sha256(b""), 32)
    handshake = mac(early_derived, trace.secrets["shared_secret"])
    handshake_derived = expand_label(handshake, "derived", sha256(b""), 32)
    master = mac(handshake_derived, ZEROS)
    expected = {
        "early_secret": early,
        "early_derived": early_derived,
        "handshake_secret": handshake,
        "handshake_derived": handshake_derived,
        "master_secret": master,
        "shared_secret": trace.secrets["shared_secret"],
    }
    derivations = [
        (early, "client_early_traffic", "c e traffic"),
        (early, "early_exporter_master", "e exp master"),
        (handshake, "client_handshake_traffic", "c hs traffic"),
        (handshake, "server_handshake_traffic", "s hs traffic"),
        (master, "client_application_traffic", "c ap traffic"),
        (master, "server_application_traffic", "s ap traffic"),
        (master, "exporter_master", "exp master"),
        (master, "resumption_master", "res master"),
    ]
    for stage, name, label in derivations:
        if name in hashed:
            expected[name] = expand_label(stage, label, hashed[name], 32)
    for side in ("client", "server"):
        expected[f"{side}_finished_key"] = expand_label(expected[f"{side}_handshake_traffic"], "finished", b"", 32)
    if trace.name == "simple-1rtt":
        expected["resumption_psk"] = expand_label(expected["resumption_master"], "resumption", b"\0\0", 32)
    if trace.name == "resumed-0rtt":
        expected["psk"] = load("simple-1rtt").secrets["resumption_psk"]
        expected["binder_key"] = expand_label(early, "res binder", sha256(b""), 32)
        expected["binder_finished_key"] = expand_label(expected["binder_key"], "finished", b"", 32)
    assert trace.secrets == expected


@every_trace
def test_the_traffic_keys_follow_from_the_traffic_secrets(trace: Trace) -> None:
    assert {f"{name}_traffic" for name in trace.traffic_keys} == {n for n in trace.secrets if n.endswith("_traffic")}
    for name, keys in trace.traffic_keys.items():
        secret = trace.secrets[f"{name}_traffic"]
        assert keys.key == expand_label(secret, "key", b"", 16)
        assert keys.iv == expand_label(secret, "iv", b"", 12)


@every_trace
def test_the_transcript_hashes_follow_from_the_messages(trace: Trace) -> None:
    ends = {
        "client_handshake_traffic": index(trace, "server", "ServerHello"),
        "server_handshake_traffic": index(trace, "server", "ServerHello"),
        "client_application_traffic": index(trace, "server", "Finished"),
        "server_application_traffic": index(trace, "server", "Finished"),
        "exporter_master": index(trace, "server", "Finished"),
        "resumption_master": index(trace, "client", "Finished"),
    }
    if trace.name == "resumed-0rtt":
        ends |= {"client_early_traffic": 0, "early_exporter_master": 0}
    assert trace.transcript_hashes == {name: sha256(transcript(trace, end)) for name, end in ends.items()}


# --- authentication


@every_trace
@pytest.mark.parametrize("side", ["client", "server"])
def test_a_finished_is_the_mac_of_what_went_before(trace: Trace, side: Side) -> None:
    before = sha256(transcript(trace, index(trace, side, "Finished") - 1))
    assert trace.message(side, "Finished")[4:] == mac(trace.secrets[f"{side}_finished_key"], before)


@every_trace
def test_the_certificates_are_the_ones_sent(trace: Trace) -> None:
    sent = [m for m in trace.messages if m.name == "Certificate"]
    assert list(trace.certificates) == [m.sender for m in sent]
    for m in sent:
        der = trace.certificates[m.sender]
        entry = len(der).to_bytes(3) + der + b"\0\0"
        assert m.message[4:] == b"\0" + len(entry).to_bytes(3) + entry
        certificate = x509.load_der_x509_certificate(der)
        certificate.verify_directly_issued_by(certificate)


@every_trace
def test_a_certificate_verify_signs_what_went_before(trace: Trace) -> None:
    signers = [m.sender for m in trace.messages if m.name == "CertificateVerify"]
    assert signers == list(trace.certificates)
    for side in signers:
        before = sha256(transcript(trace, index(trace, side, "CertificateVerify") - 1))
        content = b" " * 64 + b"TLS 1.3, %s CertificateVerify\0" % side.encode() + before
        body = trace.message(side, "CertificateVerify")[4:]
        scheme, signature = int.from_bytes(body[:2]), body[4:]
        assert int.from_bytes(body[2:4]) == len(signature)
        key = x509.load_der_x509_certificate(trace.certificates[side]).public_key()
        if isinstance(key, rsa.RSAPublicKey):
            assert scheme == 0x0804
            key.verify(signature, content, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
        else:
            assert isinstance(key, ec.EllipticCurvePublicKey)
            assert scheme == 0x0403
            key.verify(signature, content, ec.ECDSA(hashes.SHA256()))


def test_the_rsa_key_is_one_and_the_servers() -> None:
    key = load_server_rsa_key()
    private = rsa.RSAPrivateNumbers(
        p=key.prime1,
        q=key.prime2,
        d=key.private_exponent,
        dmp1=key.exponent1,
        dmq1=key.exponent2,
        iqmp=key.coefficient,
        public_numbers=rsa.RSAPublicNumbers(key.public_exponent, key.modulus),
    ).private_key()
    assert key.prime1 * key.prime2 == key.modulus
    for name in ("simple-1rtt", "hello-retry-request", "compatibility-mode"):
        certificate = x509.load_der_x509_certificate(load(name).certificates["server"])
        assert certificate.public_key() == private.public_key()


# --- resumption


def test_only_the_resumption_has_a_binder() -> None:
    assert [name for name in NAMES if load(name).psk_binder is not None] == ["resumed-0rtt"]


def test_the_binder_follows_from_the_hello_and_the_ticket() -> None:
    first, trace = load("simple-1rtt"), load("resumed-0rtt")
    binder = trace.psk_binder
    assert binder is not None
    assert binder.hash == sha256(binder.client_hello_prefix)
    assert binder.binder == mac(trace.secrets["binder_finished_key"], binder.hash)
    hello = trace.message("client", "ClientHello")
    assert hello == binder.client_hello_prefix + b"\x00\x21\x20" + binder.binder

    ticket = first.message("server", "NewSessionTicket")[4:]
    lifetime, age_add, nonce = int.from_bytes(ticket[:4]), int.from_bytes(ticket[4:8]), ticket[9 : 9 + ticket[8]]
    assert (lifetime, nonce) == (30, b"\0\0")
    identity = ticket[11:][2 : 2 + int.from_bytes(ticket[11:13])]
    offer = extensions(hello)[PRE_SHARED_KEY]
    assert offer[4 : 4 + len(identity)] == identity
    obfuscated_age = int.from_bytes(offer[4 + len(identity) :][:4])
    assert (obfuscated_age - age_add) % 2**32 == 6


# --- the loader


def test_an_unknown_name_is_no_trace() -> None:
    for name in ("server-rsa-key", "0-rtt"):
        with pytest.raises(KeyError):
            load(name)


@every_trace
def test_the_sections_are_in_order(trace: Trace) -> None:
    assert trace.section == 3 + NAMES.index(trace.name)
