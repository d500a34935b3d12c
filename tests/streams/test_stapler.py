"""A server's staples: fetched once, kept while they count, renewed behind the handshakes' backs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import handclasp
from handclasp import ClientConfig, ConfigError, Credential, Evidence, OCSPStapler, ServerConfig, TLSVersion
from handclasp.lab.ca import CertificateAuthority
from handclasp.lab.responder import Fault, StatusServer

NAME = "example.test"


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def status() -> Iterator[StatusServer]:
    with StatusServer(CertificateAuthority("stapling CA")) as server:
        yield server


@pytest.fixture
def credential(status: StatusServer) -> Credential:
    return status.ca.issue(NAME, ocsp_url=status.ocsp_url)


def settled(stapler: OCSPStapler) -> None:
    """Wait until the stapler has no search under way."""
    for thread in threading.enumerate():
        if thread.name == "handclasp-stapler":
            thread.join(10)


def test_one_search_for_many_handshakes(status: StatusServer, credential: Credential) -> None:
    stapler = OCSPStapler(credential, issuer=status.ca.certificate)
    assert stapler.refresh()
    found = {stapler.staple() for _ in range(100)}
    assert len(found) == 1
    assert None not in found
    assert status.asked == ["ocsp"]


def test_nobody_waits_for_the_first(status: StatusServer, credential: Credential) -> None:
    gate, calls = threading.Event(), []

    def slowly(url: str, **how: Any) -> bytes:
        calls.append(url)
        gate.wait(10)
        return handclasp.fetch(url, **how)

    stapler = OCSPStapler(credential, issuer=status.ca.certificate, fetch=slowly)
    assert [stapler.staple() for _ in range(50)] == 50 * [None]
    gate.set()
    settled(stapler)
    assert stapler.staple() is not None
    assert len(calls) == 1


def test_without_a_thread_to_be_had_the_next_handshake_tries_again(
    status: StatusServer, credential: Credential, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    stapler = OCSPStapler(credential, issuer=status.ca.certificate)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", none_left)
        assert stapler.staple() is None
    assert stapler.staple() is None
    settled(stapler)
    assert stapler.staple() is not None


def test_the_old_one_counts_until_its_end(
    status: StatusServer, credential: Credential, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    stapler = OCSPStapler(credential, issuer=status.ca.certificate, clock=clock)
    assert stapler.refresh()
    first = stapler.staple()
    status.fault = Fault.TRY_LATER
    clock.now += timedelta(hours=13)
    with caplog.at_level(logging.WARNING, logger="handclasp"):
        assert stapler.staple() == first
        settled(stapler)
        for _ in range(10):
            assert stapler.staple() == first
        settled(stapler)
        assert [record.getMessage().rpartition(": ")[2] for record in caplog.records] == [
            "the responder says try_later"
        ]
        clock.now += timedelta(hours=13)
        assert stapler.staple() is None
        settled(stapler)
    assert len(caplog.records) == 2
    assert NAME in caplog.text


def test_half_way_a_new_one_is_fetched(status: StatusServer, credential: Credential) -> None:
    clock = Clock()
    stapler = OCSPStapler(credential, issuer=status.ca.certificate, clock=clock)
    assert stapler.refresh()
    clock.now += timedelta(hours=10)
    stapler.staple()
    settled(stapler)
    assert status.asked == ["ocsp"]
    clock.now += timedelta(hours=2)
    assert stapler.staple() is not None
    settled(stapler)
    assert status.asked == ["ocsp", "ocsp"]


def test_a_responder_with_nothing_newer_is_left_alone(status: StatusServer, credential: Credential) -> None:
    """Its responses are past their half when they come: handshakes do not ask for one after the other."""
    clock = Clock()
    stapler = OCSPStapler(credential, issuer=status.ca.certificate, clock=clock)
    clock.now += timedelta(hours=20)
    assert stapler.refresh()
    for _ in range(10):
        assert stapler.staple() is not None
        settled(stapler)
    assert status.asked == ["ocsp"]
    clock.now += timedelta(minutes=2)
    assert stapler.staple() is not None
    settled(stapler)
    assert status.asked == ["ocsp", "ocsp"]


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault not in (Fault.SLOW, Fault.WRONG_NONCE)], ids=str)
def test_a_bad_response_is_never_stapled(status: StatusServer, credential: Credential, fault: Fault) -> None:
    status.fault = fault
    stapler = OCSPStapler(credential, issuer=status.ca.certificate)
    assert not stapler.refresh()
    assert stapler.staple() is None


def test_a_revoked_certificate_is_told_of_in_the_log(
    status: StatusServer, credential: Credential, caplog: pytest.LogCaptureFixture
) -> None:
    status.ca.revoke(credential.leaf)
    with caplog.at_level(logging.WARNING, logger="handclasp"):
        assert not OCSPStapler(credential, issuer=status.ca.certificate).refresh()
    assert "the CA has revoked the certificate (keyCompromise)" in caplog.text


def test_what_a_stapler_needs(status: StatusServer, credential: Credential) -> None:
    with pytest.raises(ConfigError, match="issuer"):
        OCSPStapler(credential)
    with pytest.raises(ConfigError, match="issuer"):
        OCSPStapler(credential, issuer=CertificateAuthority().certificate)
    without = status.ca.issue(NAME)
    with pytest.raises(ConfigError, match="no OCSP responder"):
        OCSPStapler(without, issuer=status.ca.certificate)
    assert OCSPStapler(without, issuer=status.ca.certificate, url=status.ocsp_url).refresh()
    below = status.ca.intermediate("an intermediate")
    stapler = OCSPStapler(below.issue(NAME, ocsp_url=status.ocsp_url))
    assert stapler.staple() is None
    settled(stapler)


@pytest.mark.parametrize("version", [TLSVersion.TLS_1_3, TLSVersion.TLS_1_2], ids=str)
def test_it_is_stapled(status: StatusServer, version: TLSVersion) -> None:
    credential = status.ca.issue(NAME, ocsp_url=status.ocsp_url, must_staple=True)
    stapler = OCSPStapler(credential, issuer=status.ca.certificate)
    server = ServerConfig(credentials=[credential.with_staple(stapler)], versions=[version])
    client = ClientConfig(trust=status.ca.trust)
    with handclasp.listen(("127.0.0.1", 0), server) as listener:
        port = listener.address[1]
        with pytest.raises(handclasp.CertificateError) as caught:
            handclasp.connect("127.0.0.1", port, client, server_name=NAME)
        assert caught.value.code == "staple-missing"
        settled(stapler)
        with handclasp.connect("127.0.0.1", port, client, server_name=NAME) as tls:
            assert tls.info.revocation is Evidence.STAPLE


def test_a_server_that_must_staple_and_cannot_does_not_start(status: StatusServer) -> None:
    with pytest.raises(ConfigError) as caught:
        ServerConfig(credentials=[status.ca.issue(NAME, must_staple=True)])
    assert caught.value.code == "must-staple"
