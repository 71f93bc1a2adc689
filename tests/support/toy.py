"""A tiny task family and agents for tests of the framework: no data, no model."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
from annotated_types import Ge
from safetensors.numpy import save_file

from sleepgym import Agent, AnswerKey, Day, Document, Item, Question, Stream, TaskFamily
from sleepgym.core.grading import exact_match
from sleepgym.core.rng import derive_rng


@dataclass(frozen=True)
class ToyConfig:
    """Settings.

    Attributes:
        days: Days.
        facts: Facts a day.
    """

    days: Annotated[int, Ge(1)] = 3
    facts: Annotated[int, Ge(1)] = 2


class Toy(TaskFamily):
    """Each day tells where some people live, and lets one round of colours be practised."""

    Config = ToyConfig

    def stream(self, seed: int) -> Stream:
        rng = derive_rng(seed, "toy")
        key, days = {}, []
        for number in range(1, self.config.days + 1):
            exam, documents = [], []
            for fact in range(self.config.facts):
                name, town = f"Person{number}{fact}", f"Town{rng.integers(1000)}"
                item = Item(f"d{number}q{fact}", Question(f"Where is {name}?"), "direct", number)
                key[item.id] = (town,)
                exam.append(item)
                documents.append(Document(f"{name} is in {town}.", name))
            drill = Item(f"d{number}p", Question("red?", ("warm", "cold")), "direct", number)
            key[drill.id] = ("warm",)
            days.append(Day(number, tuple(documents), ((drill,),), tuple(exam)))
        base = (Item("base0", Question("Where is home?"), "base", 0),)
        key["base0"] = ("here",)
        config = {"days": self.config.days, "facts": self.config.facts}
        return Stream("toy", config, seed, tuple(days), base, AnswerKey(key))

    def score(self, answer: str, target: str) -> float:
        return exact_match(answer, target)


class Notes(Agent):
    """Remembers every document in its saved state: a perfect memory."""

    def __init__(self, config=None, **kwargs) -> None:
        super().__init__(config, **kwargs)
        self.notes: dict[str, str] = {"home": "here"}

    def study(self, documents):
        for document in documents:
            self.notes[document.title] = document.text.rsplit(" ", 1)[1][:-1]

    def answer(self, questions):
        return [self._answer(q) for q in questions]

    def _answer(self, question):
        if question.choices:
            return question.choices[0]
        known = (town for name, town in self.notes.items() if name in question.text)
        return next(known, "unknown")

    def sleep(self, night):
        if night.allows(night_train_tokens=len(self.notes)):
            self.meter.train_tokens += len(self.notes)
        return {"notes": len(self.notes)}

    def save(self, path: Path):
        (path / "notes.json").write_text(json.dumps(self.notes, sort_keys=True))

    def load(self, path: Path):
        self.notes = json.loads((path / "notes.json").read_text())


class Fleeting(Notes):
    """Keeps its notes in memory only: knows in the evening, not in the morning."""

    def save(self, path: Path):
        (path / "nothing").write_text("")

    def load(self, path: Path):
        pass


class Smuggler(Fleeting):
    """Hides its notes in a class attribute, outside the saved state."""

    hidden: dict[str, str] = {}  # noqa: RUF012

    def study(self, documents):
        super().study(documents)
        Smuggler.hidden.update(self.notes)

    def _answer(self, question):
        self.notes.update(Smuggler.hidden)
        return super()._answer(question)


class Cribber(Notes):
    """Learns while it answers."""

    def answer(self, questions):
        self.notes[f"seen{len(self.notes)}"] = "x"
        return super().answer(questions)


class Short(Notes):
    """Gives too few answers."""

    def answer(self, questions):
        return super().answer(questions)[:-1]


class Sleepless(Notes):
    """Raises in the second night."""

    def sleep(self, night):
        if night.number == 2:
            raise ValueError("nightmare\nwith a second line")
        return super().sleep(night)


class Nan(Notes):
    """Logs what is not a number."""

    def sleep(self, night):
        return {"loss": float("nan")}


class Slow(Notes):
    """Takes its time over every question and every night."""

    def answer(self, questions):
        time.sleep(0.02)
        return super().answer(questions)

    def sleep(self, night):
        time.sleep(0.02)
        return super().sleep(night)


class Spendthrift(Notes):
    """Trains without asking for the budget."""

    def sleep(self, night):
        self.meter.train_tokens += 1000
        return {}


@dataclass
class LooseConfig:
    """Settings.

    Attributes:
        rate: A rate.
    """

    rate: float = 0.1


class Thawed(Notes):
    """Its configuration is not frozen."""

    Config = LooseConfig


@dataclass(frozen=True)
class MuteConfig:
    """Settings that nobody explains."""

    rate: float = 0.1


class Mute(Notes):
    """Its settings are not documented."""

    Config = MuteConfig


class Restless(Toy):
    """Another stream at every call."""

    calls = 0

    def stream(self, seed):
        Restless.calls += 1
        return super().stream(seed + Restless.calls)


class Deaf(Toy):
    """Does not listen to its seed."""

    def stream(self, seed):
        return super().stream(0)


class Unfair(Toy):
    """Never satisfied."""

    def score(self, answer, target):
        return 0.9


class Doubled(Toy):
    """Two items of one name."""

    def stream(self, seed):
        stream = super().stream(seed)
        day = replace(stream.days[0], exam=stream.days[0].exam * 2)
        return replace(stream, days=(day, *stream.days[1:]))


class Preset(Toy):
    """A preset of a setting that does not exist."""

    presets = {"large": {"size": 3}}  # noqa: RUF012


class Pupil(Notes):
    """Learns from feedback: answers with the second choice until it was told better."""

    def practice(self, questions, answers):
        for question, answer in zip(questions, answers, strict=True):
            self.notes[question.text] = answer

    def _answer(self, question):
        if question.choices:
            return self.notes.get(question.text, question.choices[1])
        return super()._answer(question)


class Mortal(Notes):
    """Its process is killed in the second night, as often as the file beside its notes allows."""

    def sleep(self, night):
        left = Path(os.environ["TOY_DEATHS"])
        if night.number == 2 and (deaths := int(left.read_text())):
            left.write_text(str(deaths - 1))
            os.kill(os.getpid(), signal.SIGKILL)
        return super().sleep(night)


class Stuck(Notes):
    """Sleeps in a library that lets no other thread of its process run."""

    def sleep(self, night):
        ctypes.PyDLL(None).sleep(60)
        return super().sleep(night)


class Free(Notes):
    """Changes numbers in its state, and its meter counts nothing."""

    def sleep(self, night):
        return {}

    def save(self, path: Path):
        super().save(path)
        numbers = np.full(64, len(self.notes) + 0.1, dtype=np.float32)
        save_file({"w": numbers}, path / "weights.safetensors")
