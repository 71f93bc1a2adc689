"""What a suite would cost, before anything is run: tokens and hours, to an order of magnitude.

The formulas, all a run:

- a token of text is :data:`CHARACTERS` characters;
- read: every question once (an open-book exam also reads its day before, once a phase; a choice
  also reads its labels), and every night the day twice and what was generated once;
- generated: ``max_answer_tokens`` for every question without choices; every night
  ``samples x dream_tokens``, ``dreams x dream_tokens``, and ``edits x edit_tokens`` a document;
- trained: every night ``epochs x (the day + what was generated that night)``, and for the dreams
  that are tried ``(copy_steps + dream_epochs) x dream_tokens``;
- operations: 2 a parameter for each token read or generated, 6 for each trained;
- hours: operations over what the device does a second, at an assumed share of its peak.

Names in this font are the agent's settings; those it does not have count nothing. Answers that stop
early, duplicate dreams and shared beginnings make the truth smaller; attention, optimisers and
padding make it larger.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sleepgym.core.errors import MissingData
from sleepgym.core.schedule import Exams, schedule
from sleepgym.core.types import Phase, Stream
from sleepgym.runs.spec import RunSpec

CHARACTERS = 4.0  # of English a token


@dataclass(frozen=True)
class Device:
    """What does the work.

    Attributes:
        name: In words.
        flops: Operations a second at its peak.
        reading: Share of the peak while reading and training; assumed.
        generating: Share of the peak while generating, which waits for memory; assumed.
    """

    name: str
    flops: float
    reading: float
    generating: float


H200 = Device("one H200", 790e12, 0.3, 0.02)
TWO_CORES = Device("two CPU cores", 144e9, 0.5, 0.08)
SMALL = 1e8  # parameters; smaller models are run on a CPU


@dataclass(frozen=True)
class Scale:
    """The size of one stream.

    Attributes:
        days: Nights.
        documents: To study, in all.
        day_tokens: Studied and practised, in all.
        asked_tokens: Of all questions asked, labels and open books included.
        free_questions: Asked without choices.
    """

    days: int
    documents: int
    day_tokens: float
    asked_tokens: float
    free_questions: int


@dataclass(frozen=True)
class Cost:
    """Of one run.

    Attributes:
        read: Tokens read.
        generated: Tokens sampled.
        trained: Tokens trained on, each epoch counted.
    """

    read: float = 0.0
    generated: float = 0.0
    trained: float = 0.0

    def hours(self, parameters: float, device: Device) -> float:
        """How long the run takes on a device."""
        fast = (2 * self.read + 6 * self.trained) * parameters / device.reading
        slow = 2 * self.generated * parameters / device.generating
        return (fast + slow) / device.flops / 3600


def measure(stream: Stream, exams: Exams = "full") -> Scale:
    """The size of a stream, read off its phases."""
    day = asked = context = 0.0
    documents = free = 0
    for step in schedule(stream, exams):
        documents += len(step.documents)
        text = sum(len(d.title) + len(d.text) for d in step.documents) / CHARACTERS
        questions = sum(len(q.text) for q in step.questions) / CHARACTERS
        labels = sum(len("".join(q.choices)) for q in step.questions) / CHARACTERS
        asked += questions + labels
        free += sum(not q.choices for q in step.questions)
        if step.phase is Phase.PRACTICE:
            text += questions
            text += sum(len(stream.key[item.id][0]) for item in step.items) / CHARACTERS
        day += text
        context += text
        if step.name == "evening":
            asked += context
        if step.phase is Phase.SLEEP:
            context = 0.0
    return Scale(len(stream.days), documents, day, asked, free)


def cost(scale: Scale, settings: Mapping[str, Any]) -> Cost:
    """What an agent with these settings does in one stream.

    Args:
        scale: Of the stream.
        settings: Of an agent that uses a language model.
    """

    def get(name: str) -> float:
        return float(settings.get(name) or 0)

    dreamt = scale.days * (get("samples") + get("dreams")) * get("dream_tokens")
    dreamt += scale.documents * get("edits") * get("edit_tokens")
    tried = min(get("dreams"), get("kept_by_importance") + get("kept_at_random"))
    trained = get("epochs") * (scale.day_tokens + dreamt)
    per_dream = (get("copy_steps") + get("dream_epochs")) * get("dream_tokens")
    trained += scale.days * tried * per_dream
    nights = 2 * scale.day_tokens + dreamt if trained else 0.0
    answered = scale.free_questions * get("max_answer_tokens")
    return Cost(scale.asked_tokens + nights, answered + dreamt, trained)


def scale_of(spec: RunSpec) -> Scale | None:
    """The size of a run's stream; None where that would need a download."""
    env = spec.make_env()
    before = os.environ.get("SLEEPGYM_OFFLINE")
    os.environ["SLEEPGYM_OFFLINE"] = "1"
    try:
        return measure(env.family.stream(spec.seed), env.exams)
    except MissingData:
        return None
    finally:
        if before is None:
            del os.environ["SLEEPGYM_OFFLINE"]
        else:
            os.environ["SLEEPGYM_OFFLINE"] = before
