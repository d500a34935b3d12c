"""Trust on first use: remember the key a server has shown, and refuse another (as SSH does with known_hosts)."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

from ..errors import CertificateError, ConfigError
from .combine import Provisional, Recording
from .path import check_chain
from .pins import pin_of
from .presented import PresentedChain, VerifiedPeer

try:
    import fcntl
except ImportError:  # Windows has no such locks: threads exclude each other there, processes do not
    fcntl = None  # type: ignore[assignment]


@dataclass(frozen=True, slots=True)
class Known:
    """A server's key, as it is remembered."""

    pin: str
    since: str
    """The day it was first seen."""


class KnownKeys(Protocol):
    """Where keys are remembered."""

    def recall(self, name: str) -> Known | None:
        """What is known of a server; None when it was never seen."""
        ...

    def record(self, name: str, pin: str, at: datetime) -> Known:
        """Remember a key unless one is known already, in one step; returns what stands then."""
        ...


@dataclass(frozen=True, slots=True)
class TrustOnFirstUse(Recording):
    """Accepts any key of a server never seen before, and from then on that key alone.

    An attacker who is there at the first connection stays unseen: compare the key by another way, or live with that.
    No date and no issuer is looked at: the key is the identity. The name is the one we asked for, without its port.

    A key is recorded when its owner has proved that it has it, which is before a verifier is asked, with one exception:
    in RSA key transport (`handclasp.danger`) the proof comes last. There an unknown key is refused. With `&`, on either
    side, it is recorded when the other has accepted it too: the key of one who was refused would lock the server out.
    """

    known: KnownKeys

    blocking = True

    @property
    def fingerprint(self) -> bytes | None:
        mark = getattr(self.known, "fingerprint", None)
        return hashlib.sha256(b"tofu " + mark).digest() if isinstance(mark, bytes) else None

    def judge(self, presented: PresentedChain) -> VerifiedPeer:
        """Raises CertificateError for another key, ConfigError for a store that cannot be read or written."""
        check_chain(presented)
        name, pin = presented.name, pin_of(presented.leaf)
        if name is None or pin is None:
            raise _refused(presented, "tofu", "trust on first use needs a name, and a key that can be remembered")
        known = self.known.recall(name.text)
        if known is None:
            if not presented.proven:
                text = "the server's key is not known yet, and RSA key transport proves it too late to remember it"
                raise _refused(presented, "tofu", text)

            def record() -> None:
                self._compare(presented, name.text, pin, self.known.record(name.text, pin, presented.at))

            why = "first use: its key is remembered now"
            return Provisional((presented.leaf,), why, records=(record,))
        self._compare(presented, name.text, pin, known)
        return VerifiedPeer((presented.leaf,), f"its key since {known.since}")

    def _compare(self, presented: PresentedChain, name: str, pin: str, known: Known) -> None:
        if known.pin != pin:
            raise _changed(presented, name, known, pin, self.known)


@dataclass(frozen=True, slots=True)
class KnownServers:
    """A file of keys: on each line a name, `sha256/…` of its key, and the day it was first seen.

    Safe between threads and processes: it is rewritten beside itself and put in place under a lock on `PATH.lock`, with
    the permissions it had. Links are followed. Lines that begin with `#` are kept.
    """

    path: str

    def __str__(self) -> str:
        return self.path

    @property
    def fingerprint(self) -> bytes:
        return os.fsencode(os.path.abspath(self.path))

    def recall(self, name: str) -> Known | None:
        """Raises ConfigError for a file that cannot be read or understood."""
        for number, line in enumerate(self._lines(), 1):
            fields = line.split()
            if not fields or fields[0].startswith("#"):
                continue
            if len(fields) != 3 or not fields[1].startswith("sha256/"):
                raise ConfigError(
                    f"line {number} of {self.path!r} is not a name, a pin and a day", code="known-servers"
                )
            if fields[0] == name:
                return Known(fields[1], fields[2])
        return None

    def record(self, name: str, pin: str, at: datetime) -> Known:
        """Raises ConfigError for a file that cannot be written."""
        with self._alone():
            known = self.recall(name)
            if known is not None:
                return known
            day = f"{at:%Y-%m-%d}"
            self._rewrite([*self._lines(), f"{name} {pin} {day}"])
        return Known(pin, day)

    def _lines(self) -> list[str]:
        try:
            return Path(self.path).read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            raise self._failed("read", error) from None

    def _rewrite(self, lines: list[str]) -> None:
        place = os.path.realpath(self.path)
        beside = f"{place}.new"
        try:
            with open(beside, "w", encoding="utf-8") as file:
                if os.path.exists(place):
                    shutil.copymode(place, beside)
                file.write("".join(f"{line}\n" for line in lines))
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, place)
        except OSError as error:
            raise self._failed("written", error) from None

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One writer at a time, of all threads and processes."""
        with _THREADS:
            try:
                lock = open(f"{os.path.realpath(self.path)}.lock", "ab")  # noqa: SIM115 - closed below, which also lets go of the lock
            except OSError as error:
                raise self._failed("locked", error) from None
            with lock:
                if fcntl is not None:
                    fcntl.flock(lock, fcntl.LOCK_EX)
                yield

    def _failed(self, what: str, error: Exception) -> ConfigError:
        reason = getattr(error, "strerror", None) or type(error).__name__
        return ConfigError(
            f"the known servers in {self.path!r} cannot be {what}: {reason.lower()}",
            code="known-servers",
            remedy="check the path and its permissions",
        )


def _changed(presented: PresentedChain, name: str, known: Known, pin: str, where: KnownKeys) -> CertificateError:
    line = f"{name} {known.pin} {known.since}"
    return CertificateError(
        f"{name} has shown another key since {known.since}: someone may be in between",
        code="key-changed",
        remedy=f"ask the server's owner; if the key is new, remove this line from {where}: {line}",
        peer_chain=presented.chain,
        certificate=presented.leaf,
        section="RFC 4251 §4.1",
        facts={"asked": name, "known": known.pin, "pins": pin, "line": line, "looked_in": str(where)},
    )


def _refused(presented: PresentedChain, code: str, text: str) -> CertificateError:
    remedy = "use another policy here: private(...), pin(...)"
    return CertificateError(text, code=code, remedy=remedy, peer_chain=presented.chain, certificate=presented.leaf)


_THREADS: Final = threading.Lock()
