"""The running hash: what it covers, from when, and until when."""

from __future__ import annotations

import hashlib

import pytest

from handclasp.channel.transcript import Transcript
from handclasp.crypto.hashing import Hash
from vectors.rfc8448 import load

algorithms = pytest.mark.parametrize("algorithm", list(Hash))


@algorithms
def test_what_came_before_the_algorithm_was_known_counts(algorithm: Hash) -> None:
    transcript = Transcript()
    transcript.add(b"first")
    transcript.begin(algorithm)
    transcript.add(b"second")
    assert transcript.hash() == hashlib.new(algorithm.value, b"firstsecond").digest()
    transcript.add(b"third")
    assert transcript.hash() == hashlib.new(algorithm.value, b"firstsecondthird").digest()


@algorithms
def test_a_retry_puts_a_hash_in_place_of_the_first_hello(algorithm: Hash) -> None:
    transcript = Transcript()
    transcript.add(b"first")
    transcript.add(b"retry")
    transcript.begin(algorithm, retry=True)
    digest = hashlib.new(algorithm.value, b"first").digest()
    stand_in = b"\xfe\0\0" + bytes([algorithm.size]) + digest
    assert transcript.hash() == hashlib.new(algorithm.value, stand_in + b"retry").digest()


def test_it_begins_once() -> None:
    transcript = Transcript()
    transcript.add(b"first")
    transcript.begin(Hash.SHA256, retry=True)
    before = transcript.hash()
    transcript.begin(Hash.SHA384)
    assert transcript.hash() == before


def test_after_the_handshake_nothing_counts() -> None:
    transcript = Transcript()
    transcript.add(b"first")
    transcript.begin(Hash.SHA256)
    transcript.close()
    transcript.add(b"a ticket")
    assert transcript.hash() == hashlib.sha256(b"first").digest()


@pytest.mark.parametrize("name", ["simple-1rtt", "hello-retry-request", "client-authentication"])
def test_the_hashes_of_the_rfc(name: str) -> None:
    trace = load(name)
    transcript = Transcript()
    hashes = set()
    retried = any(message.name == "HelloRetryRequest" for message in trace.messages)
    for message in trace.messages:
        transcript.add(message.message)
        if message.name == "HelloRetryRequest" or (message.name == "ServerHello" and not retried):
            transcript.begin(Hash.SHA256, retry=retried)
        if message.name not in ("ClientHello", "NewSessionTicket"):
            hashes.add(transcript.hash())
    assert set(trace.transcript_hashes.values()) <= hashes
