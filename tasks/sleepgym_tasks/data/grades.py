"""Grades that families choose from by name; an empty answer never gets full marks."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sleepgym.core import grading


def exact(answer: str, target: str) -> float:
    """Exact match; a target of punctuation and articles alone must be met letter by letter."""
    if not grading.normalise(target):
        return grading.choice(answer, target)
    return grading.exact_match(answer, target)


def f1(answer: str, target: str) -> float:
    """F1; a target of punctuation and articles alone must be met letter by letter."""
    if not grading.normalise(target):
        return grading.choice(answer, target)
    return grading.f1(answer, target)


def contained(answer: str, target: str) -> float:
    """1.0 where the words of the target occur in the answer, in order and together.

    RULER's ``string_match`` and BABILong's grade, on normalised words instead of characters, so
    that ``hall`` is not in ``hallway``.
    """
    wanted = grading.normalise(target)
    if not wanted:
        return grading.choice(answer, target)
    return float(f" {wanted} " in f" {grading.normalise(answer)} ")


GRADES: Mapping[str, Callable[[str, str], float]] = {
    "exact": exact,
    "f1": f1,
    "contained": contained,
    "literal": grading.choice,
    "chrf": grading.chrf,
}
