"""Revocation lists that a configuration names: files, directories, bytes. Files are read again when they change."""

from __future__ import annotations

import os
import stat
from collections.abc import Hashable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeAlias

from ...errors import ConfigError
from .cache import AnswerCache
from .crl import RevocationList, may_be_lists, read_lists
from .finding import Unusable

Source: TypeAlias = str | bytes
"""A path, or lists themselves in PEM or DER."""


def given_lists(source: Source, cache: AnswerCache[Any], most: int) -> Iterator[RevocationList]:
    """The lists of one source; of a directory, those of all files but what plainly is no list.

    Raises ConfigError for a source that cannot be read, is longer than `most` bytes or is no list that we understand.
    """
    if isinstance(source, bytes):
        yield from _parsed(source, source, "the revocation list that was given", cache)
    elif os.path.isdir(source):
        for path in _entries(Path(source)):
            yield from _file(path, cache, most, named=False)
    else:
        yield from _file(Path(source), cache, most, named=True)


def _entries(folder: Path) -> list[Path]:
    """What is in a directory. A name that begins with a dot is for a list that is still being written."""
    try:
        found = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise _unreadable(repr(str(folder)), _reason(error)) from None
    if len(found) > _MOST_FILES:
        raise _unreadable(repr(str(folder)), f"it holds more than {_MOST_FILES} files")
    return found


def _file(path: Path, cache: AnswerCache[Any], most: int, *, named: bool) -> tuple[RevocationList, ...]:
    """The lists of a file that was `named`, or that stands in a directory that was."""
    try:
        facts = path.stat()
        if not named and not stat.S_ISREG(facts.st_mode):
            return ()
        key = (str(path), facts.st_mtime_ns, facts.st_size, facts.st_ino)
        known: tuple[RevocationList, ...] | None = cache.find(key, _ANY_TIME)
        if known is not None:
            return known
        with path.open("rb") as file:
            data = file.read(most + 1)
    except ConfigError:
        raise
    except (OSError, ValueError) as error:
        if not named and not os.path.lexists(path):
            return ()  # gone since the directory was read
        raise _unreadable(repr(str(path)), _reason(error)) from None
    if not named and path.suffix.lower() != ".crl" and not may_be_lists(data):
        return ()
    if len(data) > most:
        raise _unreadable(repr(str(path)), f"it is longer than {most} bytes")
    return _parsed(key, data, repr(str(path)), cache)


def _parsed(key: Hashable, data: bytes, name: str, cache: AnswerCache[Any]) -> tuple[RevocationList, ...]:
    known: tuple[RevocationList, ...] | None = cache.find(key, _ANY_TIME)
    if known is not None:
        return known
    try:
        lists = read_lists(data)
    except Unusable as refused:
        raise _unreadable(name, str(refused)) from None
    if not lists:
        raise _unreadable(name, "there is no revocation list in it")
    cache.keep(key, lists, _FOR_EVER, len(data))
    return lists


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or "no reason given").lower()


def _unreadable(name: str, reason: str) -> ConfigError:
    return ConfigError(
        f"{name} cannot be used: {reason}",
        code="unreadable-crl",
        remedy="give revocation lists as the CA publishes them, in DER or PEM, or directories of them",
    )


_MOST_FILES: Final = 1000
_ANY_TIME: Final = datetime.min.replace(tzinfo=UTC)
_FOR_EVER: Final = datetime.max.replace(tzinfo=UTC)
"""Files are known by when they changed, not by how long their lists count: that is looked at with each certificate."""
