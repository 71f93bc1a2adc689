"""How well a model reads and dreams: the figures of the reader's card."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from lessons import Lesson, joined

from sleepgym.core.grading import exact_match, f1
from sleepgym_agents.lm.generation import generate
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.training.qa_generation import answer_again, generate_qa

ANSWER_TOKENS = 24
DREAM_TOKENS = 160


def draw(
    lessons: Sequence[Lesson], questions: int, together: int, seed: int
) -> list[tuple[Lesson, str, str]]:
    """So many questions, each with the passages that are open: its own among ``together``."""
    rng = random.Random(seed)
    found: list[tuple[Lesson, str, str]] = []
    while len(found) < questions:
        day = joined(rng.sample(lessons, together))
        found += [(day, *pair) for pair in rng.sample(day.pairs, min(5 * together, len(day.pairs)))]
    return found[:questions]


def shown(lm: LanguageModel, lesson: Lesson, most: int = 4) -> list[list[int]]:
    """An exemplar: token ids of a lesson's texts and of some of its questions with answers."""
    texts = [lm.prompter.document(document) for document in lesson.documents]
    return [*texts, *(lm.prompter.demonstration(*pair) for pair in lesson.pairs[:most])]


def reading(
    lm: LanguageModel,
    asked: Sequence[tuple[Lesson, str, str]],
    *,
    opened: bool,
    exemplars: Sequence[Lesson] = (),
) -> dict:
    """F1, exact match and share of empty answers, greedy, with the passages open or closed."""
    prompter = lm.prompter
    before = [part for lesson in exemplars for part in shown(lm, lesson)]
    prompts = [
        prompter.prompt(
            question,
            [*before, *(prompter.document(d) for d in day.documents if opened)],
        )
        for day, question, _ in asked
    ]
    answers = [prompter.answer_text(ids) for ids in generate(lm, prompts, ANSWER_TOKENS)]
    pairs = [(answer, gold) for answer, (_, _, gold) in zip(answers, asked, strict=True)]
    return {
        "f1": round(fmean(f1(*pair) for pair in pairs), 4),
        "exact": round(fmean(exact_match(*pair) for pair in pairs), 4),
        "empty": round(fmean(not answer for answer in answers), 4),
        "questions": len(pairs),
    }


@dataclass(frozen=True)
class Dreamt:
    """A question with its answer that a model wrote about a passage.

    Attributes:
        lesson: The passage.
        pair: Question and answer.
        quoted: Whether the answer occurs in the passage.
        alike: Whether the model, asked again with the passage open, gives this answer, greedily.
    """

    lesson: Lesson
    pair: tuple[str, str]
    quoted: bool
    alike: bool


def dream(
    lm: LanguageModel,
    lessons: Sequence[Lesson],
    seed: int,
    temperature: float,
    *,
    read: bool = False,
    beside: int = 0,
) -> list[list[Dreamt]]:
    """One sample of questions and answers a passage, each question asked again.

    Args:
        lm: The model.
        lessons: The passages.
        seed: Of sampling.
        temperature: Of sampling.
        read: Whether answers are read out of the passage, greedily, instead of sampled with their
            questions.
        beside: So many other passages are open too when a question is asked again.
    """
    contexts = [[lm.prompter.document(d) for d in lesson.documents] for lesson in lessons]
    written = generate_qa(lm, contexts, tokens=DREAM_TOKENS, temperature=temperature, seed=seed)
    if read:
        written = answer_again(lm, contexts, written, ANSWER_TOKENS)
    items = [(at, pair) for at, pairs in enumerate(written) for pair in dict.fromkeys(pairs)]
    opened = [
        [part for i in range(beside + 1) for part in contexts[(at + i) % len(contexts)]]
        for at in range(len(contexts))
    ]
    prompts = [lm.prompter.prompt(pair[0], opened[at]) for at, pair in items]
    again = generate(lm, prompts, ANSWER_TOKENS) if prompts else []
    samples: list[list[Dreamt]] = [[] for _ in lessons]
    for (at, pair), ids in zip(items, again, strict=True):
        text = " ".join(document.text for document in lessons[at].documents).lower()
        alike = bool(exact_match(lm.prompter.answer_text(ids), pair[1]))
        samples[at].append(Dreamt(lessons[at], pair, pair[1].lower() in text, alike))
    return samples


def kept_dreams(samples: Sequence[Sequence[Dreamt]]) -> list[Lesson]:
    """Passages with those of their dreams that quote them and are answered alike."""
    found = []
    for sample in samples:
        pairs = tuple(item.pair for item in sample if item.quoted and item.alike)
        if pairs:
            found.append(Lesson(sample[0].lesson.documents, pairs))
    return found


def dream_scores(samples: Sequence[Sequence[Dreamt]]) -> dict:
    """How many samples parse; of their items how many quote the passage and are answered alike."""
    items = [item for sample in samples for item in sample]
    share = fmean if items else (lambda _: 0.0)
    return {
        "samples": len(samples),
        "parsed": round(fmean(bool(sample) for sample in samples), 4),
        "items": len(items),
        "different_questions": len({(item.lesson.documents, item.pair[0]) for item in items}),
        "quoted": round(share([item.quoted for item in items]), 4),
        "alike": round(share([item.alike for item in items]), 4),
        "quoted_and_alike": round(share([item.quoted and item.alike for item in items]), 4),
    }


def evaluate(
    lm: LanguageModel,
    held: Sequence[Lesson],
    exemplars: Sequence[Lesson],
    almanac: Sequence[Lesson],
    questions: int,
) -> dict:
    """All figures of the card on passages that were never taught.

    Args:
        lm: The model.
        held: Passages to read.
        exemplars: Taught passages that show the form of an answer, for a model that needs it.
        almanac: Days to read.
        questions: Of each evaluation.
    """
    one, four = draw(held, questions, 1, 1), draw(held, questions, 4, 2)
    dreamt = random.Random(3).sample(held, min(questions, len(held)))
    worlds = [(day, *pair) for day in almanac for pair in day.pairs][:questions]
    return {
        "squad_open": reading(lm, one, opened=True),
        "squad_open_of_four": reading(lm, four, opened=True),
        "squad_open_after_exemplars": reading(lm, one, opened=True, exemplars=exemplars),
        "squad_closed": reading(lm, one, opened=False),
        "squad_closed_after_exemplars": reading(lm, one, opened=False, exemplars=exemplars),
        "almanac_open": reading(lm, worlds, opened=True),
        "dreams": dream_scores(dream(lm, dreamt, seed=3, temperature=1.0)),
    }
