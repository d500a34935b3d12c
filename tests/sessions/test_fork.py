"""What is remembered goes on after a fork: keys are shared, locks are not, and nobody takes early data twice."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable

import pytest

from handclasp import ClientSessions, ServerSessions, TicketKeys
from handclasp.sessions.replay import ReplayGuard
from handclasp.sessions.shared import Shared
from sessions.made import HOUR, START, FakeClock, client_session, session

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here"),
    # Python 3.12 warns of a fork beside other threads, which is just what is tried here
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]


def in_a_child(answer: Callable[[], bytes]) -> bytes:
    """What a forked child answers; a child that hangs answers nothing."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        try:
            os.write(writer, answer())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    return told


def test_a_child_is_not_held_up_by_a_lock_of_the_parents_threads() -> None:
    clock = FakeClock()
    clients, servers = ClientSessions(clock=clock), ServerSessions(clock=clock)
    keys, guard = TicketKeys(), ReplayGuard()
    clients.put("a", client_session())
    servers.put(b"id", session(), START + HOUR)
    held, over = threading.Barrier(2), threading.Event()

    def hold() -> None:
        with clients._lock, servers._lock, keys._lock, guard._lock:
            held.wait()
            over.wait()

    thread = threading.Thread(target=hold, daemon=True)
    thread.start()
    held.wait()
    try:
        told = in_a_child(
            lambda: repr(
                (
                    clients.take("a") is not None,
                    servers.get(b"id") is not None,
                    len(keys.seal(session(), START)) > 0,
                    guard.claim(b"key", START, START + HOUR),
                )
            ).encode()
        )
    finally:
        over.set()
        thread.join()
    assert told == b"(True, True, True, False)"


@pytest.mark.attack(50, "nonce reuse")
def test_forked_servers_open_each_others_tickets_and_never_reuse_a_nonce() -> None:
    keys = TicketKeys()
    mine = keys.seal(session(), START)
    theirs = [in_a_child(lambda: keys.seal(session(), START)) for _ in range(3)]
    assert all(keys.open(ticket, START) is not None for ticket in theirs)
    assert in_a_child(lambda: str(keys.open(mine, START) is not None).encode()) == b"True"
    assert len({ticket[:28] for ticket in (mine, *theirs)}) == 4


@pytest.mark.attack(17, "0-RTT replay")
def test_only_the_parent_goes_on_taking_early_data() -> None:
    guard = ReplayGuard()
    assert in_a_child(lambda: str(guard.claim(b"key", START, START + HOUR)).encode()) == b"False"
    assert guard.claim(b"key", START, START + HOUR)


def test_what_is_gone_is_not_kept_for_a_fork() -> None:
    from handclasp.sessions import shared

    before = len(shared._ALIVE)
    kept: list[Shared] = [TicketKeys() for _ in range(10)]
    assert len(shared._ALIVE) == before + 10
    kept.clear()
    assert len(shared._ALIVE) <= before or sys.implementation.name != "cpython"
