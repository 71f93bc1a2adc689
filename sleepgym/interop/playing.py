"""An agent of this package as the learner of a session, near or behind a wire."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sleepgym.core.agent import Agent, observed_introduction, tell
from sleepgym.core.budget import Budget, Night
from sleepgym.core.types import Document, Experience, Introduction, Question
from sleepgym.interop.contract import COSTS, StateHandle
from sleepgym.runs.archive import pack_state, unpacked
from sleepgym.runs.state import sizes_by_kind

Action = dict[str, Any]


class Learner:
    """Answers observations with actions: instances of an agent, wiped at night.

    As in a run (:mod:`sleepgym.runs.day`): whoever sits an exam is made for it, and whoever sleeps
    has answered nothing.

    Attributes:
        handle: Of the state after the last night.
    """

    def __init__(self, make: Callable[[], Agent], folder: Path) -> None:
        """Take a maker of fresh agents, and an empty folder for their states."""
        self._make, self._folder = make, folder
        self._told: list[Experience] = []
        self._practised: tuple[Question, ...] = ()
        self._introduction = Introduction()
        self.handle: StateHandle | None = None

    def act(self, observation: Mapping[str, Any]) -> Action:
        """The action to an observation of :meth:`sleepgym.interop.session.Session.observation`."""
        self._introduction = observed_introduction(observation)
        if observation["feedback"] and self._practised:
            right = tuple(observation["feedback"])
            self._told.append(Experience((), self._practised, right))
            self._practised = ()
        questions = tuple(
            Question(q["text"], tuple(q["choices"])) for q in observation["questions"]
        )
        phase = observation["phase"]
        if phase == "study":
            documents = tuple(Document(d["text"], d["title"]) for d in observation["documents"])
            self._told.append(Experience(documents=documents))
            return {"answers": []}
        if phase == "sleep":
            return self._sleep(observation["day"], Budget(**observation["budget"]))
        if phase == "practice":
            self._practised = questions
        with self._instance() as agent:
            answers = [str(answer) for answer in agent.answer(questions)]
        return {"answers": answers, "state": self.handle.plain() if self.handle else None}

    def _sleep(self, day: int, budget: Budget) -> Action:
        """The night callback: consolidate, save, name what is kept and what it cost."""
        with self._instance() as agent, tempfile.TemporaryDirectory(prefix="sleepgym-") as saved:
            start = agent.meter.copy()
            agent.sleep(Night(day, budget, agent.seed, agent.meter))
            agent.save(Path(saved))
            counts = agent.meter.since(start)
            night = {**{name: counts[name] for name in COSTS}}
            night["added_parameters"] = agent.added_parameters
            state = self._folder / f"night-{day:05d}"
            state.mkdir()
            digest, _ = pack_state(Path(saved), state)
        self.handle = StateHandle(digest, sum(sizes_by_kind(state).values()))
        self._told = []
        return {"answers": [], "state": self.handle.plain(), "night": night}

    @contextmanager
    def _instance(self) -> Iterator[Agent]:
        agent = self._make()
        if self._introduction:
            agent.introduce(self._introduction)
        states = sorted(self._folder.iterdir())
        if states and self.handle is not None:
            with unpacked(states[-1], self.handle.digest) as state:
                agent.load(state)
        tell(agent, self._told)
        yield agent
