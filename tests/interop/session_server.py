"""A server process that shares its sessions through Redis, for `test_redis.py`.

    python session_server.py SETTINGS        a file of JSON: redis, wrap_key, chain, key, version, keep ("ticket", "id")

It prints the port it listens on, echoes what clients send, and sets its clock by lines on its standard input. With
"early" in the settings it takes early data for so many seconds, and prints of each whether it did.
"""

from __future__ import annotations

import json
import sys
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import handclasp
from handclasp import Credential, EarlyData, ServerConfig, TLSSocket, TLSVersion
from handclasp.sessions.stores.redis import RedisReplayGuard, RedisSessions, RedisTicketKeys, SharedRedis
from handclasp.trace import Chosen, Subject, TraceEvent


class SetClock:
    """So many seconds off the system's."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


def main() -> None:
    settings = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    clock = SetClock()
    threading.Thread(target=listen_to_orders, args=(clock,), daemon=True).start()
    with handclasp.listen(("127.0.0.1", 0), configuration(settings, clock)) as listener:
        print("port", listener.address[1], flush=True)
        for tls in listener:
            threading.Thread(target=echo, args=(tls,), daemon=True).start()


def configuration(settings: dict[str, Any], clock: SetClock) -> ServerConfig:
    shared = SharedRedis(settings["redis"], wrap_key=bytes.fromhex(settings["wrap_key"]), pause=0.1)
    keeping: dict[str, Any] = (
        {"tickets": RedisTicketKeys(shared)}
        if settings["keep"] == "ticket"
        else {"sessions": RedisSessions(shared, clock=clock)}
    )
    if "early" in settings:
        window = timedelta(seconds=settings["early"])
        keeping["early_data"] = EarlyData(replay=RedisReplayGuard(shared), window=window)
    return ServerConfig(
        credentials=[Credential.from_files(settings["chain"], settings["key"])],
        versions=[TLSVersion(settings["version"])],
        session_lifetime=timedelta(days=1),
        clock=clock,
        trace=tell_of_early_data,
        **keeping,
    )


def listen_to_orders(clock: SetClock) -> None:
    for line in sys.stdin:
        clock.ahead = timedelta(seconds=float(line))
        print("clock", line, end="", flush=True)


def tell_of_early_data(event: TraceEvent) -> None:
    if isinstance(event, Chosen) and event.subject is Subject.EARLY_DATA:
        print("early data", "taken" if event.value else "declined", flush=True)


def echo(tls: TLSSocket) -> None:
    with tls, suppress(handclasp.TLSError, OSError):
        while data := tls.recv(65536):
            tls.sendall(data)


if __name__ == "__main__":
    main()
