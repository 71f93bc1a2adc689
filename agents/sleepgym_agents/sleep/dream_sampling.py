"""Sampling: dreams about the day beside what it brought back to mind, and which of them to try."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge

from sleepgym import Document, Night
from sleepgym_agents.experts.expert_memory import ExpertMemory
from sleepgym_agents.experts.routing import ExpertId
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.sleep.consolidation_data import ConsolidationData
from sleepgym_agents.sleep.dream_rewards import Dream, importance
from sleepgym_agents.sleep.dreamer import Dreamer, dreaming_with
from sleepgym_agents.sleep.episodes import Episodes, related_episodes
from sleepgym_agents.sleep.recall import RecallSettings
from sleepgym_agents.training.distillation import DistillationExample, score_with_teacher
from sleepgym_agents.training.qa_generation import Pair, generate_qa

KNOWN = 0.5  # probability of an answer that need not be learned


@dataclass(frozen=True)
class SamplingSettings(RecallSettings):
    """How dreams are sampled and chosen.

    Attributes:
        dreams: Chains sampled (``m``).
        dream_scenes: Parts in which they are sampled; each has its own random expert.
        associations: Most stories beside a text of the day.
        kept_by_importance: Dreams with the largest gradient that are tried (``k``).
        kept_at_random: Dreams tried besides (``b``).
        random_expert: Whether, while dreaming, one random expert speaks wherever any would.
        gradient_selection: Choose by gradient; otherwise all that are tried are random.
        quiz_items: Most questions of the quiz that a dream must help with.
    """

    dreams: Annotated[int, Ge(1)] = 48
    dream_scenes: Annotated[int, Ge(1)] = 2
    associations: Annotated[int, Ge(1)] = 4
    kept_by_importance: Annotated[int, Ge(0)] = 24
    kept_at_random: Annotated[int, Ge(0)] = 4
    random_expert: bool = True
    gradient_selection: bool = True
    quiz_items: Annotated[int, Ge(1)] = 24


def sample_dreams(
    memory: ExpertMemory,
    data: ConsolidationData,
    parts: Sequence[Sequence[int]],
    settings: SamplingSettings,
    rng: np.random.Generator,
    night: Night,
    dreamer: Dreamer | None = None,
) -> list[Dream]:
    """Let the bare self, or a dreamer, dream about the day beside what it brought back to mind.

    Returns:
        Chains of believable items; chains without any are left out.
    """
    lm = memory.lm
    settled = dream_contexts(lm, data.episodes, parts, settings.associations)
    found: list[Dream] = []
    for number in range(settings.dream_scenes):
        dealt = range(number, settings.dreams, settings.dream_scenes)
        if not lm.affords(night, generated=len(dealt) * settings.dream_tokens):
            break
        contexts = [settled[i % len(settled)] for i in dealt]
        seed = night.derive_seed("scene", number)
        with memory.masked(*memory.unlocked):
            with dreaming_with(lm, dreamer):
                written = _dream(memory, contexts, settings, rng, seed)
            for scene in range(len(settled)):
                own = [c for i, c in zip(dealt, written, strict=True) if i % len(settled) == scene]
                flat = sorted({pair for sample in own for pair in sample})
                taught = score_with_teacher(lm, flat, [i for part in settled[scene] for i in part])
                sure = {x.pair: x for x in taught if x.confidence >= settings.confidence}
                found += [[sure[pair] for pair in dict.fromkeys(c) if pair in sure] for c in own]
    return [sample for sample in found if sample]


def dream_contexts(
    lm: LanguageModel, episodes: Episodes, parts: Sequence[Sequence[int]], most: int
) -> list[list[Sequence[int]]]:
    """Each text of the day after the stories of names that it mentions; alone where none does.

    Where a text of the day has company, those that have none are left out.

    Args:
        lm: The language model.
        episodes: By name.
        parts: Token ids of the day's texts.
        most: Stories in a scene.
    """
    decode = lm.prompter.tokenizer.decode
    company = [related_episodes(decode(part), episodes)[:most] for part in parts]
    met = [
        [*(lm.prompter.document(Document(episode)) for episode in told), part]
        for told, part in zip(company, parts, strict=True)
        if told
    ]
    return met or [[part] for part in parts]


def split_known_and_new(
    memory: ExpertMemory, samples: Sequence[Dream]
) -> tuple[list[DistillationExample], set[Pair]]:
    """What of the dreams is known by heart already, as lessons of the self; what is not."""
    pairs = sorted({item.pair for sample in samples for item in sample})
    taught = score_with_teacher(memory.lm, pairs)
    known = [example for example in taught if example.confidence >= KNOWN]
    return known, set(pairs) - {example.pair for example in known}


def deduplicate(samples: Sequence[Dream]) -> list[Dream]:
    """The dreams that hold something, one of those that hold the same."""
    found: dict[frozenset[Pair], Dream] = {}
    for sample in samples:
        found.setdefault(frozenset(item.pair for item in sample), sample)
    return [sample for sample in found.values() if sample]


def build_quiz(
    data: ConsolidationData,
    samples: Sequence[Dream],
    settings: SamplingSettings,
    rng: np.random.Generator,
) -> list[DistillationExample]:
    """What was dreamt, three quarters of the quiz at most; lessons about the day."""
    said = {item.pair: item for sample in samples for item in sample}
    dreamt = list(said.values())
    old = [x for x in (*data.dreams, *data.recollections) if x.pair not in said]
    quiz = [dreamt[i] for i in rng.permutation(len(dreamt))[: settings.quiz_items * 3 // 4]]
    quiz += [old[i] for i in rng.permutation(len(old))]
    return quiz[: settings.quiz_items]


def select_dreams(
    memory: ExpertMemory,
    expert_id: ExpertId,
    samples: Sequence[Dream],
    settings: SamplingSettings,
    rng: np.random.Generator,
) -> list[Dream]:
    """The ``k`` most important dreams and ``b`` random others."""
    order = [int(i) for i in rng.permutation(len(samples))]
    if settings.gradient_selection:
        scores = importance(memory, expert_id, samples)
        ranked = sorted(order, key=lambda i: -scores[i])
        best = ranked[: settings.kept_by_importance]
        order = best + [i for i in order if i not in best]
    return [samples[i] for i in order[: settings.kept_by_importance + settings.kept_at_random]]


def _dream(
    memory: ExpertMemory,
    contexts: Sequence[Sequence[Sequence[int]]],
    settings: SamplingSettings,
    rng: np.random.Generator,
    seed: int,
) -> list[list[Pair]]:
    expert_ids = memory.unlocked
    if not settings.random_expert or not expert_ids:
        return generate_qa(memory.lm, contexts, tokens=settings.dream_tokens, seed=seed)
    with memory.force_active(expert_ids[int(rng.integers(len(expert_ids)))]):
        return generate_qa(memory.lm, contexts, tokens=settings.dream_tokens, seed=seed)
