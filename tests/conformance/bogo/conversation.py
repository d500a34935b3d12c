"""One connection of a test: handshake, checks, the echo, and the end, in the order that the runner expects."""

from __future__ import annotations

import socket
from pathlib import Path

from handclasp import Alert, ClientConnection, ConfigError, ServerConnection, TLSVersion
from handclasp.identity.certificates import certificates_from
from handclasp.sessions.cache import ClientSession
from handclasp.wire.codec import encode
from handclasp.wire.extensions import TIMESTAMPS

from .configuration import Chooser, Memory, Trusting, client_config, server_config
from .options import Options, Unmet, equal
from .pipe import Pipe, drain, inverted
from .witness import Witness

INITIAL_WRITE = b"hello"

PLACE = "bogo.test"
"""The name that sessions are kept under where the test gives none."""


class Conversation:
    """A connection and what the test wants of it."""

    def __init__(self, options: Options, retry: Options, index: int, memory: Memory) -> None:
        self._options = options
        self._retry = retry
        self._index = index
        self._memory = memory
        self._secrets: dict[str, bytes] = {}
        self._offered: ClientSession | None = None
        self._early = b""
        self._chooser: object = None
        self._verifier: Trusting | None = None
        self._witness = Witness()
        make = server_config if options.server else client_config
        make(options, memory, self._log)  # whether it can be done has to be known before anything is connected

    def hold(self, sock: socket.socket) -> None:
        """Do it all on a new connection. Raises TLSError, Unmet, OSError."""
        with sock:
            pipe = None
            try:
                pipe = Pipe(sock, self._connection(), "-async" in self._options, self._declined)
                self._talk(pipe)
            finally:
                if pipe is not None:
                    pipe.flush()
                drain(sock)

    def _connection(self) -> ClientConnection | ServerConnection:
        options, memory = self._options, self._memory
        if options.server:
            serving = server_config(options, memory, self._log, self._witness)
            self._chooser = serving.choose
            return ServerConnection(serving)
        name = (options.text("-host-name") or PLACE.encode()).decode()
        held = memory.wallet.newest
        self._offered = held
        if self._index and held is None:
            raise Unmet("No session to offer")
        early = b""
        if self._index and "-enable-early-data" in options and "-shim-writes-first" in options and held is not None:
            early = self._initial_write(options)[: held.session.max_early_data]
        self._early = early
        config = client_config(options, memory, self._log, self._witness)
        if isinstance(config.trust, Trusting):
            self._verifier = config.trust
        return ClientConnection(config, name, early_data=early)

    def _declined(self) -> None:
        """Early data was: what the test says of the second try holds from now on."""
        if self._verifier is not None:
            self._verifier.options = self._retry

    def _log(self, line: str) -> None:
        label, _, secret = line.split()
        self._secrets[label] = bytes.fromhex(secret)

    def _initial_write(self, options: Options) -> bytes:
        once = options.text("-shim-initial-write") or INITIAL_WRITE
        return once * (options.number("-repeat-shim-initial-write") or 1)

    # --- the steps ---

    def _talk(self, pipe: Pipe) -> None:
        options = self._options
        self._export_early(pipe)
        unfinished = "-read-with-unfinished-write" in options
        pipe.handshake(unfinished=unfinished and bool(self._early))
        rejected = pipe.early_data_rejected
        if rejected:
            if "-expect-reject-early-data" not in options:
                raise Unmet("early data was rejected")
            options = self._retry
        elif "-expect-reject-early-data" in options and not options.server:
            raise Unmet("early data was not rejected")
        check_properties(pipe, options, self._index)
        check_credential(pipe, options)
        self._check_hooks(options)
        self._after(pipe, options, rejected)

    def _check_hooks(self, options: Options) -> None:
        """What was seen by those who were asked. Raises Unmet."""
        chooser, verifier = self._chooser, self._verifier
        if isinstance(chooser, Chooser) and chooser.hello is not None and "-expect-advertised-alpn" in options:
            listed = b"".join(bytes([len(name)]) + name for name in chooser.hello.extensions.alpn or ())
            equal("offered protocols", listed, options.text("-expect-advertised-alpn"))
        if "-expect-ticket-age-skew" in options and self._index:
            equal("skew", self._skew(), options.number("-expect-ticket-age-skew"))
        self._witness.check(options, chooser.hello if isinstance(chooser, Chooser) else None)
        if verifier is not None and verifier.timestamps and "-expect-signed-cert-timestamps" in options:
            listed = encode(TIMESTAMPS, verifier.timestamps)
            equal("timestamps", listed, options.decoded("-expect-signed-cert-timestamps"))
        if verifier is not None and verifier.staples and "-expect-ocsp-response" in options:
            equal("staple", verifier.staples[0], options.decoded("-expect-ocsp-response"))

    def _skew(self) -> int | None:
        """By how many seconds the client's session is older than its ticket."""
        session, chooser = self._memory.opened, self._chooser
        if session is None or not isinstance(chooser, Chooser) or chooser.hello is None:
            return None
        offered = chooser.hello.extensions.pre_shared_key
        told = 0 if offered is None else (offered.identities[0].obfuscated_ticket_age - session.age_add) % (1 << 32)
        return round(told / 1000 - (self._memory.clock() - session.created).total_seconds())

    def _export_early(self, pipe: Pipe) -> None:
        """Nothing can be exported while early data is on its way."""
        if self._options.server or not self._early or "-export-keying-material" not in self._options:
            return
        pipe.conn.export(self._options.text("-export-label") or b"", None, 32)

    def _after(self, pipe: Pipe, options: Options, rejected: bool) -> None:
        conn = pipe.conn
        length = options.number("-export-keying-material")
        if length:
            context = (options.text("-export-context") or b"") if "-use-export-context" in options else None
            pipe.write(conn.export(options.text("-export-label") or b"", context, length))
        if "-export-traffic-secrets" in options:
            pipe.write(self._traffic_secrets(options))
        if "-tls-unique" in options:
            try:
                pipe.write(conn.channel_binding("tls-unique"))
            except ConfigError:
                raise Unmet("failed to get tls-unique") from None
        if "-send-alert" in options:
            conn.abort(Alert.DECOMPRESSION_FAILURE)
            return
        if "-shim-writes-first" in options:
            written = 0 if options.server or rejected else len(self._early)
            pipe.write(self._initial_write(options)[written:])
        elif "-read-with-unfinished-write" in options and not rejected:
            pipe.write(self._initial_write(options), unfinished=True)
        if "-shim-shuts-down" not in options:
            self._echo(pipe, options)
        self._check_sessions(pipe, options)
        self._close(pipe, options)

    def _traffic_secrets(self, options: Options) -> bytes:
        server, client = (self._secrets[f"{side}_TRAFFIC_SECRET_0"] for side in ("SERVER", "CLIENT"))
        read, write = (client, server) if options.server else (server, client)
        return len(read).to_bytes(2, "little") + read + write

    def _echo(self, pipe: Pipe, options: Options) -> None:
        while True:
            if "-key-update-before-read" in options:
                pipe.conn.update_keys()
                pipe.flush()
            peeked = pipe.peek() if "-peek-then-read" in options else None
            data = pipe.read()
            if peeked is not None:
                equal("data read", data, peeked)
            if not data:
                return
            if "-key-update" in options:
                pipe.conn.update_keys()
            pipe.write(inverted(data))

    def _check_sessions(self, pipe: Pipe, options: Options) -> None:
        """A client has a new session exactly where the test says so, and so has a server that keeps them by id."""
        memory = self._memory
        if options.server:
            for flag, expected in (("-expect-session-id", True), ("-expect-no-session-id", False)):
                if flag in options and not self._index:
                    equal("sessions by id", bool(len(memory.sessions)), expected)
            return
        info, newest = pipe.conn.info, memory.wallet.newest
        renewed = newest is not None and (self._offered is None or newest.ticket != self._offered.ticket)
        if info.version is TLSVersion.TLS_1_3:
            equal("new session", renewed, not {"-expect-no-session", "-shim-shuts-down"} & options.flags.keys())
        else:
            due = _extended(pipe.conn) and (not info.resumed or "-expect-ticket-renewal" in options)
            equal("new session", renewed, "-expect-no-session" not in options and due)
        if renewed and newest is not None and info.version is TLSVersion.TLS_1_3:
            allowed = bool(newest.session.max_early_data)
            equal("early data in the ticket", allowed, "-expect-ticket-supports-early-data" in options)

    def _close(self, pipe: Pipe, options: Options) -> None:
        if "-check-close-notify" not in options:
            return
        pipe.conn.close()
        pipe.flush()
        if "-shim-shuts-down" in options and pipe.read():
            raise Unmet(":APPLICATION_DATA_ON_SHUTDOWN:")
        if not pipe.closed_cleanly:
            raise Unmet("Unexpected SSL_shutdown result: -1 != 1")


def check_properties(pipe: Pipe, options: Options, index: int) -> None:
    """Compare what was settled with what the test expects. Raises Unmet."""
    if "-implicit-handshake" in options:
        return
    info = pipe.conn.info
    expected = bool(index) and "-expect-session-miss" not in options
    equal("resumed", info.resumed, expected)
    if "-expect-alpn" in options:
        equal("alpn", (info.alpn or "").encode("latin-1"), options.text("-expect-alpn"))
    if "-expect-version" in options:
        equal("version", info.version, options.number("-expect-version"))
    for flag in ("-expect-cipher", "-expect-cipher-aes"):
        if flag in options:
            equal("cipher suite", info.cipher_suite, options.number(flag))
    if "-expect-curve-id" in options and info.group is not None:  # a short handshake of TLS 1.2 has none
        equal("group", info.group, options.number("-expect-curve-id"))
    if "-expect-hrr" in options or "-expect-no-hrr" in options:
        equal("retry", info.hello_retry, "-expect-hrr" in options)
    if "-expect-server-name" in options:
        equal("server name", (info.server_name or "").encode(), options.text("-expect-server-name"))
    if "-expect-no-server-name" in options:
        equal("server name", info.server_name, None)
    if "-expect-peer-signature-algorithm" in options and not info.resumed:  # it is not remembered
        used = info.client_signature_scheme if options.server else info.signature_scheme
        equal("signature scheme", used, options.number("-expect-peer-signature-algorithm"))
    if "-expect-accept-early-data" in options:
        equal("early data", info.early_data, True)
    if "-expect-reject-early-data" in options and options.server:
        equal("early data", bool(info.early_data), False)
    if "-expect-peer-cert-file" in options:
        expected_chain = certificates_from(Path((options.text("-expect-peer-cert-file") or b"").decode()).read_bytes())
        equal("peer's chain", info.peer_certificates, expected_chain)
    if "-expect-early-data-reason" in options:
        equal("early data", info.early_data is True, options.text("-expect-early-data-reason") == b"accept")
    if "-expect-extended-master-secret" in options:
        equal("extended master secret", _extended(pipe.conn), True)
    if "-expect-no-peer-cert" in options:
        equal("peer's chain", info.peer_certificates, ())


def _extended(conn: ClientConnection | ServerConnection) -> bool:
    """TLS 1.3 knows nothing else; in TLS 1.2 a connection without it has no tls-unique."""
    if conn.info.version is TLSVersion.TLS_1_3:
        return True
    try:
        return bool(conn.channel_binding("tls-unique"))
    except ConfigError:
        return False


def check_credential(pipe: Pipe, options: Options) -> None:
    """Whether we showed the certificate that the test expects. Raises Unmet."""
    expected = options.number("-expect-selected-credential")
    if expected is None or pipe.conn.info.resumed:
        return
    default, *others = options.credentials
    described = default if expected < 0 else others[expected]
    shown = pipe.conn.info.certificate
    if "-cert-file" not in described:
        equal("our certificate", shown, None)
        return
    path = described["-cert-file"][-1].decode()
    equal("our certificate", shown, certificates_from(Path(path).read_bytes())[0])
