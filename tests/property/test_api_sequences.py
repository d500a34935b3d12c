"""Calls in any order, on both ends of a connection: what arrives is what was sent, and errors are ours and stay."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from handclasp import (
    Asked,
    CallbackError,
    ClientAuth,
    ClientSessions,
    ConnectionClosed,
    Credential,
    Data,
    Limits,
    NamedGroup,
    ServerConfig,
    TicketKeys,
    TLSVersion,
)
from handclasp.connection import Connection
from hazards.witness import watching
from property.profiles import examples
from property.tapes import assert_decent, attempt
from rules.stage import Stage, authority, client_credential, credential

GROUPS = (NamedGroup.X25519, NamedGroup.SECP256R1)

sides = st.sampled_from(["client", "server"])


class Slow:
    """Whatever a configuration names, as something that has to be asked from outside."""

    blocking = True
    fingerprint = b"slow"

    def __init__(self, what: Any) -> None:
        self._what = what
        self.public_key = getattr(what, "public_key", None)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._what, name)

    def __call__(self, *arguments: Any) -> Any:
        return self._what(*arguments)

    def sign(self, *arguments: Any) -> Any:
        return self._what.sign(*arguments)


class Source:
    """One credential, for everybody."""

    def __init__(self, credential: Credential) -> None:
        self._credential = credential

    def credentials(self, hello: object) -> list[Credential]:
        return [self._credential]

    def find(self, identity: bytes) -> None:
        return None

    def staple(self) -> bytes:
        return authority().ocsp_response(self._credential.leaf)


def _slow_client() -> dict[str, Any]:
    return {
        "trust": Slow(authority().trust),
        "credentials": Slow(lambda request: _remote(client_credential())),
        "sessions": Slow(ClientSessions()),
    }


def _slow_server() -> dict[str, Any]:
    stapled = _remote(credential()).with_staple(Slow(Source(credential())))
    inner = ServerConfig(credentials=Slow(Source(stapled)), psks=Slow(Source(stapled)), tickets=Slow(TicketKeys()))
    return {"choose": Slow(lambda hello: inner)}


def _remote(held: Credential) -> Credential:
    return Credential.from_signer(held.chain, Slow(held.signer))


class Calls(RuleBasedStateMachine):
    """A client and a server, and what lies on the wire between them."""

    versions: tuple[TLSVersion, ...] = (TLSVersion.TLS_1_3,)

    def __init__(self) -> None:
        super().__init__()
        self._open = ExitStack()
        self._witness = self._open.enter_context(watching())
        self.ends: dict[str, Connection] = {}
        self._begin({}, {})
        self.wire = {"client": b"", "server": b""}
        """On its way to each."""
        self.said = {"client": b"", "server": b""}
        self.heard = {"client": b"", "server": b""}
        """What each has said, and heard."""
        self.cut = {"client": b"", "server": b""}
        """What each was saying when its keys wore out: any part of it may have left."""
        self.asked: dict[str, Any] = {}
        """The open questions."""

    def _begin(self, client: dict[str, Any], server: dict[str, Any]) -> None:
        stage = Stage()
        both: dict[str, Any] = {"versions": self.versions, "groups": GROUPS, "trace": None}
        self.ends["client"] = stage.client(**{**both, "sessions": ClientSessions(), **client})
        self.ends["server"] = stage.server(**{**both, "tickets": TicketKeys(), **server})

    def _attempt(self, side: str, call: Any) -> bool:
        """Whether the call worked; what it raises has to be ours, and to stay if it was fatal."""
        connection = self.ends[side]
        before = connection.error
        error = attempt(lambda: call(connection))
        if error is None:
            return True
        if not isinstance(error, ConnectionClosed | CallbackError):
            assert_decent(error)
        assert not isinstance(error, CallbackError) or error is before  # of a question that was answered with nothing
        assert before is None or error is before
        assert connection.error in (before, error)
        return False

    @rule(side=sides, data=st.binary(max_size=50) | st.just(bytes(40_000)))
    def send(self, side: str, data: bytes) -> None:
        if self._attempt(side, lambda connection: connection.send(data)):
            self.said[side] += data
        elif not self.cut[side]:
            self.cut[side] = data

    @rule(side=sides, request=st.booleans())
    def update_keys(self, side: str, request: bool) -> None:
        self._attempt(side, lambda connection: connection.update_keys(request_peer=request))

    @rule(side=sides, count=st.sampled_from([0, 1, 2]))
    def send_tickets(self, side: str, count: int) -> None:
        self._attempt(side, lambda connection: connection.send_tickets(count))

    @rule(side=sides)
    def close(self, side: str) -> None:
        self._attempt(side, lambda connection: connection.close())

    @rule(side=sides, length=st.sampled_from([0, 32, 240, 1 << 20]), context=st.sampled_from([None, b"", b"context"]))
    def export(self, side: str, length: int, context: bytes | None) -> None:
        self._attempt(side, lambda connection: connection.export("EXPORTER-test" + "!" * length, context, length))

    @rule(side=sides, kind=st.sampled_from(["tls-exporter", "tls-unique", "tls-server-end-point"]))
    def bind(self, side: str, kind: str) -> None:
        self._attempt(side, lambda connection: connection.channel_binding(kind))

    @rule(side=sides)
    def look(self, side: str) -> None:
        """What can be asked at any time changes nothing, and is right."""
        connection = self.ends[side]
        assert bool(connection.waiting_for) is (connection.error is None and not connection.closed_by_peer)
        assert not (connection.established and connection.error)
        assert connection.has_data_to_send or not connection.data_to_send()
        assert connection.info.version in (None, *self.versions)
        assert connection.closed_by_peer or not connection.trailing_data()

    @rule(side=sides, kind=st.sampled_from(["good", "good", "good", "wrong", "failed", "none was asked"]))
    def answer(self, side: str, kind: str) -> None:
        question = self.asked.pop(side, None)
        if kind == "none was asked":
            self._attempt(side, lambda connection: connection.answer(None, None))
        elif question is not None:
            self._reply(side, question, kind)

    def _reply(self, side: str, question: Any, kind: str) -> None:
        connection = self.ends[side]
        value = {"good": question.put, "wrong": object, "failed": OSError}[kind]
        error = attempt(lambda: connection.answer(question, value()))
        assert kind == "good" or connection.error is error is not None

    @rule(side=sides)
    def flush(self, side: str) -> None:
        other = "server" if side == "client" else "client"
        self.wire[other] += self.ends[side].data_to_send()

    @rule(side=sides, size=st.integers(1, 200) | st.just(100_000))
    def deliver(self, side: str, size: int) -> None:
        piece, self.wire[side] = self.wire[side][:size], self.wire[side][size:]
        self._attempt(side, lambda connection: connection.receive_data(piece))

    @rule(wrong=st.integers(0, 15))
    def settle(self, wrong: int) -> None:
        """Everything that is on its way arrives, and every question is answered; one of them wrongly, perhaps."""
        asked = 0
        for side in ("server", "client") * 12:
            self.flush("client" if side == "server" else "server")
            self.deliver(side, 1 << 20)
            self.what_arrives_is_what_was_sent()
            while side in self.asked:
                asked += 1
                self._reply(side, self.asked.pop(side), "wrong" if asked == wrong else "good")
                self.what_arrives_is_what_was_sent()

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
            events = self.ends[side].events()
            self.heard[side] += b"".join(event.data for event in events if isinstance(event, Data))
            for event in events:
                if isinstance(event, Asked):
                    self.asked[side] = event.question
            assert (self.said[other] + self.cut[other]).startswith(self.heard[side])

    @invariant()
    def no_nonce_is_used_twice(self) -> None:
        assert self._witness.again == []

    def teardown(self) -> None:
        self._open.close()


class OlderCalls(Calls):
    """The same in TLS 1.2."""

    versions = (TLSVersion.TLS_1_2,)


class AnyCalls(Calls):
    """The same in any configuration: what the fuzzers drive."""

    versions = (TLSVersion.TLS_1_3, TLSVersion.TLS_1_2)

    @initialize(
        versions=st.sampled_from([(TLSVersion.TLS_1_3,), (TLSVersion.TLS_1_2,), versions]),
        padding=st.sampled_from([None, lambda size: 10]),
        trace=st.sampled_from([None, lambda event: None]),
        worn=st.sampled_from([None, 1, 3]),
        lifetime=st.sampled_from([None, timedelta(seconds=2)]),
        size=st.sampled_from([None, 64]),
        asks=st.booleans(),
        slow=st.booleans(),
    )
    def choose(self, versions: Any, worn: int | None, size: int | None, asks: bool, slow: bool, **both: Any) -> None:
        ticks, start = count(), datetime.now(UTC)
        usual: dict[str, Any] = {
            "versions": versions,
            "padding": both["padding"],
            "trace": both["trace"],
            "key_lifetime": both["lifetime"],
            "clock": lambda: start + timedelta(seconds=next(ticks)),
            "limits": Limits(records_per_key=worn) if worn else Limits(),
        }
        ours = _slow_client() if slow else {"credentials": [client_credential()]}
        theirs: dict[str, Any] = {"client_auth": ClientAuth(verify=authority().trust)} if asks else {}
        if slow and not asks:
            theirs = _slow_server()
        self._begin({**usual, "record_size_limit": size, **ours}, {**usual, **theirs})


TestCalls = Calls.TestCase
TestCalls.settings = examples(60)
TestOlderCalls = OlderCalls.TestCase
TestOlderCalls.settings = examples(40)
TestAnyCalls = AnyCalls.TestCase
TestAnyCalls.settings = examples(60)
