"""Credentials in files that are replaced while the server runs: what certificate managers do every few weeks, or hours.

files = CredentialFiles([("/etc/tls/chain.pem", "/etc/tls/key.pem")])
server = ServerConfig(credentials=files)
client = ClientConfig(credentials=lambda request: files.current[0])
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .errors import ConfigError
from .identity.credentials import Credential
from .identity.revocation.staples import StapleSource
from .wire.messages import ClientHello

Path = str | os.PathLike[str]

log = logging.getLogger("handclasp")


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A credential, and what its files looked like just before they were read."""

    stamp: object
    credential: Credential


class CredentialFiles:
    """A `CredentialSource` that notices when its files change, and then takes all the new ones or none.

    The files are looked at when somebody asks, at most every `check_every` seconds: there is no thread. What is new is
    read and checked before it counts. While any of it is unreadable, half written, or a chain whose key is another's,
    everything stays as it was, and the log "handclasp" says so once. Whoever asks meanwhile is not held up.

    Safe between threads. Replace files by renaming, so that nobody reads half of one.
    """

    __slots__ = ("_clock", "_due", "_every", "_files", "_loaded", "_looking", "_password", "_seen", "_staple")

    def __init__(
        self,
        files: Sequence[tuple[Path, Path | None]],
        *,
        password: str | bytes | None = None,
        staple: Callable[[Credential], StapleSource] | None = None,
        check_every: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Pairs of (chain, key), as for `Credential.from_files`; the key is None where it is in the chain's file.

        `staple` makes the source of OCSP responses for each credential that is read: `OCSPStapler` does. `clock` counts
        seconds and never goes back. Raises ConfigError for files that are no good to begin with.
        """
        if not files:
            raise ConfigError("credentials from no files", remedy="CredentialFiles([(chain_path, key_path)])")
        self._files = tuple(files)
        self._password = password
        self._staple = staple
        self._every = check_every
        self._clock = clock
        self._looking = threading.Lock()
        self._seen = self._look()
        self._loaded = tuple(self._load(number, stamp) for number, stamp in enumerate(self._seen))
        self._due = clock() + check_every

    @property
    def current(self) -> tuple[Credential, ...]:
        """The credentials as they are now, in the order of the files."""
        if self._clock() >= self._due and self._looking.acquire(blocking=False):
            try:
                self._due = self._clock() + self._every
                self._refresh()
            finally:
                self._looking.release()
        return tuple(loaded.credential for loaded in self._loaded)

    def credentials(self, hello: ClientHello) -> tuple[Credential, ...]:
        """For any client the same: the server chooses among them."""
        return self.current

    def _refresh(self) -> None:
        seen = self._look()
        if seen == self._seen:
            return
        self._seen = seen  # whatever comes of it: what is no good is not read, nor logged, a second time
        try:
            loaded = tuple(
                held if held.stamp == stamp else self._load(number, stamp)
                for number, (held, stamp) in enumerate(zip(self._loaded, seen, strict=True))
            )
        except Exception as error:  # whatever it is: what was good a moment ago still is
            log.warning("credentials stay as they were: %s", error)
            return
        replaced = [new.credential.leaf for old, new in zip(self._loaded, loaded, strict=True) if old is not new]
        self._loaded = loaded
        log.info("credentials replaced: %s", ", ".join(f"{leaf.subject} until {leaf.not_after}" for leaf in replaced))

    def _look(self) -> tuple[object, ...]:
        """What tells a changed pair of files from an unchanged one, for each pair."""
        return tuple(tuple(_stamp(path) for path in pair) for pair in self._files)

    def _load(self, number: int, stamp: object) -> _Loaded:
        chain, key = self._files[number]
        try:
            credential = Credential.from_files(chain, key, password=self._password)
            if self._staple is not None:
                credential = credential.with_staple(self._staple(credential))
            elif credential.leaf.must_staple:
                raise ConfigError(
                    "the certificate demands a stapled OCSP response",
                    code="must-staple",
                    remedy="CredentialFiles(…, staple=handclasp.OCSPStapler)",
                )
            return _Loaded(stamp, credential)
        except ConfigError as error:
            where = f"{os.fspath(chain)!r}" if key is None else f"{os.fspath(chain)!r} with {os.fspath(key)!r}"
            raise ConfigError(f"{where}: {error}", code=error.code, remedy=error.remedy) from None


def _stamp(path: Path | None) -> object:
    """The identity and the times of a file; None for one that is not there."""
    if path is None:
        return None
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
