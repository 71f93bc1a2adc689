"""Replay: what the model says about entities from its weights, rehearsed beside the day.

A document's title without its text makes the model write questions about the title and answer
them from its weights. With a title that the model makes up this is a sample of what it knows, used
for rehearsal. With an entity of the day it is a recollection: learned together with the news, it
keeps the newest expert no worse about that entity than older ones. Few of the questions that a bare
name makes the model write are about that name; so what the day's questions ask about one entity is
asked about the others too.

Recollections are a part of the paper that the ablation does not show to matter;
``recollections=0`` switches them off (:mod:`sleepgym_agents.sleep.paper_parts`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Interval

from sleepgym import Document
from sleepgym.core.rng import derive_rng
from sleepgym_agents.experts.entity_names import EntityName
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.sleep.consolidation.episodes import Episodes, EpisodeSettings, related_episodes
from sleepgym_agents.sleep.consolidation.question_forms import (
    SLOT,
    find_descriptions,
    find_frames,
)
from sleepgym_agents.sleep.sleep_context import SleepContext
from sleepgym_agents.training.distillation import DistillationExample
from sleepgym_agents.training.qa_generation import ITEM_TOKENS, Pair

SAMPLES_PER_EPISODE = 3
SAMPLED = 16  # most questions that are sampled from a bare name
TRANSFERRED_CONFIDENCE = 0.95  # least of an answer to another entity's question: few have one
LEAST_KNOWN = 4  # of these answers about a name: fewer are guesses about one that is not known
RELATED_EPISODES = 2  # that are read before an episode


@dataclass(frozen=True)
class ReplaySettings(EpisodeSettings):
    """How questions and answers are written and recalled.

    Attributes:
        dream_tokens: Longest sample of questions and answers.
        confidence: Smallest probability of an answer under its teacher; others are dropped.
        recollections: Questions about each entity of the day that are answered without the day; 0
            recalls none. The first 16 are sampled from its bare name; the others are the day's
            questions about other entities, asked about this one.
        compositions: Most questions a night that are composed of others and learned beside the
            rewarded dreams (:mod:`sleepgym_agents.sleep.consolidation.compositions`). 0 composes
            none, and keeps dreams that other texts of the day contradict.
        recollection_confidence: Smallest probability of a recalled answer; others are dropped.
        dream_temperature: Of sampling questions and answers; where None, 1 for a model that was
            taught to dream, else what suits one that is asked in words.
        dream_answers: ``sampled`` with their questions, or ``read``: each question is asked again
            with the texts open, and answered greedily.
    """

    dream_tokens: Annotated[int, Ge(8)] = 80
    confidence: Annotated[float, Interval(ge=0, le=1)] = 0.5
    recollections: Annotated[int, Ge(0)] = 16
    compositions: Annotated[int, Ge(0)] = 0
    recollection_confidence: Annotated[float, Interval(ge=0, le=1)] = 0.8
    dream_temperature: Annotated[float, Gt(0)] | None = None
    dream_answers: Literal["sampled", "read"] = "sampled"


def recollect(
    context: SleepContext,
    entities: Sequence[EntityName],
    examples: Sequence[DistillationExample],
    episodes: Episodes,
    idle: Collection[str] = (),
) -> list[DistillationExample]:
    """What the model knows of the day's entities: from recalled episodes, and from its weights.

    Args:
        context: The night; its settings are :class:`ReplaySettings`.
        entities: Of the day.
        examples: About the day.
        episodes: Recalled episodes of entities that the day mentions again.
        idle: Forms of what the model asks about nothing in particular.
    """
    if not context.config.recollections or not context.memory.router.by_entity:
        return []
    from_episodes = _read_episodes(context, entities, episodes) if episodes else []
    if context.config.compositions:
        names, news = plain_texts(context.lm, entities), [example.pair for example in examples]
        from_episodes = believed(context, from_episodes, names, news)
    pairs = {example.pair for example in from_episodes}
    from_weights = recall_answers(context, entities, [example.pair for example in examples], idle)
    return [*from_episodes, *(example for example in from_weights if example.pair not in pairs)]


def recall_answers(
    context: SleepContext,
    entities: Sequence[EntityName],
    news: Sequence[Pair],
    idle: Collection[str] = (),
) -> list[DistillationExample]:
    """Answers about entities that the model is sure of and that the day does not contradict.

    An answer is outdated if the base model with the day in context answers its question otherwise,
    with one of the day's answers about that entity. Without the last condition, every question that
    the day does not answer would count: a model that must answer picks something from its context.

    Args:
        context: The night; its settings are :class:`ReplaySettings`.
        entities: Token ids of their names.
        news: Questions and answers about the day.
        idle: As in :func:`transferred_questions`.
    """
    lm, config = context.lm, context.config
    if not config.recollections or not context.affords(
        3 * len(entities) * config.recollections * ITEM_TOKENS
    ):
        return []
    texts = plain_texts(lm, entities)
    seed = context.derive_seed("recollections")
    sampled = context.asked.write_qa_about(entities, min(config.recollections, SAMPLED), seed)
    own = {question for question, _ in sampled if any(text in question for text in texts)}
    asked = sorted(own | transferred_questions(context, [q for q, _ in news], texts, idle))
    answers = context.answer(asked, ITEM_TOKENS)
    examples = context.score([(q, a) for q, a in zip(asked, answers, strict=True) if a])
    least = config.recollection_confidence
    least_of = {x.pair: least if x.pair[0] in own else TRANSFERRED_CONFIDENCE for x in examples}
    sure = [x for x in examples if x.confidence >= least_of[x.pair]]
    foreign = [x for x in sure if x.pair[0] not in own]
    counts = Counter(text for x in foreign for text in texts if text in x.pair[0])
    known = [text for text in texts if counts[text] >= LEAST_KNOWN]
    sure = [x for x in sure if x.pair[0] in own or any(text in x.pair[0] for text in known)]
    return drop_outdated(context, sure, texts, news)


def believed(
    context: SleepContext,
    read: Sequence[DistillationExample],
    names: Sequence[str],
    news: Sequence[Pair],
) -> list[DistillationExample]:
    """What was read in recalled episodes, or what the model answers surely without them.

    An episode holds what was true when it was read: the weights know what changed since. Where both
    answer, and differ, the weights count, unless the day says otherwise.

    Args:
        context: The night; its settings are :class:`ReplaySettings`.
        read: Questions and answers about episodes.
        names: Of the day's entities.
        news: Questions and answers about the day.
    """
    questions = sorted({example.pair[0] for example in read})
    answers = context.answer(questions, ITEM_TOKENS)
    own = context.score([(q, a) for q, a in zip(questions, answers, strict=True) if a])
    least = context.config.recollection_confidence
    own_by_question = {x.pair[0]: x for x in own if x.confidence >= context.config.confidence}
    kept = [x for x in read if own_by_question.get(x.pair[0], x).pair == x.pair]
    others = {x.pair[0] for x in read} - {x.pair[0] for x in kept}
    sure = [x for x in own if x.pair[0] in others and x.confidence >= least]
    return [*kept, *drop_outdated(context, sure, names, news)]


def drop_outdated(
    context: SleepContext,
    known: Sequence[DistillationExample],
    names: Sequence[str],
    news: Sequence[Pair],
) -> list[DistillationExample]:
    """What is known about entities without what the day says otherwise.

    Args:
        context: The night.
        known: Questions and answers about the entities.
        names: Of the entities.
        news: Questions and answers about the day.
    """
    with context.memory.bare():
        answers = context.answer([x.pair[0] for x in known], ITEM_TOKENS, context.parts)
    kept = []
    for example, answer in zip(known, answers, strict=True):
        question, old = example.pair
        mentioned = [name for name in names if name in question]
        fresh = {a for q, a in news if any(name in q for name in mentioned)}
        if old == answer or answer not in fresh:
            kept.append(example)
    return kept


def transferred_questions(
    context: SleepContext,
    questions: Sequence[str],
    names: Sequence[str],
    idle: Collection[str] = (),
) -> set[str]:
    """Questions about one name, asked about each of the others; those that were asked are left out.

    Where questions are composed, idle ones are among them, for days that tell of few things, and
    those with a description are left to :mod:`sleepgym_agents.sleep.consolidation.compositions`:
    what the model would answer to "Where does the mentor of Ada live?" before it learned of a
    mentor is a guess.

    Args:
        context: The night; its settings are :class:`ReplaySettings`.
        questions: About the day.
        names: Of its entities.
        idle: Forms of what the model asks about nothing in particular.
    """
    frames, config = find_frames(questions, names), context.config
    forms = set().union(*frames.values())
    if config.compositions:
        descriptions = find_descriptions(questions, frames, names)
        forms = {form for form in forms | {*idle} if not any(x in form for x in descriptions)}
    order = derive_rng(context.derive_seed("transferred")).permutation(len(forms))
    drawn = [sorted(forms)[i] for i in order[: max(0, config.recollections - SAMPLED)]]
    return {form.replace(SLOT, name) for form in drawn for name in names} - set(questions)


def _read_episodes(
    context: SleepContext, entities: Sequence[EntityName], episodes: Episodes
) -> list[DistillationExample]:
    """Questions and answers about recalled episodes, by the base model that reads them."""
    names, document = plain_texts(context.lm, entities), context.lm.prompter.document
    read = {text: document(Document(text)) for text in episodes.values()}
    contexts = []
    for episode in read:
        others = [text for text in related_episodes(episode, episodes) if text != episode]
        together = [*others[:RELATED_EPISODES], episode]
        contexts += [[read[text] for text in together]] * SAMPLES_PER_EPISODE
    with context.memory.bare():
        written = context.write_qa(contexts, "stories")
        pairs = sorted({pair for sample in written for pair in sample})
        pairs = [pair for pair in pairs if any(name in pair[0] for name in names)]
        recalled = [read[text] for text in episodes.values()]
        examples = context.score(pairs, [*recalled, *context.parts])
    return [example for example in examples if example.confidence >= context.config.confidence]


def plain_texts(lm: LanguageModel, entities: Iterable[EntityName]) -> list[str]:
    """Names of entities as plain text, in order."""
    return [lm.prompter.tokenizer.decode(entity).strip() for entity in entities]
