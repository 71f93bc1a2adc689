"""What the reader is taught on: texts, then questions with answers about them.

One kind of sequence teaches both halves of a dreamer's work. It holds the texts of a small "day"
and then some of their questions with answers, in random order: the loss on answers teaches to read,
the loss on questions teaches to ask.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sleepgym import Document
from sleepgym_agents.lm.prompts import Prompter
from sleepgym_tasks.datasets.squad_files import Passage, parse
from sleepgym_tasks.envs.almanac import AlmanacConfig, AlmanacV1
from sleepgym_tasks.envs.squad import held_out_titles

TEXT, QUESTION, ANSWER = 0.0, 0.3, 1.0  # weights in the loss
ALMANAC_SEEDS = range(100)  # tuning seeds
ALMANAC_SHARE = 0.25  # of the sequences
ALMANAC_SKIPPED = ("override", "locality", "base")  # ask for the base world, which it never met


@dataclass(frozen=True)
class Lesson:
    """Texts with questions that they answer.

    Attributes:
        documents: To be read together.
        pairs: Questions, each with its answer.
    """

    documents: tuple[Document, ...]
    pairs: tuple[tuple[str, str], ...]


def squad_lessons(data: Path) -> tuple[list[Lesson], list[Lesson]]:
    """A lesson a passage: those to teach on, and those of the twelve articles held out.

    Args:
        data: Folder with SEAL's files (``squad_seal/squad_val.json``, ``iter0_train.json``).
    """
    held = set(held_out_titles())
    passages = [*parse(data / "squad_seal/squad_val.json")]
    passages += parse(data / "squad_seal/iter0_train.json")
    taught = [_lesson(p) for p in passages if p.title not in held and p.questions]
    kept = [_lesson(p) for p in passages if p.title in held and p.questions]
    return taught, kept


def almanac_lessons(seeds: Sequence[int]) -> list[Lesson]:
    """A lesson a day of Almanac streams of tuning seeds; base facts are not asked."""
    found = []
    for seed in seeds:
        stream = AlmanacV1(AlmanacConfig(days=4, base_questions=0)).stream(seed)
        for day in stream.days:
            pairs = tuple(
                (item.question.text, stream.key[item.id][0])
                for item in day.exam
                if item.kind not in (*ALMANAC_SKIPPED, "two-hop-days")
            )
            found.append(Lesson(day.documents, pairs))
    return found


def joined(lessons: Sequence[Lesson]) -> Lesson:
    """The texts and questions of several lessons as of one."""
    documents = tuple(document for lesson in lessons for document in lesson.documents)
    return Lesson(documents, tuple(pair for lesson in lessons for pair in lesson.pairs))


def day_of(rng: random.Random, lessons: Sequence[Lesson], most: int = 5) -> Lesson:
    """One to ``most`` passages as a day: neighbours of one article as often as strangers."""
    count = rng.choice((1, 1, *range(1, most + 1)))
    if rng.random() < 0.5:
        start = rng.randrange(len(lessons))
        chosen = [lessons[(start + i) % len(lessons)] for i in range(count)]
        rng.shuffle(chosen)
    else:
        chosen = rng.sample(lessons, count)
    return joined(chosen)


def sequence(
    rng: random.Random,
    prompter: Prompter,
    lesson: Lesson,
    most_pairs: int,
    most_tokens: int,
    asked_weight: float = QUESTION,
) -> tuple[list[int], list[float]]:
    """Token ids of a lesson with some of its pairs, in random order, and their weights."""
    ids = [*prompter.start, *(i for d in lesson.documents for i in prompter.document(d))]
    weights = [TEXT] * len(ids)
    pairs = rng.sample(lesson.pairs, min(most_pairs, len(lesson.pairs)))
    for question, answer in pairs:
        asked, answered = prompter.question(question), prompter.answer(answer)
        if len(ids) + len(asked) + len(answered) > most_tokens:
            break
        ids += asked + answered
        weights += [asked_weight] * len(asked) + [ANSWER] * len(answered)
    return ids, weights


def batches(
    seed: int,
    prompter: Prompter,
    squad: Sequence[Lesson],
    almanac: Sequence[Lesson],
    dreams: Sequence[Lesson] = (),
    *,
    rows: int,
    most_tokens: int,
) -> Iterator[list[tuple[list[int], list[float]]]]:
    """Batches of sequences without end, each of ``rows`` sequences.

    A quarter of the sequences are Almanac days; of the others half are dreams, where there are any,
    whose questions count in the loss as much as their answers.
    """
    rng = random.Random(seed)
    while True:
        made = []
        while len(made) < rows:
            asked = QUESTION
            if rng.random() < ALMANAC_SHARE:
                lesson = rng.choice(almanac)
            elif dreams and rng.random() < 0.5:
                lesson, asked = rng.choice(dreams), ANSWER
            else:
                lesson = day_of(rng, squad)
            pairs = rng.randint(3, 12)
            ids, weights = sequence(rng, prompter, lesson, pairs, most_tokens, asked)
            if any(weights) and len(ids) <= most_tokens:
                made.append((ids, weights))
        yield made


def _lesson(passage: Passage) -> Lesson:
    pairs = tuple(
        (f"Topic: {passage.title}\n{asked.text}", asked.answers[0]) for asked in passage.questions
    )
    return Lesson((Document(passage.context, passage.title),), pairs)
