"""A phase as a prompt, and answers out of a reply: for learners that take text alone."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

_ANSWER = re.compile(r"^\W*(\d+)\s*[.):]\s*(.*\S)\s*$", re.MULTILINE)


def introduction_prompt(observation: Mapping[str, Any]) -> str:
    """What a context begins with: what answers should look like; empty where nobody says.

    Args:
        observation: As for :func:`phase_prompt`.
    """
    parts = [observation["instruction"]] if observation["instruction"] else []
    for shown in observation["exemplars"]:
        parts += shown["documents"]
        parts.append(
            "\n".join(
                f"Question: {question}\nAnswer: {answer}"
                for question, answer in zip(shown["questions"], shown["answers"], strict=True)
            )
        )
    return "\n\n".join(parts)


def phase_prompt(observation: Mapping[str, Any]) -> str:
    """What a phase says, in words.

    Args:
        observation: Of :meth:`sleepgym.interop.session.Session.observation`.

    Returns:
        Documents to read, right answers to the last round of practice, and numbered questions,
        whichever there are.
    """
    parts = []
    if observation["feedback"]:
        right = "\n".join(f"{n}. {a}" for n, a in enumerate(observation["feedback"], start=1))
        parts.append(f"The right answers were:\n{right}")
    for document in observation["documents"]:
        title = f"{document['title']}\n" if document["title"] else ""
        parts.append(f"{title}{document['text']}")
    if observation["questions"]:
        lines = [
            f"{number}. {question['text']}"
            + (f" (one of: {', '.join(question['choices'])})" if question["choices"] else "")
            for number, question in enumerate(observation["questions"], start=1)
        ]
        head = "Answer each question in a line of its own, as in `1. answer`; nothing else."
        parts.append("\n".join([head, *lines]))
    return "\n\n".join(parts)


def night_prompt(characters: int) -> str:
    """What a learner that keeps notes is asked at night.

    Args:
        characters: The most that it may keep.
    """
    return (
        "The day is over and this conversation will be forgotten. Write down what you want to "
        f"know tomorrow, earlier notes included: at most {characters} characters are kept."
    )


def parse_answers(reply: str, wanted: int) -> tuple[str, ...]:
    """The answers in a reply; empty strings where a number is missing.

    A single question may be answered without its number.

    Args:
        reply: Text with lines ``1. answer``; the last line of a number counts.
        wanted: How many were asked.
    """
    found = {int(number): answer for number, answer in _ANSWER.findall(reply)}
    if wanted == 1 and 1 not in found:
        return (reply.strip(),)
    return tuple(found.get(number, "") for number in range(1, wanted + 1))


def numbered(answers: Sequence[str]) -> str:
    """The reply that gives these answers."""
    return "\n".join(f"{number}. {answer}" for number, answer in enumerate(answers, start=1))
