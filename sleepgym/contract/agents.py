"""Rules for agents."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sleepgym.core.agent import Agent, tell
from sleepgym.core.budget import Budget, Meter, Night
from sleepgym.core.types import Document, Experience, Question
from sleepgym.runs.archive import state_digest
from sleepgym.runs.costs.ledger import unpaid
from sleepgym.runs.state import numbers_digest, sizes_by_kind

DOCUMENTS = (
    Document("Zorvath is a potter. Zorvath lives in Quell.", "Zorvath"),
    Document("Mirelle is a smith. Mirelle lives in Ostby.", "Mirelle"),
)
PRACTICE = (Question("red red", ("warm", "cold")), Question("blue blue", ("warm", "cold")))
FEEDBACK = ("warm", "cold")
DAY = (Experience(DOCUMENTS), Experience((), PRACTICE, FEEDBACK))
QUESTIONS = (
    Question("Where does Zorvath live?"),
    Question("red", ("warm", "cold")),
    Question("Where does Mirelle live?"),
)

Make = Callable[[], Agent]


def answers_every_question(make: Make) -> str | None:
    """answer() gives one string a question, from birth, and nothing for nothing."""
    agent = make()
    if list(agent.answer(())) != []:
        return "it answered when nothing was asked"
    return _wrong_answers(agent.answer(QUESTIONS))


def answers_within_choices(make: Make) -> str | None:
    """Where a question offers choices, the answer is one of them."""
    agent = make()
    _live_a_day(agent)
    answer = agent.answer(QUESTIONS[1:2])[0]
    return None if answer in QUESTIONS[1].choices else f"{answer!r} was not offered"


def answering_learns_nothing(make: Make) -> str | None:
    """answer() does not change what save() writes."""
    agent = make()
    _live_a_day(agent)
    before = _digest(agent)
    agent.answer(QUESTIONS)
    return None if _digest(agent) == before else "the saved state changed"


def answering_repeats(make: Make) -> str | None:
    """The same questions get the same answers, in one batch or another."""
    agent = make()
    _live_a_day(agent)
    together = list(agent.answer(QUESTIONS))
    if together != list(agent.answer(QUESTIONS)):
        return "the second time the answers differed"
    alone = [agent.answer([question])[0] for question in QUESTIONS]
    return None if alone == together else f"alone {alone}, together {together}"


def state_is_complete(make: Make) -> str | None:
    """After a night, a fresh instance that loads the saved state answers as the old one did."""
    agent = make()
    _live_a_day(agent)
    agent.sleep(_night(agent))
    with tempfile.TemporaryDirectory() as folder:
        agent.save(Path(folder))
        fresh = make()
        fresh.load(Path(folder))
    old, new = list(agent.answer(QUESTIONS)), list(fresh.answer(QUESTIONS))
    if old != new:
        return f"before {old}, after {new}: something is kept outside the state, or lost"
    return None if _digest(agent) == _digest(fresh) else "saving again gives other bytes"


def nights_repeat(make: Make) -> str | None:
    """The same seed and the same day give the same state, byte for byte."""
    digests = []
    for _ in range(2):
        agent = make()
        _live_a_day(agent)
        agent.sleep(_night(agent))
        digests.append(_digest(agent))
    return None if digests[0] == digests[1] else "two states differ"


def numbers_are_charged(make: Make) -> str | None:
    """Numbers in the saved state that a night changed were charged to the meter."""
    newborn, agent = make(), make()
    _live_a_day(agent)
    agent.sleep(_night(agent))
    with tempfile.TemporaryDirectory() as before, tempfile.TemporaryDirectory() as after:
        newborn.save(Path(before))
        agent.save(Path(after))
        kinds = sizes_by_kind(Path(after))
        changed = numbers_digest(Path(before)) != numbers_digest(Path(after))
    spent = sum(getattr(agent.meter, name) for name in Meter.FIELDS)
    return unpaid(kinds["weights"] + kinds["keys"], changed, spent)


def sleep_logs_numbers(make: Make) -> str | None:
    """sleep() returns a mapping of names to numbers."""
    agent = make()
    _live_a_day(agent)
    log = agent.sleep(_night(agent))
    bad = [k for k, v in dict(log).items() if not isinstance(v, (int, float))]
    return f"not numbers: {', '.join(bad)}" if bad else None


def empty_day_is_survived(make: Make) -> str | None:
    """A day without documents and practice is slept through."""
    agent = make()
    agent.sleep(_night(agent))
    return _wrong_answers(agent.answer(QUESTIONS))


def zero_budget_is_kept(make: Make) -> str | None:
    """A night whose budget allows no token and no operation spends none."""
    agent = make()
    _live_a_day(agent)
    budget = Budget(night_train_tokens=0, night_generated_tokens=0, night_flops=0)
    night = Night(1, budget, agent.seed, agent.meter)
    agent.sleep(night)
    over = budget.exceeded_by(night.spent())
    return f"exceeded: {', '.join(over)}" if over else None


AGENT_RULES = (
    answers_every_question,
    answers_within_choices,
    answering_learns_nothing,
    answering_repeats,
    state_is_complete,
    nights_repeat,
    numbers_are_charged,
    sleep_logs_numbers,
    empty_day_is_survived,
    zero_budget_is_kept,
)


def _live_a_day(agent: Agent) -> None:
    tell(agent, DAY)


def _night(agent: Agent) -> Night:
    return Night.unlimited(1, agent.seed, agent.meter)


def _digest(agent: Agent) -> str:
    with tempfile.TemporaryDirectory() as folder:
        agent.save(Path(folder))
        return state_digest(Path(folder))[0]


def _wrong_answers(answers: Sequence[Any]) -> str | None:
    if len(answers) != len(QUESTIONS):
        return f"{len(answers)} answers to {len(QUESTIONS)} questions"
    strays = [answer for answer in answers if not isinstance(answer, str)]
    return f"{strays[0]!r} is no string" if strays else None
