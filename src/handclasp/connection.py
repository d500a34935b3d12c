"""A TLS connection without I/O: bytes in, events and bytes out. It reads no clock of its own and owns no socket.

    conn.receive_data(data) / conn.receive_eof()   what came from the transport
    conn.events()                                  what it means: HandshakeComplete, Data, Asked, Closed
    conn.send(data) / conn.close()                 what the application wants
    conn.data_to_send()                            what to put on the transport

A connection is for one thread at a time; a second one that enters gets `ConcurrentUseError`. After a fatal error it is
dead, and every call says the same thing again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from threading import Lock
from types import GeneratorType
from typing import Any, ClassVar, NoReturn, TypeVar

from . import rules
from .alerts import Alert, AlertLevel
from .channel.inbound import Inbound
from .channel.outbound import Outbound, pieces
from .config import ClientAuth, ClientConfig, Config, ServerConfig
from .crypto.entropy import FORKS
from .errors import (
    AlertReceived,
    CallbackError,
    CertificateError,
    ConcurrentUseError,
    ConfigError,
    ConnectionClosed,
    InternalError,
    NotEstablished,
    TLSError,
    TruncatedError,
    from_alert,
    from_fault,
    guarded,
)
from .events import Asked, Closed, ConnectionInfo, Data, EarlyDataReceived, Event, HandshakeComplete, info_of
from .handshake.after import after_client, after_server, update_write_keys
from .handshake.bindings import channel_binding, export
from .handshake.client import client
from .handshake.notices import KeysExpired
from .handshake.proofs import Established
from .handshake.questions import Question, refuses
from .handshake.script import Peer, Receive, Script, Want
from .handshake.server import server
from .handshake.wishes import RequestCertificate, SendTickets, Wish
from .identity.names import peer_name
from .limits import MAX_TICKETS_AT_ONCE, MAX_WISHES
from .rules import PeerFault, require
from .trace import DataMoved, Direction, Epoch, MessageMoved, Subject
from .wire.messages import HEADER_SIZE, HandshakeMessage
from .wire.names import (
    ContentType,
    KeyUpdateRequest,
    TLSVersion,
)
from .wire.records import ChangeCipherSpec

# --- the connection --------------------------------------------------------------------------------------------------

T = TypeVar("T")

# a member of an enumeration takes 0.04 µs to get at
_DATA, _HANDSHAKE = ContentType.APPLICATION_DATA, ContentType.HANDSHAKE

_REFUSALS = (ConnectionClosed, NotEstablished)
"""What is the caller's error alone, and leaves the connection as it is."""

_NO_ERRORS = (Alert.CLOSE_NOTIFY, Alert.USER_CANCELED, Alert.NO_RENEGOTIATION)


class Connection:
    """What both roles have in common. Use `ClientConnection` or `ServerConnection`."""

    peer_class: ClassVar[type[Peer]] = Peer
    """What the script speaks through; the lab puts one here that misbehaves."""

    __slots__ = (
        "_after",
        "_close_received",
        "_config",
        "_error",
        "_established",
        "_events",
        "_forks",
        "_inbound",
        "_lock",
        "_outbound",
        "_peer",
        "_post_handshake",
        "_script",
        "_want",
        "_warnings",
        "_wishes",
    )

    def __init__(
        self,
        config: Config,
        start: Callable[[Peer], Script[Established]],
        after: Callable[[Peer, Established], Script[NoReturn]],
        first_record_version: int,
    ) -> None:
        trace = guarded("trace", config.trace)
        self._config = config
        self._inbound = Inbound(config.limits, trace)
        self._outbound = Outbound(config.limits, trace, first_record_version)
        self._peer = self.peer_class(self._inbound, self._outbound, trace)
        self._peer.adopt(config)
        self._after = after
        self._script: Script[Any] = start(self._peer)
        self._want: Want | None = None
        self._established: Established | None = None
        self._events: list[Event] = []
        self._error: TLSError | None = None
        self._close_received = False
        self._post_handshake = 0
        self._warnings = 0
        self._wishes: deque[Wish] = deque()
        """What the application wishes for, until the script can see to it."""
        self._lock = Lock()
        self._forks = FORKS.count
        with _Turn(self):
            self._guard(self._resume, None)

    # --- from the transport ---

    def receive_data(self, data: bytes | bytearray | memoryview) -> None:
        """Bytes from the transport. Raises TLSError on a fatal error, after queueing the alert that says so.

        Events that came before the error stay available. What comes after close_notify is ignored (RFC 8446 §6.1).
        """
        received = data if type(data) is bytes else _kept(data)
        failure = None
        # `_Turn` and `_guard` in one piece, here and in `data_to_send` and `send`: 0.8 µs less of 5 for each message.
        if self._forks != FORKS.count or not self._lock.acquire(False):
            self._keep_out()
        try:
            try:
                if self._error is not None:
                    self._require_alive()
                if not self._close_received:
                    self._inbound.deframer.feed(received)
                    self._pump()
            except Exception as caught:
                failure = self._failed(caught)
        except BaseException:
            self._interrupted()
            raise
        finally:
            self._lock.release()
        if failure is not None:
            raise failure

    def receive_eof(self) -> None:
        """The transport ended. Raises TruncatedError unless the peer said close_notify before.

        Where a question is open and bytes wait behind it, `answer` does so, when they are read and there was none.
        """
        with _Turn(self):
            self._require_alive()
            deframer = self._inbound.deframer
            deframer.ended = True
            if isinstance(self._want, Receive) or not len(deframer):
                self._guard(self._end)

    def events(self) -> list[Event]:
        """What happened since the last call, in order."""
        events, self._events = self._events, []
        return events

    # --- to the transport ---

    def data_to_send(self) -> bytes:
        """Bytes for the transport. After a fatal error too: the alert that tells the peer."""
        failure = None
        if self._forks != FORKS.count or not self._lock.acquire(False):
            self._keep_out()
        try:
            try:
                self._peer.update_pending = False
                return self._outbound.take()
            except Exception as caught:
                failure = self._failed(caught)
        except BaseException:
            self._interrupted()  # what was taken may not reach the caller
            raise
        finally:
            self._lock.release()
        raise failure

    @property
    def has_data_to_send(self) -> bool:
        """Whether `data_to_send` has something."""
        outbound = self._outbound
        return bool(outbound.records or outbound.unsealed)

    def send(self, data: bytes | bytearray | memoryview) -> None:
        """Protect application data. Raises NotEstablished before the handshake is finished.

        A server that took early data may answer it sooner, from `EarlyDataReceived` on. As with that data itself, the
        client may then be someone who replays it (RFC 8446 §4.4.4).
        """
        content = data if type(data) is bytes else memoryview(data).cast("B")
        failure = None
        if self._forks != FORKS.count or not self._lock.acquire(False):
            self._keep_out()
        try:
            try:
                if self._error is not None or self._established is None:
                    self._require_sendable()
                outbound = self._outbound
                if outbound.closed:
                    self._require_open()
                self._post_handshake = 0  # who only listens may answer each KeyUpdate that goes with the data
                for chunk in pieces(content, outbound.most_content):
                    expired = outbound.data(chunk)
                    if expired:
                        self._send_anew(chunk, expired)
                        if outbound.closed:
                            break
                if outbound.closed:
                    self._require_open()
            except Exception as caught:
                failure = self._failed(caught)
        except BaseException:
            self._interrupted()
            raise
        finally:
            self._lock.release()
        if failure is not None:
            raise failure

    def close(self) -> None:
        """Say close_notify: we send no more. The peer may go on until it says so too (RFC 8446 §6.1).

        A handshake that is not finished ends here.
        """
        with _Turn(self):
            if not self._outbound.closed and self._error is None:
                self._guard(self._take_leave)

    def abort(self, alert: Alert) -> None:
        """End the connection at once with a fatal alert, such as access_denied for a client that may not come in.

        Nothing is sent or received any more, but for the alert itself: see `data_to_send` (RFC 8446 §6.2). Raises
        ConfigError for the alerts that are no errors.
        """
        if alert in _NO_ERRORS:
            raise ConfigError(f"{alert} is no error: close() ends a connection in peace")
        with _Turn(self):
            if self._error is None:
                error = ConnectionClosed(f"ended on this side with the alert {alert}", code="aborted", alert=alert)
                self._poison(error)

    def update_keys(self, *, request_peer: bool = False) -> None:
        """Change our sending keys (KeyUpdate, RFC 8446 §4.6.3), and ask the peer to change its own."""
        with _Turn(self):
            self._require_writable()
            if self._peer.write_secret is None:
                raise ConfigError("TLS 1.2 cannot change keys within a connection")
            requests = KeyUpdateRequest
            wanted = requests.UPDATE_REQUESTED if request_peer else requests.UPDATE_NOT_REQUESTED
            self._post_handshake = 0  # an answer that we ask for is no flood
            self._guard(update_write_keys, self._peer, wanted)

    def send_tickets(self, count: int = 1) -> None:
        """Give the client more tickets, when it suits the application: TLS 1.3, servers that keep sessions.

        Nothing is sent where the client has no use for them.
        """
        with _Turn(self):
            self._require_writable()
            if not isinstance(self._config, ServerConfig) or self._peer.write_secret is None:
                raise ConfigError("a server gives tickets at any time in TLS 1.3; TLS 1.2 has its own moment for them")
            if not 1 <= count <= MAX_TICKETS_AT_ONCE:
                raise ConfigError(f"1 to {MAX_TICKETS_AT_ONCE} tickets can be sent at once, not {count}")
            self._wish(SendTickets(count))

    def request_certificate(self, auth: ClientAuth | None = None) -> None:
        """A server's: ask the client who it is, by now (TLS 1.3, RFC 8446 §4.6.2); `auth`, or `client_auth`.

        `ClientAuthenticated` tells the answer; data may come before it. A client that has to show a certificate and
        does not ends the connection. Sessions go on as whoever the client was in the handshake, so a resumed connection
        asks again. Raises ConfigError where the client did not offer this (`ClientConfig.post_handshake_auth`).
        """
        with _Turn(self):
            self._require_writable()
            config = self._established.later if self._established is not None else None
            if not isinstance(config, ServerConfig):
                raise ConfigError(
                    "this client cannot be asked for a certificate after the handshake", code="not-offered"
                )
            asked = auth or config.client_auth
            if asked is None:
                raise ConfigError("nothing says how to check the client: give request_certificate a ClientAuth")
            self._wish(RequestCertificate(asked))

    def _wish(self, wish: Wish) -> None:
        """See to it now, or when what is under way is done: an answer that is awaited, a message half received."""
        if len(self._wishes) >= MAX_WISHES:
            raise ConfigError(f"{MAX_WISHES} wishes wait for an answer already: {', '.join(self.waiting_for)}")
        self._wishes.append(wish)
        if isinstance(self._want, Receive):
            self._guard(self._grant)

    # --- questions ---

    def answer(self, question: Question[T], value: T | BaseException) -> None:
        """The answer to an `Asked`. An exception refuses the connection, as does a value of the wrong kind."""
        with _Turn(self):
            self._require_alive()
            if self._want is not question:
                raise ConfigError("this question is not open")
            self._guard(self._answered, value)

    # --- facts ---

    @property
    def established(self) -> bool:
        """True once the handshake is finished, as long as nothing failed."""
        return self._established is not None and self._error is None

    @property
    def error(self) -> TLSError | None:
        """What ended the connection, if something did."""
        return self._error

    @property
    def closed_by_peer(self) -> bool:
        """True when the peer sends no more."""
        return self._close_received

    def trailing_data(self) -> bytes:
        """Taken once: what came in one piece with the peer's close_notify, behind it. It is not TLS any more."""
        return self._inbound.deframer.take() if self._close_received else b""

    @property
    def waiting_for(self) -> tuple[str, ...]:
        """What the connection needs next: names of handshake messages, or of the open question; empty when dead."""
        if self._error is not None or self._close_received:
            return ()
        if isinstance(self._want, Receive):
            return tuple(cls.__name__ for cls in self._want.types)
        return (type(self._want).__name__,)

    @property
    def info(self) -> ConnectionInfo:
        """What was settled so far; also after a failure."""
        return info_of(self._peer)

    def export(self, label: str | bytes, context: bytes | None = None, length: int = 32) -> bytes:
        """Keying material for another protocol: `length` bytes bound to this connection (RFC 8446 §7.5, RFC 5705).

        In TLS 1.2 an empty context and none at all differ.
        """
        return export(self._require_established(), label, context, length)

    def channel_binding(self, kind: str) -> bytes:
        """`tls-exporter` (RFC 9266) or `tls-server-end-point` (RFC 5929 §4). Raises ConfigError for others."""
        return channel_binding(self._require_established(), kind)

    def __reduce__(self, *_: object) -> NoReturn:
        raise TypeError("a connection cannot be copied or pickled: two copies would use the same nonces")

    __copy__ = __deepcopy__ = __reduce__

    # --- the driver ---

    def _pump(self) -> None:
        """Feed the script what has arrived, until it needs more."""
        inbound = self._inbound
        while isinstance(want := self._want, Receive):
            if inbound.handshake.begun and (message := self._next_message(want)) is not None:
                self._resume(message)
                continue
            content = inbound.next()
            if content is None:
                return
            type_, data = content
            if type_ is _DATA and self._established is not None:
                if want.midway:
                    rules.fail(rules.RECORD_INTERLEAVED, "application data in the midst of an answer")
                if data:
                    self._warnings = self._post_handshake = 0
                    self._events.append(Data(data))
                if inbound.trace:
                    inbound.trace(DataMoved(Direction.RECEIVED, len(data)))
                if inbound.wears and (expired := inbound.worn()) and not self._outbound.closed:
                    self._renew_keys(expired, KeyUpdateRequest.UPDATE_REQUESTED)
                if not inbound.deframer.buffer:
                    return
            elif type_ is not _HANDSHAKE:  # whose content is in the handshake buffer
                self._dispatch(type_, data)
                if self._close_received:
                    return
        held, most = len(inbound.deframer), self._config.limits.buffered
        if inbound.epoch is Epoch.EARLY:  # which may be on its way, all of it, while somebody is asked about its sender
            most += 2 * max(0, inbound.early_data_left)
        if held > most:
            rules.fail(rules.BUFFER_FULL, f"{held} bytes")

    def _next_message(self, want: Receive) -> tuple[HandshakeMessage, bytes] | None:
        """The next handshake message, parsed and as it came; None until it is whole. Raises PeerFault."""
        inbound = self._inbound
        buffer, trace = inbound.handshake, inbound.trace
        type_ = buffer.peek()
        if type_ is None:
            return None
        expected = want.by_type.get(type_)
        if expected is None:
            raise want.unexpected(type_)
        raw = buffer.next()
        if raw is None:
            return None
        if trace:
            trace(MessageMoved(Direction.RECEIVED, inbound.epoch, _HANDSHAKE, raw))
        if self._established is not None:
            self._post_handshake += 1
            most = self._config.limits.post_handshake_messages
            require(self._post_handshake <= most, rules.TOO_MANY_POST_HANDSHAKE)
        self._warnings = 0
        body = raw[HEADER_SIZE:]
        for cls in expected:
            if cls.accepts(body):
                return cls.parse(body), raw
        raise want.unexpected(type_)

    @property
    def _trace(self) -> Callable[[Any], None] | None:
        return self._inbound.trace

    def _dispatch(self, type_: ContentType, content: bytes) -> None:
        """One record's content that is no data but early data. Raises PeerFault, TLSError."""
        if type_ is _DATA:
            self._early_data(content)
        elif type_ is ContentType.ALERT:
            self._alert(content)
        elif type_ is ContentType.CHANGE_CIPHER_SPEC:
            self._change_cipher_spec()
        else:
            raise PeerFault(rules.RECORD_TYPE, f"type {int(type_)} inside a protected record")

    def _early_data(self, content: bytes) -> None:
        """Application data before the handshake is done, RFC 8446 §4.2.10: no more than the session allows."""
        require(self._inbound.epoch is Epoch.EARLY, rules.EARLY_APPLICATION_DATA)
        self._inbound.early_data_left -= len(content)
        require(self._inbound.early_data_left >= 0, rules.EARLY_DATA_LIMIT)
        if self._trace:
            self._trace(DataMoved(Direction.RECEIVED, len(content)))
        if content:
            self._events.append(EarlyDataReceived(content))

    def _change_cipher_spec(self) -> None:
        """RFC 5246 §7.1: it comes exactly where the script waits for it. Raises PeerFault."""
        require(isinstance(self._want, Receive) and ChangeCipherSpec in self._want.types, rules.CCS_MISPLACED)
        self._resume(ChangeCipherSpec())

    def _alert(self, content: bytes) -> None:
        """RFC 8446 §6. Raises AlertReceived for all but the two that are not errors."""
        require(len(content) == 2, rules.ALERT_MALFORMED)
        level, alert = AlertLevel(content[0]), Alert(content[1])
        require(level.known, rules.ALERT_LEVEL, level)
        if self._trace:
            self._trace(MessageMoved(Direction.RECEIVED, self._inbound.epoch, ContentType.ALERT, content))
        if alert is Alert.USER_CANCELED or (level is AlertLevel.WARNING and self._tolerates(alert)):
            self._warnings += 1
            require(self._warnings <= self._config.limits.warning_alerts, rules.TOO_MANY_WARNINGS)
        elif alert is Alert.CLOSE_NOTIFY and self._established is not None:
            self._close_received = True
            self._events.append(Closed(clean=True))
        else:
            settled = Subject.VERSION in self._peer.notes  # before, an older server's warning may mean what it says
            require(not settled or level is AlertLevel.FATAL or alert is Alert.CLOSE_NOTIFY, rules.ALERT_WARNING, alert)
            raise from_alert(alert)

    def _tolerates(self, alert: Alert) -> bool:
        """TLS 1.2 has warnings that end nothing (RFC 5246 §7.2); TLS 1.3 has not, and it may yet become either."""
        version = self._peer.notes.get(Subject.VERSION)
        older = (
            TLSVersion.TLS_1_2 in self._config.usable_versions
            if version is None
            else version.value is TLSVersion.TLS_1_2
        )
        return older and alert is not Alert.CLOSE_NOTIFY

    def _resume(self, value: Any) -> None:
        """Go on with the script; answer what it asks at once where the configuration can.

        An error in place of a value is raised where the script asked.
        """
        while True:
            try:
                want = self._script.throw(value) if isinstance(value, TLSError) else self._script.send(value)
            except StopIteration as finished:
                self._complete(finished.value)
                value = None
                continue
            finally:
                if self._peer.notices:
                    self._tell()
            self._want = want
            if isinstance(want, Receive):
                if not self._wishes or not want.wishes:
                    return
                value = self._wishes.popleft()
                continue
            if want.blocking:
                self._events.append(Asked(want))
                return
            try:
                value = want.put()
            except TLSError as refusal:
                value = refusal
            # `inspect.isawaitable` looks at abstract classes, which takes 1 µs for each answer that is none
            if hasattr(value, "__await__") or isinstance(value, GeneratorType):
                self._events.append(Asked(want, value))
                return

    def _grant(self) -> None:
        """See to the oldest wish, if this is the moment."""
        if isinstance(self._want, Receive) and self._want.wishes:
            self._resume(self._wishes.popleft())

    def _tell(self) -> None:
        self._events += self._peer.notices
        self._peer.notices.clear()

    def _complete(self, established: Established) -> None:
        self._established = established
        self._peer.transcript.close()
        self._script = self._after(self._peer, established)
        self._events.append(HandshakeComplete(self.info))

    def _answered(self, value: object) -> None:
        if isinstance(value, BaseException) and not refuses(value):
            raise CallbackError(f"an answer failed: {type(value).__name__}") from value
        self._resume(value)
        if not self._close_received:
            self._pump()
        if self._inbound.deframer.ended and isinstance(self._want, Receive):
            self._end()

    def _end(self) -> None:
        """No more bytes come. Raises TruncatedError where the peer did not say so."""
        if self._close_received:
            return
        self._close_received = True
        self._events.append(Closed(clean=False))
        when = "after" if self._established else "during"
        raise TruncatedError(
            f"the peer ended the connection {when} the handshake without close_notify"
            + (": data may be missing" if self._established else ""),
            remedy="do not use what came as if it were whole; look at the peer's log",
        )

    def _send_anew(self, chunk: bytes | memoryview, expired: str) -> None:
        """Data that the present key should not protect any more: under the next one, if there can be one."""
        if self._established is not None:
            theirs = self._inbound.worn()  # mostly just as old
            requests = KeyUpdateRequest
            self._renew_keys(expired, requests.UPDATE_REQUESTED if theirs else requests.UPDATE_NOT_REQUESTED)
        if not self._outbound.closed:
            self._outbound.data(chunk, regardless=True)  # an answer to early data has no keys to change to yet

    def _renew_keys(self, why: str, request: KeyUpdateRequest) -> None:
        """When a key has had its time: new ones in TLS 1.3, a close_notify in TLS 1.2, which cannot change them."""
        renewed = self._peer.write_secret is not None
        self._peer.note(Subject.KEYS_EXPIRED, renewed, why)
        self._events.append(KeysExpired(why, renewed))
        if renewed:
            update_write_keys(self._peer, request)
            return
        self._outbound.closed = True
        self._outbound.alert(AlertLevel.WARNING, Alert.CLOSE_NOTIFY)

    def _take_leave(self) -> None:
        self._outbound.closed = True
        if self._established is None:
            self._outbound.alert(AlertLevel.WARNING, Alert.USER_CANCELED)
        self._outbound.alert(AlertLevel.WARNING, Alert.CLOSE_NOTIFY)
        if self._established is None:
            self._poison(ConnectionClosed("the connection was closed on this side, in the midst of the handshake"))

    # --- failing ---

    def _guard(self, step: Callable[..., None], *arguments: object) -> None:
        """Take one step; turn whatever goes wrong into one alert, one error, and a dead connection."""
        try:
            step(*arguments)
        except Exception as caught:
            failure = self._failed(caught)
        else:
            return
        raise failure

    def _failed(self, caught: Exception) -> TLSError:
        """Die of what went wrong, unless it is that something cannot be asked of the connection now.

        Returns what to raise once the `except` is left, without the frames and the context of the fault: their locals
        hold secrets.
        """
        if isinstance(caught, PeerFault):
            error = from_fault(caught, self._peer.chain)
        elif isinstance(caught, TLSError):
            error = caught
        else:
            error = InternalError(f"a bug in handclasp: {type(caught).__name__}", alert=Alert.INTERNAL_ERROR)
            error.__cause__ = caught
        if isinstance(error, CertificateError):
            error.peer_chain = error.peer_chain or self._peer.chain
        if not isinstance(error, _REFUSALS):
            self._poison(error)
        return error.with_traceback(None)

    def _interrupted(self) -> None:
        """Between two lines, anywhere: what was half done cannot go on."""
        self._poison(InternalError("the connection was interrupted", alert=Alert.INTERNAL_ERROR))

    def _keep_out(self) -> NoReturn:
        """One caller at a time, and only in the process that made it: elsewhere nonces would repeat."""
        if self._forks != FORKS.count:
            raise ConcurrentUseError("this connection was made before a fork: with both processes in it, nonces repeat")
        raise ConcurrentUseError("this connection is in use by another thread, or by the caller of this callback")

    def _poison(self, error: TLSError) -> None:
        """The connection is dead, of its first error."""
        self._error = self._error or error
        self._script.close()
        if error.alert is None and not isinstance(error, (AlertReceived, ConnectionClosed, TruncatedError)):
            error.alert = Alert.INTERNAL_ERROR
        if error.alert is not None and not error.alert_received and not self._outbound.closed:
            self._outbound.closed = True
            with suppress(CallbackError):  # the trace or the padding policy again: the peer goes without an alert
                self._outbound.alert(AlertLevel.FATAL, error.alert)

    def _require_alive(self) -> None:
        if self._error is not None:
            raise self._error.with_traceback(None)

    def _require_sendable(self) -> None:
        """For data: a server may answer early data before the handshake is finished."""
        if self._peer.answers_early:
            self._require_alive()
        else:
            self._require_established()

    def _require_established(self) -> Established:
        self._require_alive()
        if self._established is None:
            raise NotEstablished("the handshake is not finished")
        return self._established

    def _require_writable(self) -> None:
        self._require_established()
        self._require_open()

    def _require_open(self) -> None:
        if self._outbound.closed:
            expired = self._peer.notes.get(Subject.KEYS_EXPIRED)
            if expired is None or expired.value:
                raise ConnectionClosed("the connection was closed on this side")
            raise ConnectionClosed(
                f"the keys have had their time ({expired.why}), and TLS 1.2 cannot change them",
                code="keys-worn-out",
                remedy="connect again",
            )


def _kept(data: bytes | bytearray | memoryview) -> bytes | memoryview:
    """Bytes that stay as they are: a copy, unless they are a view of such bytes already."""
    if (
        type(data) is memoryview
        and type(data.obj) is bytes
        and data.c_contiguous
        and (data.format, data.ndim) == ("B", 1)
    ):
        return data[:]  # the caller may release its own
    return bytes(memoryview(data))


class _Turn:
    """One caller at a time in a connection, and only in the process that made it."""

    __slots__ = ("_connection",)

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        connection = self._connection
        if connection._forks != FORKS.count or not connection._lock.acquire(False):
            connection._keep_out()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is not None and not issubclass(kind, Exception):
                self._connection._interrupted()
        except BaseException:
            self._connection._interrupted()  # while leaving: what was done may not be known to the caller
            raise
        finally:
            self._connection._lock.release()


class ClientConnection(Connection):
    """The client's end. `server_name` is the name or address to check the certificate for, and the SNI to send.

    `early_data` goes with the first flight where a session in `config.sessions` allows so much of it. If none does, or
    the server declines, the event `EarlyDataRejected` says so, and nothing is sent a second time by itself. Others can
    replay it, and it has no forward secrecy (RFC 8446 §2.3): give only what may safely arrive twice.
    """

    __slots__ = ()

    def __init__(self, config: ClientConfig, server_name: str | None = None, *, early_data: bytes = b"") -> None:
        name = None if server_name is None else peer_name(server_name)
        super().__init__(config, lambda peer: client(peer, config, name, early_data), after_client, 0x0301)


class ServerConnection(Connection):
    """The server's end."""

    __slots__ = ()

    def __init__(self, config: ServerConfig) -> None:
        super().__init__(config, lambda peer: server(peer, config), after_server, 0x0303)
