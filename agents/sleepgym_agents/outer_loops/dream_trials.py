"""Trials of dreams: in a training stream, which of them help with the day's real exam?

The part of :mod:`sleepgym_agents.outer_loops.dreamer` that happens at night.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from sleepgym.core.rng import derive_rng
from sleepgym_agents.experts.routing import ExpertId
from sleepgym_agents.lm.generation import generate
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.sleep.consolidation.consolidation_data import ConsolidationData
from sleepgym_agents.sleep.dream_rewards import exact_answers, reward
from sleepgym_agents.sleep.dream_sampling import select_dreams
from sleepgym_agents.sleep.paper_parts import writing_dreams
from sleepgym_agents.sleep.sleep_context import SleepContext
from sleepgym_agents.training.distillation import DistillationExample
from sleepgym_agents.training.qa_generation import Pair, parse_qa


@dataclass(frozen=True)
class Trial:
    """A dream that was tried.

    Attributes:
        prompt: Token ids of the day and the dream marker.
        ids: Token ids of the dream, as it was written.
        gain: Change of the share of the day's exam that is answered exactly.
    """

    prompt: tuple[int, ...]
    ids: tuple[int, ...]
    gain: float


class DreamTrials:
    """A stage of the night that tries dreams on copies of the expert, and learns nothing.

    It goes before the stages of an agent in a training stream; the agent's settings are
    :class:`sleepgym_agents.sleep.dreaming.DreamingSettings`.

    Attributes:
        exam: Questions of the day with their right answers; set before every night.
        trials: The night's dreams that were tried.
    """

    def __init__(self, exam: Sequence[Pair] = ()) -> None:
        self.exam = exam
        self.trials: list[Trial] = []

    def __call__(
        self, context: SleepContext, expert_id: ExpertId, data: ConsolidationData | None = None
    ) -> dict[str, float]:
        """Write dreams about the day, and try the selected ones with the day's exam."""
        self.trials = []
        lm, start = context.lm, context.lm.prompter.start
        prompt = [*start, *context.context_ids, *lm.prompter.dream]
        written = {}
        for ids in write_dreams(context, prompt, expert_id):
            items = [untaught_example(lm, pair) for pair in parse_qa(lm.prompter, ids)]
            if items:
                written[tuple(ids)] = items
        exam = [untaught_example(lm, pair) for pair in self.exam]
        if not written or not exam:
            return {}
        rng = derive_rng(context.derive_seed("trials"))
        kept = select_dreams(context, expert_id, list(written.values()), rng)
        text = {id(items): ids for ids, items in written.items()}
        gains = reward(context, expert_id, kept, exam, exact_answers)
        asked = tuple(prompt[len(start) :])
        self.trials = [Trial(asked, text[id(x)], gain) for x, gain in zip(kept, gains, strict=True)]
        return {}


def write_dreams(
    context: SleepContext, prompt: Sequence[int], expert_id: ExpertId
) -> list[list[int]]:
    """Dreams about the day, as token ids; each scene's with another random older expert."""
    memory, config = context.memory, context.config
    rng = derive_rng(context.derive_seed("random experts"))
    others = [other for other in memory.unlocked if other != expert_id]
    experts = others if config.random_expert else ()
    written: list[list[int]] = []
    for scene in range(config.dream_scenes):
        prompts = [prompt] * len(range(scene, config.dreams, config.dream_scenes))
        seed = context.derive_seed("trial dreams", scene)
        if prompts:
            with writing_dreams(context, experts, rng):
                written += write_samples(context.lm, prompts, config.dream_tokens, seed)
    return written


def write_samples(
    lm: LanguageModel, prompts: Sequence[Sequence[int]], tokens: int, seed: int
) -> list[list[int]]:
    """Continuations of each prompt at temperature 1, as token ids."""
    return generate(lm, prompts, tokens, temperature=1.0, seed=seed, stop_at_answer=False)


def untaught_example(lm: LanguageModel, pair: Pair) -> DistillationExample:
    """An example without a teacher's targets: only its own text can be learned from it."""
    asked = lm.prompter.question(pair[0])
    ids = (*asked, *lm.prompter.answer(pair[1]))
    nothing = torch.zeros(len(ids) - 1, 0, device=lm.device)
    return DistillationExample(pair, ids, len(asked), nothing, nothing.new_zeros(len(ids) - 1))
