"""What crosses between a run and an agent's process: lines of JSON, plain data alone.

A request is ``[verb, argument]``, a reply ``{"result": ..., "counts": [...]}`` or ``{"error":
[type, message, traceback]}``. Nothing is ever unpickled, and no object of one side reaches the
other. Documents that are made on demand follow the request one by one, and wait in a file: neither
side ever holds a long day.
"""

from __future__ import annotations

import json
import math
import select
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sleepgym.core.lazy.sequences import LazySequence
from sleepgym.core.types import Document, Experience, Introduction, Question

MAX_LINE_BYTES = 1 << 26
_CHUNK_BYTES = 1 << 16
_LOOK_EVERY_S = 0.1


class Silence(Exception):
    """No whole line came: the other side is gone, says too much, or takes too long."""


class Line:
    """One end of a connection that carries lines of JSON."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._rest = b""

    def send(self, text: str) -> None:
        """Write one message, which is JSON already.

        Raises:
            OSError: If the other side is gone.
        """
        self.connection.sendall(text.encode() + b"\n")

    def receive(
        self,
        limit_s: float | None = None,
        max_bytes: int | None = None,
        ended: int | None = None,
        look: Callable[[], None] | None = None,
    ) -> Any:
        """Read one message.

        Args:
            limit_s: How long to wait for all of it; None waits for ever.
            max_bytes: Longest line; None is any.
            ended: What can be read from when the other side has ended: a child of its own may hold
                the connection open.
            look: Called ten times a second while it waits; may raise :class:`Silence`.

        Raises:
            Silence: If there is none, in words.
        """
        until = None if limit_s is None else time.monotonic() + limit_s
        parts, size = [self._rest], len(self._rest)
        while b"\n" not in parts[-1]:
            if look is not None:
                look()
            left = None if until is None else max(0.0, until - time.monotonic())
            wait = left if look is None else min(math.inf if left is None else left, _LOOK_EVERY_S)
            watched = [self.connection, *([] if ended is None else [ended])]
            ready = select.select(watched, [], [], wait)[0]
            if not ready and wait == left:
                raise Silence(f"did not answer within {limit_s:g} s")
            if not ready:
                continue
            if self.connection not in ready:
                raise Silence("ended without an answer")
            try:
                chunk = self.connection.recv(_CHUNK_BYTES)
            except OSError:
                chunk = b""
            if not chunk:
                raise Silence("ended without an answer")
            parts.append(chunk)
            size += len(chunk)
            if max_bytes is not None and size > max_bytes:
                raise Silence(f"answered with more than {max_bytes} bytes")
        line, _, self._rest = b"".join(parts).partition(b"\n")
        try:
            return json.loads(line)
        except (ValueError, RecursionError) as error:
            raise Silence("answered with what is no JSON") from error


def plain_experiences(experiences: Sequence[Experience], later: bool = False) -> list[Any]:
    """Experiences as lists of text.

    Args:
        experiences: Them.
        later: Whether None stands for documents that are made on demand, which :func:`following`
            writes.
    """
    return [
        [
            None
            if later and isinstance(experience.documents, LazySequence)
            else [[document.text, document.title] for document in experience.documents],
            plain_questions(experience.questions),
            list(experience.answers),
        ]
        for experience in experiences
    ]


def following(experiences: Sequence[Experience]) -> Iterator[str]:
    """JSON of each document that is made on demand; null ends those of an experience."""
    for experience in experiences:
        if isinstance(experience.documents, LazySequence):
            for document in experience.documents:
                yield json.dumps([document.text, document.title])
            yield json.dumps(None)


def read_experiences(
    plain: list[Any], receive: Callable[[], Any] = lambda: None
) -> list[Experience]:
    """What :func:`plain_experiences` wrote.

    Args:
        plain: That.
        receive: Reads the next of the messages that :func:`following` wrote, if there are any.
    """
    return [
        Experience(
            _kept_in_file(receive)
            if documents is None
            else tuple(Document(text, title) for text, title in documents),
            read_questions(questions),
            tuple(answers),
        )
        for documents, questions, answers in plain
    ]


def _kept_in_file(receive: Callable[[], Any]) -> LazySequence[Document]:
    """Documents as they come, in a file of the working folder that goes with its last reader."""
    file = tempfile.NamedTemporaryFile("w+", encoding="utf-8", dir=Path.cwd())  # noqa: SIM115
    while (told := receive()) is not None:
        file.write(json.dumps(told) + "\n")
    file.flush()

    def read() -> Iterator[Document]:
        with open(file.name, encoding="utf-8") as lines:
            for line in lines:
                yield Document(*json.loads(line))

    return LazySequence(read)


def plain_introduction(introduction: Introduction) -> list[Any]:
    """An introduction as lists of text."""
    return [introduction.instruction, plain_experiences(introduction.exemplars)]


def read_introduction(plain: list[Any]) -> Introduction:
    """What :func:`plain_introduction` wrote."""
    instruction, exemplars = plain
    return Introduction(instruction, tuple(read_experiences(exemplars)))


def plain_questions(questions: Sequence[Question]) -> list[Any]:
    """Questions as lists of text."""
    return [[question.text, list(question.choices)] for question in questions]


def read_questions(plain: list[Any]) -> tuple[Question, ...]:
    """What :func:`plain_questions` wrote."""
    return tuple(Question(text, tuple(choices)) for text, choices in plain)
