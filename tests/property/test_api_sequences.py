"""Calls in any order, on both ends of a connection: what arrives is what was sent, and errors are ours and stay."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from handclasp import ClientSessions, ConnectionClosed, Data, NamedGroup, TicketKeys, TLSVersion
from handclasp.connection import Connection
from hazards.witness import watching
from property.profiles import examples
from property.tapes import assert_decent, attempt
from rules.stage import Stage

GROUPS = (NamedGroup.X25519, NamedGroup.SECP256R1)

sides = st.sampled_from(["client", "server"])


class Calls(RuleBasedStateMachine):
    """A client and a server, and what lies on the wire between them."""

    versions: tuple[TLSVersion, ...] = (TLSVersion.TLS_1_3,)

    def __init__(self) -> None:
        super().__init__()
        self._open = ExitStack()
        self._witness = self._open.enter_context(watching())
        stage = Stage()
        both: dict[str, Any] = {"versions": self.versions, "groups": GROUPS, "trace": None}
        self.ends: dict[str, Connection] = {
            "client": stage.client(sessions=ClientSessions(), **both),
            "server": stage.server(tickets=TicketKeys(), **both),
        }
        self.wire = {"client": b"", "server": b""}
        """On its way to each."""
        self.said = {"client": b"", "server": b""}
        self.heard = {"client": b"", "server": b""}
        """What each has said, and heard."""

    def _attempt(self, side: str, call: Any) -> bool:
        """Whether the call worked; what it raises has to be ours, and to stay if it was fatal."""
        connection = self.ends[side]
        before = connection.error
        error = attempt(lambda: call(connection))
        if error is None:
            return True
        if not isinstance(error, ConnectionClosed):
            assert_decent(error)
        assert before is None or error is before
        assert connection.error in (before, error)
        return False

    @rule(side=sides, data=st.binary(max_size=50) | st.just(bytes(40_000)))
    def send(self, side: str, data: bytes) -> None:
        if self._attempt(side, lambda connection: connection.send(data)):
            self.said[side] += data

    @rule(side=sides, request=st.booleans())
    def update_keys(self, side: str, request: bool) -> None:
        self._attempt(side, lambda connection: connection.update_keys(request_peer=request))

    @rule(side=sides)
    def send_tickets(self, side: str) -> None:
        self._attempt(side, lambda connection: connection.send_tickets(1))

    @rule(side=sides)
    def close(self, side: str) -> None:
        self._attempt(side, lambda connection: connection.close())

    @rule(side=sides)
    def export(self, side: str) -> None:
        self._attempt(side, lambda connection: connection.export("EXPORTER-test"))

    @rule(side=sides)
    def flush(self, side: str) -> None:
        other = "server" if side == "client" else "client"
        self.wire[other] += self.ends[side].data_to_send()

    @rule(side=sides, size=st.integers(1, 200) | st.just(100_000))
    def deliver(self, side: str, size: int) -> None:
        piece, self.wire[side] = self.wire[side][:size], self.wire[side][size:]
        self._attempt(side, lambda connection: connection.receive_data(piece))

    @rule()
    def settle(self) -> None:
        """Everything that is on its way arrives."""
        for _ in range(6):
            for side in ("server", "client"):
                self.flush("client" if side == "server" else "server")
                self.deliver(side, 1 << 20)

    @rule(side=sides, at=st.integers(0, 60), bit=st.integers(0, 7))
    def damage(self, side: str, at: int, bit: int) -> None:
        if at < len(self.wire[side]):
            bent = bytearray(self.wire[side])
            bent[at] ^= 1 << bit
            self.wire[side] = bytes(bent)

    @rule(side=sides)
    def end(self, side: str) -> None:
        self._attempt(side, lambda connection: connection.receive_eof())

    @invariant()
    def what_arrives_is_what_was_sent(self) -> None:
        for side, other in (("client", "server"), ("server", "client")):
            self.heard[side] += b"".join(e.data for e in self.ends[side].events() if isinstance(e, Data))
            assert self.said[other].startswith(self.heard[side])

    @invariant()
    def no_nonce_is_used_twice(self) -> None:
        assert self._witness.again == []

    def teardown(self) -> None:
        self._open.close()


class OlderCalls(Calls):
    """The same in TLS 1.2."""

    versions = (TLSVersion.TLS_1_2,)


TestCalls = Calls.TestCase
TestCalls.settings = examples(60)
TestOlderCalls = OlderCalls.TestCase
TestOlderCalls.settings = examples(40)
