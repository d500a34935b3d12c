"""What has to hold whatever a target is given: time, memory, one use of each nonce, and that no secret is shown."""

from __future__ import annotations

import base64
import logging
import pickle
import time
import traceback
import tracemalloc
import zlib
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from handclasp import TLSError
from handclasp.connection import Connection
from hazards.witness import Witness, watching

MOST_SECONDS = 1.0
"""Most processor time for one input of at most `MOST_BYTES`: far above what any needs, far below what would hurt."""

MOST_BYTES = 20_000

MOST_HELD = 300_000
"""Most memory one input may take beside its own length, in bytes: keys, a parsed chain, a transcript, a report."""

HELD_PER_BYTE = 60
"""Most memory for each byte of input: what is smallest on the wire is an object here."""

ONE_IN = 16
"""Memory is traced for one input in so many, as tracing takes more time than most targets; always the same ones."""


def within_bounds(run: Callable[[bytes], None], data: bytes, held: int = MOST_HELD) -> None:
    """Run a target once; it may hold `held` bytes beside its input.

    Raises AssertionError where it takes too much time or memory, and whatever it raises.
    """
    began = time.process_time()
    if zlib.crc32(data) % ONE_IN:
        run(data)
    else:
        _assert_frugal(run, data, held)
    spent = time.process_time() - began
    if spent > MOST_SECONDS:
        raise AssertionError(f"it took {spent:.1f} s")


def _assert_frugal(run: Callable[[bytes], None], data: bytes, held: int) -> None:
    most = held + HELD_PER_BYTE * len(data)
    # What is made once and kept, such as a table that is imported late, is made by the second time.
    if peak_of(run, data) > most and (peak := peak_of(run, data)) > most:
        raise AssertionError(f"it held {peak} bytes at once, where {most} are the most")


def peak_of(run: Callable[[bytes], None], data: bytes) -> int:
    """Most memory that was held at once, in bytes."""
    tracemalloc.start()
    try:
        run(data)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# --- secrets ---------------------------------------------------------------------------------------------------------


@dataclass
class Overheard:
    """What a connection kept to itself, and what it let out."""

    witness: Witness
    keylog: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    @property
    def secrets(self) -> set[bytes]:
        """Secrets of the key schedule, and the keys made of them."""
        logged = {bytes.fromhex(line.split()[-1]) for line in self.keylog}
        return logged | {key for key, _ in self.witness.used}


@contextmanager
def overhearing() -> Generator[Overheard, None, None]:
    """Watch the ciphers and the logs of whatever happens meanwhile. Raises AssertionError for a nonce used twice."""
    root = logging.getLogger()
    before = root.level
    with watching() as witness:
        overheard = Overheard(witness)
        handler = _Listening(overheard.log)
        root.addHandler(handler)
        root.setLevel(logging.DEBUG)
        try:
            yield overheard
        finally:
            root.removeHandler(handler)
            root.setLevel(before)
    if witness.again:
        raise AssertionError("a nonce was used twice")


class _Listening(logging.Handler):
    """Every line that anybody logs."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__(logging.DEBUG)
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(self.format(record))


def assert_silent(overheard: Overheard, connection: Connection, events: list[object], error: TLSError | None) -> None:
    """No repr, log, pickle or traceback of a connection shows a secret, though it is printed with all locals."""
    shown = "".join(overheard.log) + f"{connection!r} {connection.info!r} {events!r} {error!r}"
    pickled = b""
    if error is not None:
        told = traceback.TracebackException.from_exception(error, capture_locals=True)
        shown += "".join(told.format()) + f"{error} {vars(error)!r}"
    for thing in (error, connection.info):
        with suppress(Exception):  # what refuses to be pickled shows nothing
            pickled += pickle.dumps(thing)
    for secret in overheard.secrets:
        if secret in pickled or any(form in shown for form in _forms(secret)):
            raise AssertionError("a secret is shown")


def _forms(secret: bytes) -> tuple[str, ...]:
    """How bytes look when somebody prints them."""
    return (secret.hex(), repr(secret)[2:-1], str(list(secret))[1:-1], base64.b64encode(secret).decode())
