"""What it costs to begin: a default configuration, the system's roots, and sessions by the million."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

from handclasp import ServerSessions, TrustStore
from handclasp.crypto.secret import Secret
from handclasp.errors import ConfigError
from handclasp.identity import roots
from handclasp.identity.certificates import Certificate, certificates_from
from handclasp.sessions.session import Session
from handclasp.wire.names import CipherSuite, TLSVersion

from .identity import Identity
from .peers.base import Library, Unsupported
from .results import Cost, Results


def beginnings(libraries: Iterable[Library], results: Results) -> None:
    """The best of many: nothing but the work itself."""
    taken = {}
    for library in libraries:
        try:
            library.default_client()
            taken[library.name] = _best(library.default_client, 5 if library.name != "handclasp" else 500)
        except (Unsupported, OSError):
            continue
    others = ", ".join(f"{name} {seconds * 1e6:.0f}" for name, seconds in taken.items() if name != "handclasp")
    results.costs.append(Cost("making a default client configuration", taken["handclasp"] * 1e6, "µs", 50.0, others))
    system = TrustStore.system().sources

    def first_use() -> None:
        roots._load.cache_clear()  # as in a process that has not used them yet
        roots.load(system)

    try:
        results.costs.append(Cost("first use of the system's roots", _best(first_use, 10) * 1e3, "ms", 5.0))
    except ConfigError as error:
        results.skipped.append(str(error))


def sessions(counts: Iterable[int], results: Results) -> None:
    """Storing and taking one session beside many others, by the same beside one."""
    now = datetime.now(UTC)
    session = Session(
        version=TLSVersion.TLS_1_3,
        suite=CipherSuite.TLS_AES_128_GCM_SHA256,
        secret=Secret(bytes(32)),
        extended=True,
        server_name="localhost",
        alpn="",
        policy=bytes(32),
        created=now,
        authenticated=now,
        expires=now + timedelta(hours=2),
    )

    def beside(count: int) -> float:
        store = ServerSessions(most=count + 10)
        for number in range(count):
            store.put(number.to_bytes(32), session, session.expires)
        one = bytes([255]) * 32

        def put_and_take() -> None:
            for _ in range(100):
                store.put(one, session, session.expires)
                store.take(one)

        return _best(put_and_take, 30)

    alone = beside(1)
    for count in counts:
        what = f"storing and taking a session beside {count:,} others, by one alone"
        results.costs.append(Cost(what, beside(count) / alone, "x", 1.25))


def reading(identity: Identity, results: Results) -> None:
    """What a full handshake takes longer when its certificate was not met lately; the others always read it."""
    der = certificates_from(identity.chain.read_bytes())[0].der
    results.costs.append(
        Cost("reading a certificate for the first time", _best(lambda: Certificate.from_der(der), 200) * 1e6, "µs")
    )


def _best(work: Callable[[], object], times: int) -> float:
    def once() -> float:
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    return min(once() for _ in range(times))
