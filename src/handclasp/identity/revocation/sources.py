"""Revocation lists that a configuration names: files, directories, bytes. Files are read again when they change."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeAlias

from ...errors import ConfigError
from .cache import AnswerCache
from .crl import RevocationList, read_lists
from .finding import Unusable

Source: TypeAlias = str | bytes
"""A path, or lists themselves in PEM or DER."""


def given_lists(source: Source, cache: AnswerCache[Any], most: int) -> Iterator[RevocationList]:
    """The lists of one source; of a directory, those of its files that hold any.

    Raises ConfigError for a source that cannot be read, is longer than `most` bytes or is no list that we understand.
    """
    if isinstance(source, bytes):
        yield from _parsed(source, source, "the revocation list that was given", cache)
    elif os.path.isdir(source):
        for path in _entries(Path(source)):
            try:
                yield from _file(path, cache, most)
            except ConfigError:
                continue  # a directory of lists may hold other things beside them
    else:
        yield from _file(Path(source), cache, most)


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())[:_MOST_FILES]
    except OSError as error:
        raise _unreadable(repr(str(folder)), (error.strerror or "no reason given").lower()) from None


def _file(path: Path, cache: AnswerCache[Any], most: int) -> tuple[RevocationList, ...]:
    try:
        facts = path.stat()
        key = (str(path), facts.st_mtime_ns, facts.st_size, facts.st_ino)
        known: tuple[RevocationList, ...] | None = cache.find(key, _ANY_TIME)
        if known is not None:
            return known
        if facts.st_size > most:
            raise _unreadable(repr(str(path)), f"it is longer than {most} bytes")
        data = path.read_bytes()
    except OSError as error:
        raise _unreadable(repr(str(path)), (error.strerror or "no reason given").lower()) from None
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
