"""Forms of questions: what is asked about names, and what stands for a name.

Plain text alone: nothing here knows a language, or asks a model.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

Frames = Mapping[str, set[str]]  # a name -> what was asked about it
Descriptions = Mapping[str, tuple[set[str], set[str]]]  # a form -> its users, and its frames
SLOT = "\0"  # stands for a name
KINDRED = 0.25  # least share of its frames that a name shares with another of its kind


def find_frames(questions: Iterable[str], names: Collection[str]) -> dict[str, set[str]]:
    """What is asked about each name: questions that mention it once, and no other, without it."""
    found: dict[str, set[str]] = defaultdict(set)
    for question in questions:
        name = max((x for x in names if x in question), key=len, default="")
        if name and question.count(name) == 1 and mentions_only(name, question, names):
            found[name].add(question.replace(name, SLOT))
    return dict(found)


def kindred(name: str, frames: Frames) -> set[str]:
    """Frames of the names that share enough of theirs with a name, its own among them."""
    own = frames.get(name, set())
    found: set[str] = set()
    for others in frames.values():
        shared = len(own & others)
        if shared and shared >= KINDRED * min(len(own), len(others)):
            found |= others
    return found


def find_descriptions(
    questions: Collection[str], frames: Frames, names: Collection[str]
) -> Descriptions:
    """What stands in place of a frame's name and mentions a name, with :data:`SLOT` for that.

    Where one is part of another, the one that more questions and frames have in common is found.

    Args:
        questions: Where to look.
        frames: Of questions about single names.
        names: That may be mentioned.

    Returns:
        The names that each was used with, and the frames that it was used in.
    """
    sides = {frame: frame.split(SLOT) for frame in set().union(*frames.values())}
    used: dict[str, tuple[set[str], set[str]]] = defaultdict(lambda: (set(), set()))
    for name, own in find_frames(questions, names).items():
        for question in own:
            for frame, (before, after) in sides.items():
                middle = question[len(before) : len(question) - len(after)]
                whole = question.startswith(before) and question.endswith(after)
                if whole and before and SLOT in middle and len(middle.split()) > 2:
                    used[middle][0].add(name)
                    used[middle][1].add(frame)
    support = {form: len(used[form][1]) for form in used}
    return {
        form: used[form] for form in used if not any(_beats(other, form, support) for other in used)
    }


def _beats(one: str, other: str, support: Mapping[str, int]) -> bool:
    """Whether one of two descriptions, of which one is part of the other, is found more often."""
    nested = one != other and (one in other or other in one)
    return nested and (support[one], -len(one)) > (support[other], -len(other))


def mentions_only(name: str, question: str, names: Collection[str]) -> bool:
    """Whether a question mentions a name and no other that is not part of it."""
    return name in question and all(x in name for x in names if x in question)
