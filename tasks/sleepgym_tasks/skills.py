"""The skill battery on the worlds, behind the framework's interface."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby

from sleepgym.core.types import Document, Question
from sleepgym.runs.skills import Battery, Scene
from sleepgym_tasks.worlds.battery import CELLS, Item, draw_cell, draw_dream_scene
from sleepgym_tasks.worlds.verify import judge, truths


class Worlds(Battery):
    """Reading, recall of the base world, rules by number of demonstrations, and dreams."""

    cells = tuple(CELLS)

    def draw(self, cell: str, seed: int, count: int) -> list[Scene]:
        """The cell's items; questions that share a context make one scene."""
        items = draw_cell(cell, seed, count)
        groups = groupby(items, key=lambda item: (item.documents, item.demonstrations))
        return [_scene(list(group)) for _, group in groups]

    def dream_scenes(
        self, seed: int, count: int
    ) -> Iterator[tuple[Scene, Callable[[str, str], str]]]:
        """One passage each; an item is true if the passage says so."""
        for number in range(count):
            item, facts = draw_dream_scene(seed, number)
            known = truths(facts)
            scene = Scene(_documents(item), (), (), ())
            yield scene, lambda q, a, known=known: judge(q, a, known)


def _scene(items: list[Item]) -> Scene:
    first = items[0]
    return Scene(
        _documents(first),
        tuple((Question(text), answer) for text, answer in first.demonstrations),
        tuple(Question(item.question) for item in items),
        tuple(item.answers[0] for item in items),
    )


def _documents(item: Item) -> tuple[Document, ...]:
    return tuple(Document(text, title) for title, text in item.documents)
