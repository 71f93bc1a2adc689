"""The bytes of a submission file in pieces small enough to be parsed one at a time.

A file is unpacked as it is read and never whole in memory. A piece begins where an object of a run
or of a phase does. Its first keys, in the one order in which they are written, cannot stand inside
a string of JSON, where a quotation mark is escaped.
"""

from __future__ import annotations

import lzma
import re
import zlib
from collections.abc import Iterator
from typing import Any

from sleepgym.core.errors import SleepGymError

MAX_CONTENT_BYTES = 96 << 20
MAX_PIECE_BYTES = 4 << 20
MAX_HEAD_BYTES = 256 << 10  # of what is no phase: a card, a run's settings
MAX_VALUES = 400_000  # in a piece; a parser needs room for each, however few bytes it has
_CHUNK_BYTES = 1 << 20
_XZ = b"\xfd7zXZ\0"
_XZ_MEMORY_BYTES = 24 << 20  # what `files.compress` writes takes 17
_FIRST = re.compile(rb'\{"(?:seed":[^,{}\[\]]{0,40},"stream_hash|phase":[^,{}\[\]]{0,40},"day)":')
_FIRST_BYTES = 80  # no shorter than what _FIRST finds


class BadSubmission(SleepGymError):
    """A file that cannot be read as a submission.

    Attributes:
        rule: The rule it breaks.
    """

    def __init__(self, rule: str, problem: str) -> None:
        super().__init__(problem)
        self.rule = rule


def unpack(content: bytes) -> Iterator[bytes]:
    """What one complete gzip or xz stream holds, a part at a time, up to ``MAX_CONTENT_BYTES``.

    Raises:
        BadSubmission: Rules ``size`` or ``container``.
    """
    inflate: Any = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    kind = "gzip"
    if content.startswith(_XZ):
        inflate, kind = lzma.LZMADecompressor(lzma.FORMAT_XZ, _XZ_MEMORY_BYTES), "xz"
    size, place, rest = 0, 0, b""
    try:
        while not inflate.eof:
            if not rest and (kind == "gzip" or inflate.needs_input):
                rest = content[place : place + _CHUNK_BYTES]  # what is left of it is copied
                place += len(rest)
            given, part = rest, inflate.decompress(rest, _CHUNK_BYTES)
            rest = inflate.unconsumed_tail if kind == "gzip" else b""  # the other keeps its own
            size += len(part)
            if size > MAX_CONTENT_BYTES:
                raise BadSubmission("size", f"it holds more than {MAX_CONTENT_BYTES:,} bytes")
            if not given and not part and not inflate.eof:
                raise BadSubmission("container", "the file ends early: it was cut off")
            yield part
    except (zlib.error, lzma.LZMAError) as error:
        raise BadSubmission("container", f"not a {kind} file: {error}") from error
    if inflate.unused_data or rest or place < len(content):
        raise BadSubmission("container", f"something follows the end of the {kind} stream")


def split(content: bytes) -> Iterator[bytes]:
    """The pieces: what stands before the first run, then what begins with each run and phase.

    Raises:
        BadSubmission: Rules ``size``, ``container`` or ``schema``.
    """
    buffer, searched = bytearray(), 0
    for part in unpack(content):
        buffer += part
        begin = 0
        for found in _FIRST.finditer(buffer, searched):
            if found.start() > begin:
                yield _checked(bytes(buffer[begin : found.start()]))
                begin = found.start()
        del buffer[:begin]
        searched = max(1, len(buffer) - _FIRST_BYTES)
        if len(buffer) > MAX_PIECE_BYTES:
            raise BadSubmission("size", f"a part of it is over {MAX_PIECE_BYTES:,} bytes")
    yield _checked(bytes(buffer))


def _checked(piece: bytes) -> bytes:
    most = MAX_PIECE_BYTES if piece.startswith(b'{"phase":') else MAX_HEAD_BYTES
    if len(piece) > most:
        raise BadSubmission("schema", f"what begins {piece[:40]!r} is longer than {most:,} bytes")
    if piece.count(b",") > MAX_VALUES:
        raise BadSubmission(
            "schema", f"what begins {piece[:40]!r} holds more values than an exam: {MAX_VALUES:,}"
        )
    return piece
