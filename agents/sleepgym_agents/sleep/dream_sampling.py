"""Which dreams are tried: sampled about the day beside recalled episodes, then selected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge

from sleepgym import Document
from sleepgym_agents.experts.routing import ExpertId
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.sleep.consolidation.consolidation_data import ConsolidationData
from sleepgym_agents.sleep.consolidation.episodes import Episodes, related_episodes
from sleepgym_agents.sleep.consolidation.replay import ReplaySettings
from sleepgym_agents.sleep.dream_rewards import Dream
from sleepgym_agents.sleep.paper_parts import rank_dreams, writing_dreams
from sleepgym_agents.sleep.sleep_context import SleepContext
from sleepgym_agents.training.distillation import DistillationExample
from sleepgym_agents.training.qa_generation import Pair

KNOWN = 0.5  # smallest probability of an answer that need not be learned


@dataclass(frozen=True)
class SamplingSettings(ReplaySettings):
    """How dreams are sampled and selected.

    Attributes:
        dreams: Dreams sampled (``m``).
        dream_scenes: Batches in which they are sampled; with ``random_expert`` each has its own.
        associations: Largest number of recalled episodes beside a text of the day.
        kept_by_importance: Dreams that are tried (``k``): with ``gradient_selection`` those of the
            largest gradient, else any.
        kept_at_random: Other dreams that are tried (``b``).
        random_expert: Whether, while dreams are written, one random expert is active wherever any
            would be. The paper's is true; no effect here on either track (docs/agents/sleep.md).
        gradient_selection: Select by gradient; otherwise all that are tried are random. The paper's
            is true; no effect here on either track.
        quiz_items: Most questions of the quiz that a dream must help with.
    """

    dreams: Annotated[int, Ge(1)] = 48
    dream_scenes: Annotated[int, Ge(1)] = 2
    associations: Annotated[int, Ge(1)] = 4
    kept_by_importance: Annotated[int, Ge(0)] = 24
    kept_at_random: Annotated[int, Ge(0)] = 4
    random_expert: bool = False
    gradient_selection: bool = False
    quiz_items: Annotated[int, Ge(1)] = 24


def sample_dreams(
    context: SleepContext, episodes: Episodes, rng: np.random.Generator
) -> list[Dream]:
    """Sample dreams about the day, read beside recalled episodes.

    Args:
        context: The night; its settings are :class:`SamplingSettings`.
        episodes: Recalled episodes of entities that the day mentions.
        rng: Draws the random experts.

    Returns:
        Dreams of items with a confident answer; dreams without any are left out.
    """
    config, memory = context.config, context.memory
    texts = dream_contexts(context.lm, episodes, context.parts, config.associations)
    experts = memory.unlocked if config.random_expert else ()
    found: list[Dream] = []
    for scene in range(config.dream_scenes):
        numbers = range(scene, config.dreams, config.dream_scenes)
        if not context.affords(len(numbers) * config.dream_tokens):
            break
        with writing_dreams(context, experts, rng):
            written = context.write_qa([texts[i % len(texts)] for i in numbers], "scene", scene)
        with memory.bare():
            for at, parts in enumerate(texts):
                own = [d for i, d in zip(numbers, written, strict=True) if i % len(texts) == at]
                pairs = sorted({pair for dream in own for pair in dream})
                examples = context.score(pairs, parts)
                sure = {x.pair: x for x in examples if x.confidence >= config.confidence}
                found += [[sure[pair] for pair in dict.fromkeys(d) if pair in sure] for d in own]
    return [dream for dream in found if dream]


def dream_contexts(
    lm: LanguageModel, episodes: Episodes, parts: Sequence[Sequence[int]], most: int
) -> list[list[Sequence[int]]]:
    """Each text of the day after the episodes of entities that it mentions.

    Texts without any episode are left out, unless there is none with one.

    Args:
        lm: The language model.
        episodes: By name of an entity.
        parts: Token ids of the day's texts.
        most: Most episodes before a text.
    """
    prompter = lm.prompter
    related = [related_episodes(prompter.tokenizer.decode(p), episodes)[:most] for p in parts]
    linked = [
        [*(prompter.document(Document(episode)) for episode in recalled), part]
        for recalled, part in zip(related, parts, strict=True)
        if recalled
    ]
    return linked or [[part] for part in parts]


def split_known_and_new(
    context: SleepContext, dreams: Sequence[Dream]
) -> tuple[list[DistillationExample], set[Pair]]:
    """Items that the model can answer without context, as its own examples; the other items."""
    pairs = sorted({item.pair for dream in dreams for item in dream})
    known = [x for x in context.score(pairs) if x.confidence >= KNOWN]
    return known, set(pairs) - {example.pair for example in known}


def deduplicate(dreams: Sequence[Dream]) -> list[Dream]:
    """The dreams that are not empty, one of those with the same items."""
    found: dict[frozenset[Pair], Dream] = {}
    for dream in dreams:
        found.setdefault(frozenset(item.pair for item in dream), dream)
    return [dream for dream in found.values() if dream]


def build_quiz(
    data: ConsolidationData, dreams: Sequence[Dream], most: int, rng: np.random.Generator
) -> list[DistillationExample]:
    """``most`` questions: up to three quarters are items of dreams, the others of the day."""
    items = {item.pair: item for dream in dreams for item in dream}
    dreamt = list(items.values())
    others = [x for x in (*data.dreams, *data.recollections) if x.pair not in items]
    quiz = [dreamt[i] for i in rng.permutation(len(dreamt))[: most * 3 // 4]]
    quiz += [others[i] for i in rng.permutation(len(others))]
    return quiz[:most]


def select_dreams(
    context: SleepContext, expert_id: ExpertId, dreams: Sequence[Dream], rng: np.random.Generator
) -> list[Dream]:
    """The ``k + b`` dreams to try, at random; where chosen, ``k`` of the largest gradient first."""
    config = context.config
    order = rank_dreams(context, expert_id, dreams, rng.permutation(len(dreams)).tolist())
    return [dreams[i] for i in order[: config.kept_by_importance + config.kept_at_random]]
