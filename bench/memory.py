"""Workloads without a network: both roles in memory, one thread."""

from __future__ import annotations

from collections.abc import Iterable

from handclasp import cached
from handclasp.identity.trust import Verifier

from .contest import Effort, Operation, contest
from .floor import floor, protect_record
from .identity import Identity
from .peers.base import Case, Group, Library, Pair, Unsupported
from .peers.ours import Handclasp
from .profiling import profile
from .results import Cost, Results

FLOOR = "the crypto floor"

MESSAGES = ((64, "64 B messages", 0.8), (1024, "1 KiB messages", 0.8), (16_384, "16 KiB writes", 1.3))


class Remembering(Handclasp):
    """handclasp with its verdicts remembered."""

    name = "handclasp, verdicts cached"

    def trust(self, identity: Identity) -> Verifier:
        return cached(identity.trust)


def handshakes(libraries: Iterable[Library], identity: Identity, effort: Effort, results: Results) -> None:
    """Full ones with each key agreement, then resumed ones."""
    libraries = list(libraries)
    for group, goals in (
        (Group.X25519, {"ssl": 1.3}),
        (Group.X25519_MLKEM768, {"pyOpenSSL": 1.0, "rtls": 0.6}),
    ):
        contestants = _able(libraries, identity, Case(group), results)
        standings = contest({**contestants, FLOOR: floor(identity, Case(group))}, effort)
        results.add(f"full handshake, {group.value}", standings, {**goals, FLOOR: 1 / 1.5})
    contestants = {Remembering.name: Remembering().handshakes(identity, Case(Group.X25519_MLKEM768))}
    contestants |= _able(
        [library for library in libraries if library.name != Handclasp.name],
        identity,
        Case(Group.X25519_MLKEM768),
        results,
    )
    results.add("the same, verdicts cached", contest(contestants, effort), {"pyOpenSSL": 1.2})
    resuming = Case(resumed=True)
    contestants = _able(libraries, identity, resuming, results)
    standings = contest({**contestants, FLOOR: floor(identity, resuming)}, effort)
    results.add("resumed handshake, X25519", standings, {"ssl": 1.5})


def messages(libraries: Iterable[Library], identity: Identity, effort: Effort, results: Results) -> None:
    """Data from the client's application to the server's."""
    pairs: dict[str, Pair] = {}
    for library in libraries:
        for group in Group:
            try:
                pairs.setdefault(library.name, library.handshakes(identity, Case(group))())
            except Unsupported:
                continue
    for size, workload, goal in MESSAGES:
        contestants = {name: _carrying(pair, bytes(size)) for name, pair in pairs.items()}
        standings = contest({**contestants, FLOOR: protect_record(size)}, effort)
        goals = {"ssl": goal, **({"rtls": 1.0} if size == MESSAGES[-1][0] else {})}
        results.add(workload, standings, goals, size)


def own_profile(identity: Identity, seconds: float, results: Results) -> None:
    """Where a full handshake's time goes."""
    results.profile, results.functions = profile(Handclasp().handshakes(identity, Case()), seconds)


def growth(identity: Identity, effort: Effort, connections: Iterable[int], results: Results) -> None:
    """What is done before must not make the next handshake dearer, nor a byte.

    The floor, which knows of no connections, is timed beside it: a machine that slows down is no growth.
    """
    shake = Handclasp().handshakes(identity, Case())
    beside: dict[str, Operation] = {"one": shake, "the floor": floor(identity, Case())}
    alone = contest(beside, effort)["the floor"].ahead.median
    alive = [shake()]
    for count in connections:
        alive += [shake() for _ in range(count - len(alive))]
        crowded = contest(beside, effort)["the floor"].ahead.median
        what = f"handshake beside {count:,} live connections, by one alone"
        results.costs.append(Cost(what, alone / crowded, "x", 1.25))
    pair = alive[0]
    # One record and seven: blocks beyond 128 KiB the system's allocator may map anew each time, and that costs more.
    few, many = bytes(16_384), bytes(7 * 16_384)
    both = contest({"few": _carrying(pair, few), "many": _carrying(pair, many)}, effort)
    results.costs.append(
        Cost("a byte of 112 KiB writes, by one of 16 KiB writes", both["many"].ahead.median / 7, "x", 1.25)
    )


def _able(libraries: Iterable[Library], identity: Identity, case: Case, results: Results) -> dict[str, Operation]:
    found: dict[str, Operation] = {}
    for library in libraries:
        try:
            found[library.name] = library.handshakes(identity, case)
            found[library.name]()
        except Unsupported as reason:
            results.skipped.append(str(reason))
        except Exception as error:  # another version of a peer, perhaps: the others go on
            if library.name == Handclasp.name:
                raise
            found.pop(library.name, None)
            results.skipped.append(f"{library.name} with {case}: {error!r}")
    return found


def _carrying(pair: Pair, data: bytes) -> Operation:
    return lambda: pair.carry(data)
