"""How long something waited, told apart from how busy the machine was."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

TICK = 0.05
"""Seconds."""

AT_WORK = 0.002
"""Seconds of processor time in a tick, from which on this process was at work, or would have been if let."""


@contextmanager
def waits_less_than(seconds: float) -> Iterator[None]:
    """What is inside waits for less than this in all: for a peer, a timer, a lock.

    Counted are the ticks in which this process did nothing at all. A wall clock would count the work of others too.
    """
    waited = 0.0
    stop = threading.Event()

    def count() -> None:
        nonlocal waited
        used = time.process_time()
        while not stop.wait(TICK):
            used, before = time.process_time(), used
            if used - before < AT_WORK:
                waited += TICK

    counter = threading.Thread(target=count, daemon=True)
    counter.start()
    try:
        yield
    finally:
        stop.set()
        counter.join(10)
    assert waited < seconds
