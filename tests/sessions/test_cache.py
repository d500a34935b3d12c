"""Sessions in memory: how many are kept and how long, who gets one, and what they are as bytes."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from time import perf_counter

import pytest

from handclasp import ClientSessions, Credential, ServerSessions
from handclasp.limits import MAX_SESSION, MAX_TICKET
from handclasp.sessions.cache import ClientSession, from_entry, to_entry
from handclasp.sessions.clock import milliseconds
from handclasp.sessions.session import Session
from sessions.made import HOUR, START, FakeClock, client_session, session


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


# --- a client's ------------------------------------------------------------------------------------------------------


@pytest.mark.attack(17, "0-RTT replay")
def test_the_newest_is_taken_first_and_once(clock: FakeClock) -> None:
    sessions = ClientSessions(clock=clock)
    held = [client_session(bytes([n])) for n in range(3)]
    for each in held:
        sessions.put("a", each)
    assert [sessions.take("a") for _ in range(4)] == [held[2], held[1], held[0], None]
    assert sessions.take("b") is None
    assert len(sessions) == 0


@pytest.mark.attack(64, "ticket flood")
def test_a_flood_of_tickets_stays_within_bounds(clock: FakeClock) -> None:
    """A server, or a thousand names of one, cannot make a client remember more than 8,000 sessions."""
    sessions, ticket = ClientSessions(clock=clock), client_session(bytes(1000))
    for n in range(100_000):
        sessions.put(f"{n // 50}.test", ticket)
    assert len(sessions) == 8000
    assert sum(sessions.take(f"{n}.test") is not None for n in range(2000)) == 1000
    for _ in range(50):
        sessions.put("one.test", ticket)
    assert [sessions.take("one.test") is not None for _ in range(9)] == [True] * 8 + [False]


@pytest.mark.attack(64, "ticket flood")
def test_large_tickets_are_not_kept(clock: FakeClock) -> None:
    sessions = ClientSessions(clock=clock)
    sessions.put("a", client_session(bytes(MAX_TICKET + 1)))
    assert sessions.take("a") is None
    sessions.put("a", client_session(bytes(MAX_TICKET)))
    assert sessions.take("a") is not None


def test_the_name_longest_unused_makes_room(clock: FakeClock) -> None:
    sessions = ClientSessions(names=2, per_name=2, clock=clock)
    for name in ("a", "a", "b", "b"):
        sessions.put(name, client_session())
    assert sessions.take("a") is not None
    sessions.put("c", client_session())
    assert sessions.take("b") is None
    assert sessions.take("a") is not None


def test_what_is_over_is_not_kept_and_of_what_is_over_by_now_one_is_told_of(clock: FakeClock) -> None:
    sessions = ClientSessions(clock=clock)
    for expires in (START - HOUR, START):
        sessions.put("a", client_session(expires=expires))
    assert len(sessions) == 0
    older, newer = client_session(expires=START + 2 * HOUR), client_session()
    sessions.put("a", older)
    sessions.put("a", newer)
    clock.now += HOUR
    assert sessions.take("a") is older
    for _ in range(3):
        sessions.put("a", client_session(expires=clock.now + HOUR))
    clock.now += HOUR
    last = sessions.take("a")
    assert last is not None
    assert "expired" in last.session.outdated(clock.now, 24 * HOUR)
    assert len(sessions) == 0
    assert sessions.take("a") is None


def test_each_is_taken_by_one_thread(clock: FakeClock) -> None:
    sessions = ClientSessions(per_name=1000, clock=clock)
    held = [client_session() for _ in range(1000)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda each: sessions.put("a", each), held))
        taken = list(pool.map(lambda _: sessions.take("a"), range(1500)))
    assert {id(each) for each in taken if each is not None} == {id(each) for each in held}
    assert taken.count(None) == 500


# --- as bytes --------------------------------------------------------------------------------------------------------


def test_a_client_session_is_the_same_after_its_bytes(credential: Credential) -> None:
    moments = {"created": START + timedelta(milliseconds=123), "expires": START + HOUR}
    full = client_session(b"t" * 200, verified_chain=credential.chain, **moments)
    for held in (full, ClientSession(session(), bytes(32)), ClientSession(session(), b"", bytes(MAX_TICKET))):
        again = ClientSession.from_bytes(held.to_bytes())
        assert again.to_bytes() == held.to_bytes()
        assert (again.session_id, again.ticket) == (held.session_id, held.ticket)
        for name in ("version", "suite", "created", "authenticated", "expires", "age_add", "max_early_data", "alpn"):
            assert getattr(again.session, name) == getattr(held.session, name)
        assert again.session.secret.reveal() == held.session.secret.reveal()
        assert again.session.verified_chain == held.session.verified_chain


def test_another_process_reads_it() -> None:
    held = client_session()
    code = (
        "import sys; from handclasp.sessions.cache import ClientSession;"
        "held = ClientSession.from_bytes(sys.stdin.buffer.read());"
        "sys.stdout.buffer.write(held.session.secret.reveal() + held.ticket + str(held.session.expires).encode())"
    )
    run = subprocess.run([sys.executable, "-c", code], input=held.to_bytes(), capture_output=True, check=True)
    assert run.stdout == held.session.secret.reveal() + held.ticket + str(START + HOUR).encode()


def test_other_bytes_are_no_session() -> None:
    data = client_session().to_bytes()
    for at in range(len(data)):
        with pytest.raises(ValueError, match="session"):
            ClientSession.from_bytes(data[:at])
        touched = bytearray(data)
        touched[at] ^= 0x80
        with suppress(ValueError):  # and nothing else
            ClientSession.from_bytes(bytes(touched))
    for junk in (b"\x02" + data[1:], data + b"x", bytes(MAX_SESSION + 1)):
        with pytest.raises(ValueError, match="session"):
            ClientSession.from_bytes(junk)


def test_a_session_has_one_form() -> None:
    """Found by fuzzing: what is read is written as the same bytes again, or is refused."""
    data = session(server_name="a.test").to_bytes()
    flag = data.index(b"\x06a.test") - 1
    assert data[flag] == 1
    assert Session.from_bytes(data[:flag] + b"\0" + data[flag + 1 :]).extended is False
    last = milliseconds(datetime.max.replace(tzinfo=UTC))
    created = data.index(milliseconds(START).to_bytes(8))
    latest = data[:created] + last.to_bytes(8) + data[created + 8 :]
    assert Session.from_bytes(latest).to_bytes() == latest
    for other in (
        data[:flag] + b"\2" + data[flag + 1 :],
        data[:flag] + b"\x81" + data[flag + 1 :],
        data[:created] + (last + 1).to_bytes(8) + data[created + 8 :],
        data[:created] + bytes([255]) * 8 + data[created + 8 :],
    ):
        with pytest.raises(ValueError, match="session"):
            Session.from_bytes(other)


def test_what_holds_secrets_is_neither_copied_nor_pickled_nor_shown() -> None:
    held = client_session(b"a ticket to hide")
    for secret in (held, ClientSessions(), ServerSessions()):
        for way in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError):
                way(secret)
    assert "hide" not in repr(held)


# --- a server's ------------------------------------------------------------------------------------------------------


def test_a_server_finds_its_sessions_again(clock: FakeClock, credential: Credential) -> None:
    sessions, held = ServerSessions(clock=clock), session(verified_chain=credential.chain)
    for name in (b"get", b"take", b"discard"):
        sessions.put(name, held, START + HOUR)
    found = sessions.get(b"get"), sessions.get(b"get"), sessions.take(b"take")
    assert [each.to_bytes() for each in found if each] == [held.to_bytes()] * 3
    sessions.discard(b"discard")
    sessions.discard(b"never there")
    assert [sessions.get(name) for name in (b"take", b"discard", b"else")] == [None] * 3
    assert sessions.take(b"take") is None
    sessions.clear()
    assert len(sessions) == 0


@pytest.mark.attack(65, "session caches without end")
def test_a_hundred_thousand_sessions_stay_within_the_bound(clock: FakeClock) -> None:
    sessions, held = ServerSessions(most=1000, clock=clock), session()
    for n in range(100_000):
        sessions.put(n.to_bytes(32), held, START + HOUR)
    assert len(sessions) == 1000
    assert sessions.get((98_999).to_bytes(32)) is None
    assert sessions.get((99_000).to_bytes(32)) is not None


def test_a_server_forgets_in_time(clock: FakeClock) -> None:
    sessions = ServerSessions(clock=clock)
    sessions.put(b"over", session(), START)
    assert len(sessions) == 0
    for n in range(100):
        sessions.put(bytes([n]), session(), START + HOUR)
    clock.now += HOUR
    assert sessions.get(b"\x05") is None
    assert sessions.take(b"\x06") is None
    sessions.put(b"new", session(), clock.now + HOUR)
    assert len(sessions) == 1


def test_the_millionth_session_costs_what_the_first_did(clock: FakeClock) -> None:
    """Compared pair by pair, the same moments in time: neither the cache's work nor the collector's grows."""
    held = session()
    small, large = ServerSessions(most=1000, clock=clock), ServerSessions(most=1_000_000, clock=clock)
    entry = to_entry(held, START + HOUR)
    large._by_id.update((n.to_bytes(32), entry) for n in range(1_000_000))

    def cost(sessions: ServerSessions, first: int) -> float:
        began = perf_counter()
        for n in range(first, first + 1000):
            sessions.put(n.to_bytes(32), held, START + HOUR)
            sessions.get(n.to_bytes(32))
        return perf_counter() - began

    cost(small, 0)
    ratios = sorted(cost(large, n) / cost(small, n) for n in range(1_000_000, 1_011_000, 1000))
    assert len(large) == 1_000_000
    assert ratios[len(ratios) // 2] < 2


def test_an_entry_of_another_version_is_none() -> None:
    entry = to_entry(session(), START + HOUR)
    assert from_entry(entry, START) is not None
    assert from_entry(entry[:-3], START) is None


def test_one_thread_takes_a_session(clock: FakeClock) -> None:
    sessions = ServerSessions(clock=clock)
    with ThreadPoolExecutor(8) as pool:
        for n in range(200):
            sessions.put(bytes([n]), session(), START + HOUR)
            asked = [pool.submit(sessions.take, bytes([n])) for _ in range(8)]
            assert sum(each.result() is not None for each in asked) == 1


def test_a_bound_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="positive"):
        ServerSessions(most=0)
    with pytest.raises(ValueError, match="positive"):
        ClientSessions(per_name=0)
