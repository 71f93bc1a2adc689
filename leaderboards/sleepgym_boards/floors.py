"""The floor of a board: what its exams give away to an agent that kept nothing."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

FLOORS = Path(__file__).parent / "floors.toml"
MOST_ADDED = 0.02  # by asking an exam's questions together; more: they answer each other

Share = Annotated[float, Field(ge=0, le=1)]
Pair = tuple[Share, Share]


class Floor(BaseModel):
    """Mean scores over a day's questions, evening and morning, of agents that keep nothing.

    Attributes:
        streams: Over how many, from seed 100.
        frozen: The base model; None where the board has none.
        one_by_one: `exam-only`, asked one question at a time: what a question gives away.
        exam_only: The same, asked all questions of an exam at once.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    streams: Annotated[int, Field(ge=1)]
    frozen: Pair | None = None
    one_by_one: Pair
    exam_only: Pair

    @property
    def added(self) -> float:
        """What asking together adds, in the evening or the morning, whichever is more."""
        return max(a - b for a, b in zip(self.exam_only, self.one_by_one, strict=True))


@cache
def floors() -> dict[str, Floor]:
    """Board -> its floor, where it was measured (``benchmarks/exam_floor.py``)."""
    if not FLOORS.is_file():
        return {}
    content = tomllib.loads(FLOORS.read_text("utf-8"))
    return {board: Floor.model_validate(fields) for board, fields in content.items()}
