"""Recall: what is known of the day's names from other days and from birth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Interval

from sleepgym import Document, Night, Settings
from sleepgym_agents.experts.entity_names import EntityName
from sleepgym_agents.experts.entity_router import EntityRouter
from sleepgym_agents.experts.expert_memory import ExpertMemory
from sleepgym_agents.sleep.episodes import (
    Episodes,
    known_entities,
    recall_episodes,
    related_episodes,
)
from sleepgym_agents.sleep.recollection import ITEM_TOKENS, answer_greedily, sample_qa_about
from sleepgym_agents.training.distillation import DistillationExample, score_with_teacher
from sleepgym_agents.training.qa_generation import Pair, generate_qa

SAMPLES_PER_EPISODE = 3  # dreams about each story
RELATED_EPISODES = 2  # other stories read before it


@dataclass(frozen=True)
class RecallSettings(Settings):
    """How much a night recollects.

    Attributes:
        dream_tokens: Longest chain.
        confidence: Least probability of an answer under its teacher; others are dropped.
        recollections: Questions sampled about each name of the day.
        recollection_confidence: Least probability of a recollected answer; others are dropped.
        episode_tokens: Longest story that is learned by heart under a name; 0 is none.
        episode_confidence: Least probability of a story's token in the mean; others are not
            believed.
    """

    renamed: ClassVar[Mapping[str, str | None]] = {
        "story_tokens": "episode_tokens",
        "story_confidence": "episode_confidence",
    }

    dream_tokens: Annotated[int, Ge(8)] = 80
    confidence: Annotated[float, Interval(ge=0, le=1)] = 0.5
    recollections: Annotated[int, Ge(0)] = 16
    recollection_confidence: Annotated[float, Interval(ge=0, le=1)] = 0.8
    episode_tokens: Annotated[int, Ge(0)] = 192
    episode_confidence: Annotated[float, Interval(ge=0, le=1)] = 0.9


def recall_known_answers(
    memory: ExpertMemory,
    names: Sequence[EntityName],
    examples: Sequence[DistillationExample],
    episodes: Episodes,
    parts: Sequence[Sequence[int]],
    settings: RecallSettings,
    night: Night,
) -> list[DistillationExample]:
    """What is known of the day's names, from their stories and unread.

    Args:
        memory: The evening's self.
        names: Of the day.
        examples: About the day.
        episodes: Of names that are met again.
        parts: Token ids of the day.
        settings: How much.
        night: Its budget and seed.
    """
    router = memory.router
    if not isinstance(router, EntityRouter) or not settings.recollections:
        return []
    decode = memory.lm.prompter.tokenizer.decode
    texts = [decode(name).strip() for name in names]
    found = []
    if episodes:
        pairs = generate_qa_about_episodes(memory, episodes, settings, night)
        pairs = [pair for pair in pairs if any(text in pair[0] for text in texts)]
        read = [*(memory.lm.prompter.document(Document(x)) for x in episodes.values()), *parts]
        with memory.masked(*memory.unlocked):
            taught = score_with_teacher(memory.lm, pairs, [i for part in read for i in part])
        found = [example for example in taught if example.confidence >= settings.confidence]
    news = answers_about(texts, (example.pair for example in examples))
    pairs = {example.pair for example in found}
    unread = recall_answers(memory, names, news, parts, settings, night)
    return [*found, *(example for example in unread if example.pair not in pairs)]


def answers_about(names: Sequence[str], pairs: Iterable[Pair]) -> dict[str, set[str]]:
    """A name -> the answers to questions that hold it."""
    found: dict[str, set[str]] = {}
    for question, answer in pairs:
        for name in names:
            if name in question:
                found.setdefault(name, set()).add(answer)
    return found


def recall_related_episodes(
    memory: ExpertMemory, names: Sequence[EntityName], settings: RecallSettings, night: Night
) -> Episodes:
    """The stories of names, and of known names in these stories."""
    size, sure = settings.episode_tokens, settings.episode_confidence
    episodes = recall_episodes(memory, names, size, sure, night)
    texts = [memory.lm.prompter.encode(episode) for episode in episodes.values()]
    others = [name for name in known_entities(memory, texts) if name not in names]
    return {**recall_episodes(memory, others, size, sure, night), **episodes}


def generate_qa_about_episodes(
    memory: ExpertMemory, episodes: Episodes, settings: RecallSettings, night: Night
) -> list[Pair]:
    """Questions and answers about stories, each read by the bare self after those it touches on."""
    document = memory.lm.prompter.document
    contexts = []
    for episode in dict.fromkeys(episodes.values()):
        before = [other for other in related_episodes(episode, episodes) if other != episode][
            :RELATED_EPISODES
        ]
        contexts += [
            [document(Document(text)) for text in (*before, episode)]
        ] * SAMPLES_PER_EPISODE
    if not memory.lm.affords(night, generated=len(contexts) * settings.dream_tokens):
        return []
    seed = night.derive_seed("stories")
    with memory.masked(*memory.unlocked):
        written = generate_qa(memory.lm, contexts, tokens=settings.dream_tokens, seed=seed)
    return sorted({pair for sample in written for pair in sample})


def recall_answers(
    memory: ExpertMemory,
    names: Sequence[EntityName],
    told: Mapping[str, set[str]],
    parts: Sequence[Sequence[int]],
    settings: RecallSettings,
    night: Night,
) -> list[DistillationExample]:
    """What the self is sure of about some names, unless the day says otherwise.

    A recollection is outdated where the day's text, read by the bare self, answers its question
    differently, with something that was dreamt about that name tonight. Without this last
    condition every question that the day does not answer would count as one: a model that must
    answer picks something from what it reads.
    """
    lm, count = memory.lm, settings.recollections
    if not lm.affords(night, generated=3 * len(names) * count * ITEM_TOKENS):
        return []
    decode = lm.prompter.tokenizer.decode
    texts = [decode(name).strip() for name in names]
    dreamt = sample_qa_about(lm, names, count, night.derive_seed("recollections"))
    asked = sorted({question for question, _ in dreamt})
    asked = [question for question in asked if any(text in question for text in texts)]
    pairs = [(q, a) for q, a in zip(asked, answer_greedily(lm, asked), strict=True) if a]
    taught = score_with_teacher(lm, pairs)
    sure = [example for example in taught if example.confidence >= settings.recollection_confidence]
    with memory.masked(*memory.unlocked):
        read = answer_greedily(lm, [example.pair[0] for example in sure], parts)
    kept = []
    for example, new in zip(sure, read, strict=True):
        question, old = example.pair
        news = {a for text, answers in told.items() if text in question for a in answers}
        if old == new or new not in news:
            kept.append(example)
    return kept
