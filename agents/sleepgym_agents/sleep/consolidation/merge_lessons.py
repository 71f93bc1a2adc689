"""What experts know that are to be merged: questions that are asked of them, and their answers."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sleepgym import Document
from sleepgym.core.rng import derive_rng
from sleepgym_agents.experts.entity_names import EntityName
from sleepgym_agents.sleep.consolidation.episodes import Episodes, related_episodes
from sleepgym_agents.sleep.consolidation.question_forms import (
    SLOT,
    find_descriptions,
    find_frames,
)
from sleepgym_agents.sleep.consolidation.replay import (
    RELATED_EPISODES,
    TRANSFERRED_CONFIDENCE,
    plain_texts,
    recall_answers,
)
from sleepgym_agents.sleep.sleep_context import SleepContext
from sleepgym_agents.training.distillation import DistillationExample
from sleepgym_agents.training.qa_generation import ITEM_TOKENS

SAMPLE_PAIRS = 8  # of questions about an episode, alone and with related ones
COMPOSED = 256  # most questions with a description in place of a name
OFTEN = 8  # times as many questions about an entity when a level is merged as about a day's


def regenerate_qa(
    context: SleepContext,
    entities: Sequence[EntityName],
    episodes: Episodes,
    level: int,
    slot: int,
) -> list[DistillationExample]:
    """Questions and answers about recalled episodes, alone and with those of what they mention."""
    lm, config = context.lm, context.config
    names, opened = plain_texts(lm, entities), []
    for episode in sorted(set(episodes.values())):
        others = [text for text in related_episodes(episode, episodes) if text != episode]
        together = [*others[:RELATED_EPISODES], episode]
        opened.append([lm.prompter.document(Document(text)) for text in together])
    contexts = [[read[-1:], read] * SAMPLE_PAIRS for read in opened]
    examples: list[DistillationExample] = []
    with context.memory.bare():
        written = context.write_qa([one for some in contexts for one in some], "merge", level, slot)
        for at, read in enumerate(opened):
            samples = written[2 * SAMPLE_PAIRS * at : 2 * SAMPLE_PAIRS * (at + 1)]
            pairs = sorted({pair for sample in samples for pair in sample})
            own = [pair for pair in pairs if any(name in pair[0] for name in names)]
            examples += context.score(own, read)
    found = {example.pair: example for example in examples}
    return [example for example in found.values() if example.confidence >= config.confidence]


def ask_experts(
    context: SleepContext,
    entities: Sequence[EntityName],
    read: Sequence[DistillationExample],
) -> list[DistillationExample]:
    """What the experts answer, surely or not: their own distributions are the targets.

    Args:
        context: The night.
        entities: What the experts are asked about, more often than a day's entities are.
        read: Questions about the experts' episodes.
    """
    questions = sorted({example.pair[0] for example in read})
    answers = context.answer(questions, ITEM_TOKENS)
    own = context.score([(q, a) for q, a in zip(questions, answers, strict=True) if a])
    often = context.with_settings(recollections=OFTEN * context.config.recollections)
    recalled = recall_answers(often, entities, [example.pair for example in read])
    found = {example.pair: example for example in [*recalled, *own]}
    composed = ask_composed(context, entities, {question for question, _ in found})
    found |= {example.pair: example for example in composed}
    return [found[pair] for pair in sorted(found)]


def ask_composed(
    context: SleepContext, entities: Sequence[EntityName], asked: Collection[str]
) -> list[DistillationExample]:
    """Questions with a description where others have a name, of which the experts are sure.

    What one episode tells of an entity and another of whom that one mentions is rarely asked by the
    model that reads both; here it is put together of the forms in which other questions ask.
    """
    names = plain_texts(context.lm, entities)
    frames = find_frames(asked, names)
    composed: set[str] = set()
    for form, (users, used) in find_descriptions(asked, frames, names).items():
        kind = set().union(*(own for own in frames.values() if own & used))
        described = [form.replace(SLOT, name) for name in users]
        composed |= {frame.replace(SLOT, one) for frame in kind for one in described}
    new = sorted(composed - {*asked})
    order = derive_rng(context.derive_seed("merge", "composed")).permutation(len(new))
    questions = [new[i] for i in order[:COMPOSED]]
    answers = context.answer(questions, ITEM_TOKENS) if questions else []
    scored = context.score([(q, a) for q, a in zip(questions, answers, strict=True) if a])
    return [example for example in scored if example.confidence >= TRANSFERRED_CONFIDENCE]
