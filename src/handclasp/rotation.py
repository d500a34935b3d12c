"""Credentials in files that are replaced while the server runs: what certificate managers do every few weeks, or hours.

files = CredentialFiles([("/etc/tls/chain.pem", "/etc/tls/key.pem")])
server = ServerConfig(credentials=files)
client = ClientConfig(credentials=lambda request: files.current[0])
"""

from __future__ import annotations

import inspect
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from .errors import ConfigError
from .identity.certificates import Certificate
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
    read and checked before it counts. While any of it is unreadable, half written, a chain whose key is another's, out
    of its dates where the old one is not, or without the OCSP response that it must be shown with, everything stays as
    it was, and the log "handclasp" says so once. It is tried again at each look, so what heals by itself, as a disk or
    a clock may, is taken then. Whoever asks meanwhile is not held up.

    Safe between threads. Replace files by renaming, so that nobody reads half of one.
    """

    __slots__ = (
        "_clock",
        "_complaint",
        "_due",
        "_every",
        "_files",
        "_fresh",
        "_loaded",
        "_looking",
        "_now",
        "_password",
        "_seen",
        "_staple",
    )

    def __init__(
        self,
        files: Sequence[tuple[Path, Path | None]],
        *,
        password: str | bytes | None = None,
        staple: Callable[[Credential], StapleSource] | None = None,
        check_every: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Pairs of (chain, key), as for `Credential.from_files`; the key is None where it is in the chain's file.

        `staple` makes the source of OCSP responses for each credential that is read: `OCSPStapler` does. `clock` counts
        seconds and never goes back; `now` is the time of day. Raises ConfigError for files that are no good to begin
        with.
        """
        if not files:
            raise ConfigError("credentials from no files", remedy="CredentialFiles([(chain_path, key_path)])")
        self._files = tuple(files)
        self._password = password
        self._staple = staple
        self._every = check_every
        self._clock = clock
        self._now = now
        self._looking = threading.Lock()
        self._seen = self._look()
        self._loaded = tuple(self._load(number, stamp) for number, stamp in enumerate(self._seen))
        self._fresh = self._loaded
        self._complaint = ""
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
        if seen == self._seen and not self._complaint:
            return
        try:
            loaded = tuple(self._at(number, stamp) for number, stamp in enumerate(seen))
            self._fresh = loaded
            for old, new in zip(self._loaded, loaded, strict=True):
                if old is not new:
                    _check_ready(new.credential, old.credential.leaf, self._now())
        except Exception as error:  # whatever it is: what was good a moment ago still is
            complaint = str(error) or type(error).__name__
            if (seen, complaint) != (self._seen, self._complaint):
                log.warning("credentials stay as they were: %s", complaint)
            self._seen, self._complaint = seen, complaint
            return
        replaced = [new.credential.leaf for old, new in zip(self._loaded, loaded, strict=True) if old is not new]
        self._loaded, self._seen, self._complaint = loaded, seen, ""
        if replaced:
            told = ", ".join(f"{leaf.subject} until {leaf.not_after}" for leaf in replaced)
            log.info("credentials replaced: %s", told)

    def _at(self, number: int, stamp: object) -> _Loaded:
        """What is in a pair of files that look like this: held, read before and not taken yet, or read now."""
        for known in (self._loaded[number], self._fresh[number]):
            if known.stamp == stamp:
                return known
        return self._load(number, stamp)

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


def _check_ready(credential: Credential, old: Certificate, now: datetime) -> None:
    """Whether a new credential can be shown from this moment on. Raises ConfigError."""
    leaf, source = credential.leaf, credential.staples
    if _in_time(old, now) and not _in_time(leaf, now):
        raise ConfigError(
            f"the new certificate {leaf.subject} is valid from {leaf.not_before} to {leaf.not_after}, and the old one"
            " is valid now",
            code="not-valid-now",
            remedy="check the certificate and this machine's clock",
        )
    if leaf.must_staple and source is not None and not _awaits(source) and source.staple() is None:
        raise ConfigError(
            f"the new certificate {leaf.subject} must be shown with an OCSP response, and there is none yet",
            code="must-staple",
        )


def _in_time(leaf: Certificate, now: datetime) -> bool:
    return leaf.not_before <= now <= leaf.not_after


def _awaits(source: StapleSource) -> bool:
    """Whether to ask this source here would hold somebody up."""
    return inspect.iscoroutinefunction(source.staple) or getattr(source, "blocking", False) is True


def _stamp(path: Path | None) -> object:
    """The identity and the times of a file; None for one that is not there."""
    if path is None:
        return None
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
