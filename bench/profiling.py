"""Where our own time goes: a clock interrupts the work a thousand times a second and notes who is at it."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from time import process_time
from types import FrameType

import handclasp

ROOT = Path(handclasp.__file__).parent

KINDS = {
    "crypto": "the crypto floor: primitives",
    "identity": "certificates and path validation, the library's part of it too",
    "wire": "codec",
    "channel": "records and keys",
    "handshake": "control",
    "connection": "control",
    "config": "control",
    "events": "control",
    "sessions": "control",
}
"""Rooms of the package and what they do. What C code takes counts for the Python function that called it."""

PERIOD = 0.001
"""Seconds of processor time between two looks."""


def profile(operation: Callable[[], object], seconds: float) -> tuple[dict[str, float], dict[str, float]]:
    """(share of each kind, share of the twenty busiest functions), each 0 to 1. The main thread's, on Unix."""
    seen: Counter[tuple[str, str]] = Counter()

    def look(_signal: int, frame: FrameType | None) -> None:
        while frame is not None:
            name = frame.f_code.co_filename
            if name.startswith(str(ROOT)):
                where = Path(name).relative_to(ROOT).with_suffix("").as_posix()
                seen[where, frame.f_code.co_qualname if hasattr(frame.f_code, "co_qualname") else ""] += 1
                return
            frame = frame.f_back
        seen["", "outside"] += 1

    before = signal.signal(signal.SIGPROF, look)
    signal.setitimer(signal.ITIMER_PROF, PERIOD, PERIOD)
    try:
        ends = process_time() + seconds
        while process_time() < ends:
            operation()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    total = max(1, seen.total())
    kinds: Counter[str] = Counter()
    for (where, _), count in seen.items():
        kinds[KINDS.get(where.split("/")[0], "the rest")] += count
    functions = {f"{where}:{name}": count / total for (where, name), count in seen.most_common(20)}
    return {kind: count / total for kind, count in kinds.most_common()}, functions
