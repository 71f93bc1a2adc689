"""Recall: what is known of the day's names from other days and from birth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Interval

from sleepgym import Document, Night
from sleepgym_agents.experts.entity_names import Name
from sleepgym_agents.experts.entity_router import Names
from sleepgym_agents.experts.expert_memory import ExpertMemory
from sleepgym_agents.sleep.episodes import Stories, known_names, related, tell_stories
from sleepgym_agents.sleep.recollection import ITEM_TOKENS, answer_oneself, ask_oneself
from sleepgym_agents.training.distillation import Lesson, teach
from sleepgym_agents.training.qa_generation import Pair, dream

STORY_CHAINS = 3  # dreams about each story
STORY_COMPANY = 2  # other stories read before it


@dataclass(frozen=True)
class RecallSettings:
    """How much a night recollects.

    Attributes:
        dream_tokens: Longest chain.
        confidence: Least probability of an answer under its teacher; others are dropped.
        recollections: Questions sampled about each name of the day.
        recollection_confidence: Least probability of a recollected answer; others are dropped.
        story_tokens: Longest story that is learned by heart under a name; 0 is none.
        story_confidence: Least probability of a story's token in the mean; others are not believed.
    """

    dream_tokens: Annotated[int, Ge(8)] = 80
    confidence: Annotated[float, Interval(ge=0, le=1)] = 0.5
    recollections: Annotated[int, Ge(0)] = 16
    recollection_confidence: Annotated[float, Interval(ge=0, le=1)] = 0.8
    story_tokens: Annotated[int, Ge(0)] = 192
    story_confidence: Annotated[float, Interval(ge=0, le=1)] = 0.9


def recollect(
    memory: ExpertMemory,
    names: Sequence[Name],
    lessons: Sequence[Lesson],
    stories: Stories,
    parts: Sequence[Sequence[int]],
    settings: RecallSettings,
    night: Night,
) -> list[Lesson]:
    """What is known of the day's names, from their stories and unread.

    Args:
        memory: The evening's self.
        names: Of the day.
        lessons: About the day.
        stories: Of names that are met again.
        parts: Token ids of the day.
        settings: How much.
        night: Its budget and seed.
    """
    router = memory.router
    if not isinstance(router, Names) or not settings.recollections:
        return []
    decode = memory.lm.prompter.tokenizer.decode
    texts = [decode(name).strip() for name in names]
    found = []
    if stories:
        pairs = dream_of(memory, stories, settings, night)
        pairs = [pair for pair in pairs if any(text in pair[0] for text in texts)]
        read = [*(memory.lm.prompter.document(Document(x)) for x in stories.values()), *parts]
        with memory.without(*memory.unlocked):
            taught = teach(memory.lm, pairs, [i for part in read for i in part])
        found = [lesson for lesson in taught if lesson.confidence >= settings.confidence]
    news = answers_about(texts, (lesson.pair for lesson in lessons))
    pairs = {lesson.pair for lesson in found}
    unread = recall(memory, names, news, parts, settings, night)
    return [*found, *(lesson for lesson in unread if lesson.pair not in pairs)]


def answers_about(names: Sequence[str], pairs: Iterable[Pair]) -> dict[str, set[str]]:
    """A name -> the answers to questions that hold it."""
    found: dict[str, set[str]] = {}
    for question, answer in pairs:
        for name in names:
            if name in question:
                found.setdefault(name, set()).add(answer)
    return found


def tell_related(
    memory: ExpertMemory, names: Sequence[Name], settings: RecallSettings, night: Night
) -> Stories:
    """The stories of names, and of known names in these stories."""
    size, sure = settings.story_tokens, settings.story_confidence
    stories = tell_stories(memory, names, size, sure, night)
    texts = [memory.lm.prompter.encode(story) for story in stories.values()]
    others = [name for name in known_names(memory, texts) if name not in names]
    return {**tell_stories(memory, others, size, sure, night), **stories}


def dream_of(
    memory: ExpertMemory, stories: Stories, settings: RecallSettings, night: Night
) -> list[Pair]:
    """Questions and answers about stories, each read by the bare self after those it touches on."""
    document = memory.lm.prompter.document
    scenes = []
    for story in dict.fromkeys(stories.values()):
        before = [other for other in related(story, stories) if other != story][:STORY_COMPANY]
        scenes += [[document(Document(text)) for text in (*before, story)]] * STORY_CHAINS
    if not memory.lm.affords(night, generated=len(scenes) * settings.dream_tokens):
        return []
    seed = night.derive_seed("stories")
    with memory.without(*memory.unlocked):
        written = dream(memory.lm, scenes, tokens=settings.dream_tokens, seed=seed)
    return sorted({pair for chain in written for pair in chain})


def recall(
    memory: ExpertMemory,
    names: Sequence[Name],
    told: Mapping[str, set[str]],
    parts: Sequence[Sequence[int]],
    settings: RecallSettings,
    night: Night,
) -> list[Lesson]:
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
    dreamt = ask_oneself(lm, names, count, night.derive_seed("recollections"))
    asked = sorted({question for question, _ in dreamt})
    asked = [question for question in asked if any(text in question for text in texts)]
    pairs = [(q, a) for q, a in zip(asked, answer_oneself(lm, asked), strict=True) if a]
    taught = teach(lm, pairs)
    sure = [lesson for lesson in taught if lesson.confidence >= settings.recollection_confidence]
    with memory.without(*memory.unlocked):
        read = answer_oneself(lm, [lesson.pair[0] for lesson in sure], parts)
    kept = []
    for lesson, new in zip(sure, read, strict=True):
        question, old = lesson.pair
        news = {a for text, answers in told.items() if text in question for a in answers}
        if old == new or new not in news:
            kept.append(lesson)
    return kept
