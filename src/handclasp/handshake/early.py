"""Early data on the server: taken only once, only soon, and only as its session had it (RFC 8446 §4.2.10 and §8)."""

from __future__ import annotations

from datetime import datetime, timedelta

from ..channel.schedule import TrafficSecret
from ..config import EarlyData, ServerConfig
from ..crypto.hashing import Hash
from ..crypto.suites import Suite
from ..sessions.clock import milliseconds
from ..sessions.session import SKEW, Session
from ..trace import Epoch, Subject
from ..wire.extensions import OfferedPsks
from ..wire.messages import ClientHello
from .psk import Accepted
from .questions import ClaimEarlyData
from .script import Peer


async def accept_early_data(
    peer: Peer, config: ServerConfig, suite: Suite, hello: ClientHello, psk: Accepted | None
) -> Session | None:
    """The session whose early data is taken; None where the client has none, or it is declined."""
    offered = hello.extensions.pre_shared_key
    if hello.extensions.early_data is None or offered is None:
        return None
    session = psk.session if psk is not None and psk.index == 0 else None
    if config.early_data is None:
        why = "early data is off here"
    elif session is None:
        why = "its session is not resumed"
    else:
        why = await _against(peer, config, config.early_data, suite, session, offered)
    peer.note(Subject.EARLY_DATA, not why, why or "its session allows it, and this hello is fresh and new")
    return None if why else session


async def _against(
    peer: Peer, config: ServerConfig, early: EarlyData, suite: Suite, session: Session, offered: OfferedPsks
) -> str:
    """Why early data is declined; empty when it is taken, and its hello is then claimed on all machines."""
    if not session.max_early_data:
        return "its session does not allow any"
    if session.max_early_data > early.most:
        return f"its session allows {session.max_early_data} bytes, and {early.most} are the most here by now"
    if session.suite != suite.code:
        return f"its session is of {session.suite}"
    since = getattr(early.replay, "since", None)
    if isinstance(since, datetime) and milliseconds(session.created) < milliseconds(since):
        return "its session is older than the replay store, which may have missed something"
    now = config.clock()
    told = timedelta(milliseconds=(offered.identities[0].obfuscated_ticket_age - session.age_add) % (1 << 32))
    late = (now - session.created) - told
    if abs(late) >= early.window:
        return f"its hello is not fresh: the session's age is {late.total_seconds():+.1f} s off"
    # the binder covers the whole hello, so a replay has the same one, and nobody can make another
    key = Hash.SHA256.digest(offered.binders[0])
    # a client whose clock runs fast is fresh for twice the window, and then yet on a machine whose clock is behind ours
    until = now + 2 * early.window + SKEW
    replay = early.replay
    first = await peer.ask(ClaimEarlyData(replay, lambda: replay.claim(key, now, until), (bool,)))
    return "" if first else "its hello was seen before, or nobody can say"


def most_early_data(config: ServerConfig) -> int:
    """How much early data our tickets allow, in bytes."""
    return 0 if config.early_data is None else config.early_data.most


def skip_early_data(peer: Peer, config: ServerConfig, session: Session | None) -> None:
    """What is declined comes all the same: as much as we allow passes, or as its session did where that goes on."""
    allowed = 0 if session is None else session.max_early_data
    peer.skip_early_data(max(allowed, most_early_data(config)))


def read_early_data(peer: Peer, session: Session, secret: TrafficSecret) -> None:
    """What comes until EndOfEarlyData is early data, as much as the session allows."""
    peer.log_secret("CLIENT_EARLY_TRAFFIC_SECRET", secret)
    peer.read_with(secret, Epoch.EARLY)
    peer.take_early_data(session.max_early_data)
