"""What a suite would cost, before anything is run: tokens and hours, to an order of magnitude.

A stream is measured (:func:`measure`): a token of text is :data:`CHARACTERS` characters, and every
question, document and answer has a few tokens of markers around it. The class of an agent says what
it would read, generate and train in a stream of that size (:meth:`sleepgym.Agent.estimate`); hours
are operations over what a device does a second, at an assumed share of its peak. Attention,
optimisers and padding are left out.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from sleepgym.core.cost import Cost, Scale
from sleepgym.core.env import offline
from sleepgym.core.errors import MissingData
from sleepgym.core.schedule import Exams, schedule
from sleepgym.core.types import Introduction, Phase, Stream
from sleepgym.runs.spec import RunSpec

CHARACTERS = 4.0  # of English a token
MARKERS = 4  # tokens around a question or a document


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


def hours(cost: Cost, parameters: float, device: Device) -> float:
    """How long a run takes on a device."""
    fast = Cost(read=cost.read, trained=cost.trained).flops(parameters) / device.reading
    slow = Cost(generated=cost.generated).flops(parameters) / device.generating
    return (fast + slow) / device.flops / 3600


def measure(stream: Stream, exams: Exams = "full") -> Scale:
    """The size of a stream, read off its phases."""
    day = asked = answers = context = contexts = openings = 0.0
    opening = _opening_tokens(stream.introduction)
    documents = practised = questions = free = 0
    for step in schedule(stream, exams):
        if step.phase is Phase.SLEEP:
            context = 0.0
        if step.items:
            openings += opening
        if step.items and not step.closed_book:
            contexts += context
        right = [_tokens(stream.key[item.id][0], 1) for item in step.items]
        asking = [_tokens(question.text) for question in step.questions]
        labels = sum(_tokens("".join(question.choices), 0) for question in step.questions)
        asked += sum(asking) + labels
        open_ended = [not question.choices for question in step.questions]
        answers += sum(size for size, is_free in zip(right, open_ended, strict=True) if is_free)
        free += sum(open_ended)
        questions += len(asking)
        documents += len(step.documents)
        shown = sum(_tokens(document.title + document.text) for document in step.documents)
        if step.phase is Phase.PRACTICE:
            practised += len(asking)
            shown += sum(asking) + sum(right)
        day += shown
        context += shown
    return Scale(
        days=len(stream.days),
        documents=documents,
        day_tokens=day,
        asked_tokens=asked,
        free_questions=free,
        practised=practised,
        questions=questions,
        answer_tokens=answers,
        context_tokens=contexts,
        opening_tokens=openings,
    )


def _opening_tokens(introduction: Introduction) -> float:
    """Tokens of an instruction and exemplars."""
    shown = introduction.exemplars
    texts = [document.title + document.text for x in shown for document in x.documents]
    texts += [question.text for x in shown for question in x.questions]
    answers = [answer for x in shown for answer in x.answers]
    said = _tokens(introduction.instruction, 0)
    return said + sum(map(_tokens, texts)) + sum(_tokens(answer, 1) for answer in answers)


def _tokens(text: str, markers: int = MARKERS) -> float:
    return len(text) / CHARACTERS + markers


def scale_of(spec: RunSpec) -> Scale | None:
    """The size of a run's stream; None where that would need a download."""
    env = spec.make_env()
    with offline(), suppress(MissingData):
        return measure(env.family.stream(spec.seed), env.exams)
    return None
