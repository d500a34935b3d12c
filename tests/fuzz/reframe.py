"""Mutations that know what a stream is made of: a message or an extension goes wrong, and all lengths around it fit.

For streams that nobody encrypted: those of `fuzz.kinds`, and of others who have a null provider.
"""

from __future__ import annotations

import random
from collections.abc import Callable

HANDSHAKE, DATA = 22, 23

Change = Callable[[bytearray], None]
"""Bytes that something is done to."""


def reframed(stream: bytes, spoil: Change, chance: random.Random) -> bytes:
    """The stream with one of its messages changed; as it was, where it has none that can be found."""
    records = _records(stream)
    chosen = [index for index, (type_, content) in enumerate(records) if _inner(type_, content) is not None]
    if not chosen:
        return stream
    at = chance.choice(chosen)
    type_, content = records[at]
    inner = _inner(type_, content) or b""
    messages = _messages(inner)
    _change(messages, spoil, chance)
    said = b"".join(bytes([kind]) + len(body).to_bytes(3) + body for kind, body in messages)
    records[at] = (type_, said + content[len(inner) :])
    return b"".join(bytes([kind]) + b"\3\3" + len(said).to_bytes(2) + said for kind, said in records)


def _records(stream: bytes) -> list[tuple[int, bytes]]:
    found, at = [], 0
    while at + 5 <= len(stream):
        end = at + 5 + int.from_bytes(stream[at + 3 : at + 5])
        found.append((stream[at], stream[at + 5 : end]))
        at = end
    return found


def _inner(type_: int, content: bytes) -> bytes | None:
    """What of a record is handshake messages: all of it, or all but the type that TLS 1.3 puts behind it."""
    if type_ == DATA and content[-1:] == bytes([HANDSHAKE]):
        content = content[:-1]
    elif type_ != HANDSHAKE:
        return None
    return (
        content if len(content) >= 4 and sum(4 + len(body) for _, body in _messages(content)) == len(content) else None
    )


def _messages(content: bytes) -> list[tuple[int, bytes]]:
    found, at = [], 0
    while at + 4 <= len(content):
        end = at + 4 + int.from_bytes(content[at + 1 : at + 4])
        found.append((content[at], content[at + 4 : end]))
        at = end
    return found


def _change(messages: list[tuple[int, bytes]], spoil: Change, chance: random.Random) -> None:
    at = chance.randrange(len(messages))
    type_, body = messages[at]
    match chance.randrange(8):
        case 0:
            del messages[at]
        case 1:
            messages.insert(at, messages[chance.randrange(len(messages))])
        case 2:
            messages[at] = (chance.choice((0, 1, 2, 4, 5, 8, 11, 12, 13, 14, 15, 16, 20, 22, 24)), body)
        case 3 | 4:
            bent = bytearray(body)
            spoil(bent)
            messages[at] = (type_, bytes(bent)[: 1 << 14])
        case _:
            messages[at] = (type_, _other_extensions(body, spoil, chance))


def _other_extensions(body: bytes, spoil: Change, chance: random.Random) -> bytes:
    """A body that ends with a block of extensions, with one of them changed."""
    for start in range(len(body) - 1):
        if int.from_bytes(body[start : start + 2]) == len(body) - start - 2:
            found = _extensions(body[start + 2 :])
            if found:
                break
    else:
        return body
    at = chance.randrange(len(found))
    type_, content = found[at]
    match chance.randrange(5):
        case 0 | 1:
            del found[at]
        case 2:
            found.insert(chance.randrange(len(found)), found[at])
        case 3:
            found[at] = (chance.choice((0, 1, 5, 10, 13, 16, 23, 28, 35, 41, 42, 43, 44, 45, 47, 51, 65281)), content)
        case _:
            bent = bytearray(content)
            spoil(bent)
            found[at] = (type_, bytes(bent)[:4000])
    block = b"".join(kind.to_bytes(2) + len(said).to_bytes(2) + said for kind, said in found)
    return body[:start] + len(block).to_bytes(2) + block


def _extensions(block: bytes) -> list[tuple[int, bytes]]:
    """Those of a block; none where it is not one."""
    found, at = [], 0
    while at + 4 <= len(block):
        end = at + 4 + int.from_bytes(block[at + 2 : at + 4])
        found.append((int.from_bytes(block[at : at + 2]), block[at + 4 : end]))
        at = end
    return found if at == len(block) else []
