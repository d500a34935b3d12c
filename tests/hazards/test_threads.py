"""Two threads in one connection, and callbacks that call back: each is refused, and nothing is torn."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from handclasp import AlertReceived, CallbackError, ConcurrentUseError, Data, PresentedChain, TLSError, VerifiedPeer
from handclasp.connection import Connection
from hazards.witness import watching
from rules.stage import Scene, Stage, carry

MESSAGES = 1500
WORKERS = 4


@pytest.mark.attack(50, "nonce reuse")
def test_many_threads_send_at_once() -> None:
    """What was accepted arrives, whole and once; what was refused may be sent again."""
    with watching() as witness:
        scene = Stage().joined({"trace": None}, {"trace": None})
        before = sys.getswitchinterval()
        sys.setswitchinterval(1e-5)
        try:
            _hammer(scene)
        finally:
            sys.setswitchinterval(before)
        scene.other.receive_data(scene.victim.data_to_send())
    arrived = [event.data for event in scene.other.events() if isinstance(event, Data)]
    for name in range(WORKERS):
        assert [data for data in arrived if data.startswith(b"%d " % name)] == _said(name)
    assert len(arrived) == WORKERS * MESSAGES
    assert witness.again == []
    assert scene.victim.error is None


def _said(name: int) -> list[bytes]:
    return [b"%d %d" % (name, number) for number in range(MESSAGES)]


def _hammer(scene: Scene) -> None:
    def work(name: int) -> None:
        for message in _said(name):
            while True:
                try:
                    scene.victim.send(message)
                    break
                except ConcurrentUseError:
                    continue

    workers = [threading.Thread(target=work, args=(name,), daemon=True) for name in range(WORKERS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


CALLS: dict[str, Callable[[Any], object]] = {
    "receive_data": lambda connection: connection.receive_data(b""),
    "receive_eof": lambda connection: connection.receive_eof(),
    "data_to_send": lambda connection: connection.data_to_send(),
    "send": lambda connection: connection.send(b"?"),
    "close": lambda connection: connection.close(),
    "update_keys": lambda connection: connection.update_keys(),
    "answer": lambda connection: connection.answer(None, None),
}

CALLBACKS = ("choose", "trace", "padding", "keylog", "trust")


class Verifying:
    """A verifier that does something first."""

    def __init__(self, act: Callable[[], object]) -> None:
        self._act = act

    def verify(self, presented: PresentedChain) -> VerifiedPeer:
        self._act()
        return VerifiedPeer(presented.chain, "yes")


@pytest.mark.parametrize("callback", CALLBACKS)
@pytest.mark.parametrize("call", list(CALLS))
def test_a_callback_that_calls_back_is_refused(callback: str, call: str) -> None:
    """Inside of a callback the connection is in use; what the callback lets escape refuses the handshake."""
    victims: list[Connection] = []
    refused: list[TLSError] = []

    def act(*_: object) -> Any:
        for victim in victims:
            try:
                CALLS[call](victim)
            except TLSError as error:
                refused.append(error)
                raise
        return 0

    stage = Stage()
    changes: dict[str, Any] = {callback: Verifying(act) if callback == "trust" else act}
    server = stage.server(**changes) if callback == "choose" else stage.server()
    client = stage.client() if callback == "choose" else stage.client(**changes)
    victims.append(server if callback == "choose" else client)
    with pytest.raises(TLSError) as caught:
        carry(client, server)
    assert {type(error) for error in refused} == {ConcurrentUseError}  # the alert, too, is traced and padded
    assert isinstance(caught.value, CallbackError | ConcurrentUseError | AlertReceived)
    assert victims[0].error is not None
    assert not victims[0].established
