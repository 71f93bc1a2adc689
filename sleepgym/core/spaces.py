"""Spaces for text of any length and alphabet."""

from __future__ import annotations

import string
from typing import Any

import numpy as np
from gymnasium import spaces

from sleepgym.core.budget import BUDGET_NAMES

MAX_CHARACTERS = 10_000_000
MAX_DAYS = 1 << 20


class AnyText(spaces.Text):
    """Text with spaces, newlines and any alphabet; samples are short ASCII.

    Gymnasium's own ``Text`` rejects characters outside its charset, and a charset of all Unicode
    takes seconds and hundreds of megabytes to build.
    """

    def __init__(self) -> None:
        super().__init__(max_length=32, min_length=0, charset=string.ascii_letters + " ")

    def contains(self, x: Any) -> bool:
        """Whether ``x`` is a string of at most ``MAX_CHARACTERS`` characters."""
        return isinstance(x, str) and len(x) <= MAX_CHARACTERS

    def __repr__(self) -> str:
        return "AnyText()"


def texts() -> spaces.Sequence:
    """A tuple of texts."""
    return spaces.Sequence(AnyText())


def observation_space() -> spaces.Dict:
    """The observation of one phase; sequences that a phase does not use are empty.

    ``budget`` holds the fields of :class:`sleepgym.Budget` in order, -1 for no limit.
    ``instruction`` and ``exemplars`` come with the first observation after a reset alone.
    """
    parts = ("documents", "titles", "questions", "answers")
    exemplar = spaces.Dict({name: texts() for name in parts})
    return spaces.Dict(
        {
            "instruction": AnyText(),
            "exemplars": spaces.Sequence(exemplar),
            "phase": spaces.Discrete(4),
            "day": spaces.Discrete(MAX_DAYS),
            "closed_book": spaces.Discrete(2),
            "documents": texts(),
            "titles": texts(),
            "questions": texts(),
            "choices": spaces.Sequence(texts()),
            "feedback": texts(),
            "budget": spaces.Box(-1.0, 1e30, (len(BUDGET_NAMES),), np.float64),
        }
    )


def action_space() -> spaces.Sequence:
    """One answer a question."""
    return texts()
