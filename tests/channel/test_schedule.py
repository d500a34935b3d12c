"""The ladder of secrets against the traces of RFC 8448, rung by rung."""

from __future__ import annotations

import pytest

from handclasp.channel.schedule import Early, ExporterSecret, Handshake, Main, TrafficSecret
from handclasp.crypto.hashing import Hash, hkdf_expand_label
from handclasp.crypto.secret import Secret
from handclasp.crypto.suites import SUITES, Suite
from handclasp.wire.names import CipherSuite
from vectors.rfc8448 import Trace, load

SUITE = SUITES[CipherSuite.TLS_AES_128_GCM_SHA256]

traces = pytest.mark.parametrize(
    "trace",
    [load(name) for name in ("simple-1rtt", "hello-retry-request", "client-authentication", "compatibility-mode")],
    ids=lambda trace: trace.name,
)
"""Those that begin without a pre-shared key."""


def _ladder(trace: Trace) -> tuple[Early, Handshake, Main]:
    early = Early.start(SUITE)
    handshake = early.agree(Secret(trace.secrets["shared_secret"]))
    return early, handshake, handshake.main()


@traces
def test_the_rungs(trace: Trace) -> None:
    early, handshake, main = _ladder(trace)
    assert early.secret.reveal() == trace.secrets["early_secret"]
    assert handshake.secret.reveal() == trace.secrets["handshake_secret"]
    assert main.secret.reveal() == trace.secrets["master_secret"]


@traces
def test_the_traffic_secrets(trace: Trace) -> None:
    _, handshake, main = _ladder(trace)
    derived = {
        "client_handshake_traffic": handshake.client_traffic,
        "server_handshake_traffic": handshake.server_traffic,
        "client_application_traffic": main.client_traffic,
        "server_application_traffic": main.server_traffic,
    }
    for name, derive in derived.items():
        secret = derive(trace.transcript_hashes[name])
        assert secret.secret.reveal() == trace.secrets[name]
        assert secret.generation == 0


@traces
def test_what_outlives_the_handshake(trace: Trace) -> None:
    main = _ladder(trace)[2]
    exporter = main.exporter(trace.transcript_hashes["exporter_master"])
    assert exporter.secret.reveal() == trace.secrets["exporter_master"]
    resumption = main.resumption(trace.transcript_hashes["resumption_master"])
    assert resumption.reveal() == trace.secrets["resumption_master"]


@traces
def test_keys_and_finished(trace: Trace) -> None:
    for side in ("client", "server"):
        for epoch in ("handshake", "application"):
            name = f"{side}_{epoch}_traffic"
            traffic = TrafficSecret(SUITE, Secret(trace.secrets[name]))
            expected = trace.traffic_keys[f"{side}_{epoch}"]
            assert traffic.keys() == (expected.key, expected.iv)
    for message in trace.messages:
        if message.name == "Finished":
            secret = Secret(trace.secrets[f"{message.sender}_handshake_traffic"])
            before = b"".join(_hashed(trace, message.message))
            traffic = TrafficSecret(SUITE, secret)
            assert traffic.finished(Hash.SHA256.digest(before)) == message.message[4:]
            assert traffic.finished(Hash.SHA256.digest(before + b"?")) != message.message[4:]


def _hashed(trace: Trace, until: bytes) -> list[bytes]:
    """The messages before one, as the transcript has them."""
    found: list[bytes] = []
    for message in trace.messages:
        if message.message == until:
            break
        if message.name == "HelloRetryRequest":
            found = [b"\xfe\0\0\x20" + Hash.SHA256.digest(found[0])]
        found.append(message.message)
    return found


def test_the_next_generation() -> None:
    """RFC 8446 §7.2."""
    first = TrafficSecret(SUITE, Secret(bytes(range(32))))
    second = first.next()
    assert second.generation == 1
    assert second.secret.reveal() == hkdf_expand_label(Hash.SHA256, bytes(range(32)), b"traffic upd", b"", 32)
    assert second.next().generation == 2
    assert first.keys() != second.keys()


@pytest.mark.parametrize("suite", list(SUITES.values()), ids=lambda suite: str(suite.code))
def test_every_suite_has_keys_of_its_size(suite: Suite) -> None:
    secret = Early.start(suite).agree(Secret(bytes(32))).client_traffic(bytes(suite.hash.size))
    key, iv = secret.keys()
    assert (len(key), len(iv)) == (suite.aead.key_size, 12)
    assert len(secret.secret.reveal()) == suite.hash.size
    assert len(secret.finished(b"")) == suite.hash.size


def test_an_exporter_separates_labels_contexts_and_lengths() -> None:
    exporter = ExporterSecret(Hash.SHA256, Secret(bytes(32)))
    made = {exporter.export(label, context, 32) for label in (b"a", b"b") for context in (b"", b"c")}
    assert len(made) == 4
    assert exporter.export(b"a", b"", 16) != exporter.export(b"a", b"", 32)[:16]
    assert len(exporter.export(b"a", b"", 255 * 32)) == 255 * 32


def test_each_rung_has_only_its_own_verbs() -> None:
    assert not hasattr(Early, "server_traffic")
    assert not hasattr(Handshake, "exporter")
    assert not hasattr(Main, "main")
