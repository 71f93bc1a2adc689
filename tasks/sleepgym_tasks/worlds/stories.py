"""Invented stories of bAbI's kinds: people with made-up names move, take, drop and give.

Each kind needs as many facts as bAbI's task of that number (J. Weston et al. 2015,
arXiv:1502.05698); the sentences are our own.
"""

from __future__ import annotations

import random
from typing import NamedTuple

from sleepgym_tasks.worlds.language.names import word

PLACES = ("kitchen", "garden", "office", "hallway", "bedroom", "cellar", "attic", "workshop")
THINGS = ("lamp", "apple", "book", "ball", "letter", "basket")
DIRECTIONS = ("north", "south", "east", "west")
TASKS = ("qa1", "qa2", "qa3", "qa4", "qa5")


class Sample(NamedTuple):
    """Facts in order, a question about them, and its answer."""

    facts: tuple[str, ...]
    question: str
    answer: str


def invent(rng: random.Random, task: str) -> Sample:
    """A story of a kind in ``TASKS``: where is somebody, where is something, where was it before,
    what lies where, who gave it."""
    while True:
        if task == "qa4":
            return _directions(rng)
        people = rng.sample([word(rng) for _ in range(8)], 4)
        if len(set(people)) < 4:
            continue
        story = _Story(rng, people, task)
        for _ in range(rng.randint(8, 14)):
            story.step()
        asked = story.ask()
        if asked:
            return Sample(tuple(story.facts), *asked)


def _directions(rng: random.Random) -> Sample:
    first, second, third = rng.sample(PLACES, 3)
    one, other = rng.sample(DIRECTIONS, 2)
    facts = [
        f"The {first} is {one} of the {second}.",
        f"The {second} is {other} of the {third}.",
    ]
    asked = rng.choice(
        (
            (f"What is {one} of the {second}?", first),
            (f"What is the {first} {one} of?", second),
            (f"What is {other} of the {third}?", second),
            (f"What is the {second} {other} of?", third),
        )
    )
    rng.shuffle(facts)
    return Sample(tuple(facts), *asked)


class _Story:
    """Who is where with what, step by step."""

    def __init__(self, rng: random.Random, people: list[str], task: str) -> None:
        self.rng, self.people, self.task = rng, people, task
        self.facts: list[str] = []
        self.where: dict[str, str] = {}
        self.holder: dict[str, str] = {}
        self.visited: dict[str, list[str]] = {}  # places of a thing, no place twice in a row
        self.gifts: list[tuple[str, str, str]] = []

    def step(self) -> None:
        who = self.rng.choice(self.people)
        carried = [thing for thing, holder in self.holder.items() if holder == who]
        action = self.rng.random()
        if who not in self.where or self.task == "qa1" or action < 0.5:
            self._move(who, carried)
        elif carried and self.task == "qa5":
            self._give(who, self.rng.choice(carried))
        elif carried and action < 0.65:
            thing = self.rng.choice(carried)
            del self.holder[thing]
            self.facts.append(f"{who} put down the {thing}.")
        else:
            self._take(who)

    def _move(self, who: str, carried: list[str]) -> None:
        place = self.rng.choice([p for p in PLACES if p != self.where.get(who)])
        self.where[who] = place
        for thing in carried:
            self.visited[thing].append(place)
        verb = self.rng.choice(("went", "walked", "moved", "ran"))
        self.facts.append(f"{who} {verb} to the {place}.")

    def _take(self, who: str) -> None:
        place = self.where[who]
        free = [
            thing
            for thing in THINGS
            if thing not in self.holder and self.visited.get(thing, [place])[-1] == place
        ]
        if free:
            thing = self.rng.choice(free)
            self.holder[thing] = who
            self.visited.setdefault(thing, [place])
            self.facts.append(f"{who} picked up the {thing} there.")

    def _give(self, who: str, thing: str) -> None:
        other = self.rng.choice([p for p in self.people if p != who])
        self.holder[thing] = other
        self.where[other] = self.where[who]
        self.gifts.append((who, thing, other))
        self.facts.append(f"{who} gave the {thing} to {other}.")

    def ask(self) -> tuple[str, str] | None:
        """A question with its answer; None where the story allows none."""
        options: list[tuple[str, str]] = []
        match self.task:
            case "qa1":
                options = [(f"Where is {who}?", place) for who, place in self.where.items()]
            case "qa2":
                options = [
                    (f"Where is the {thing}?", places[-1])
                    for thing, places in self.visited.items()
                    if len(places) > 1
                ]
            case "qa3":
                options = [
                    (f"Where was the {thing} before the {places[-1]}?", places[-2])
                    for thing, places in self.visited.items()
                    if len(places) > 1 and places.count(places[-1]) == 1
                ]
            case "qa5":
                options = [
                    (f"Who gave the {thing} to {other}?", who)
                    for who, thing, other in self.gifts
                    if sum(gift[1:] == (thing, other) for gift in self.gifts) == 1
                ]
        return self.rng.choice(options) if options else None
