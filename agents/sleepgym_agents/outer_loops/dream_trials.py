"""Trials of dreams: in a training stream, which of them help with the day's real exam?

The part of :mod:`sleepgym_agents.outer_loops.dreamer` that happens at night.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from sleepgym import Night
from sleepgym.core.rng import derive_rng
from sleepgym_agents.experts.routing import ExpertId
from sleepgym_agents.lm.generation import generate
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.sleep.consolidation_data import ConsolidationData
from sleepgym_agents.sleep.dream_rewards import exact_answers, reward
from sleepgym_agents.sleep.dream_sampling import select_dreams
from sleepgym_agents.sleep.dreamer import dreaming_with
from sleepgym_agents.sleep.dreaming import DreamingSettings
from sleepgym_agents.sleep.seeding import Seeding
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


class DreamTrials(Seeding):
    """``seeding`` in a training stream that tries dreams every night, before it learns the day.

    Attributes:
        exam: Questions of the day with their right answers; set before every night.
        trials: The night's dreams that were tried.
    """

    Config: ClassVar[type] = DreamingSettings

    def __init__(self, config: Any = None, *, seed: int = 0, model: str = "embedded") -> None:
        super().__init__(config, seed=seed, model=model)
        self.exam: Sequence[Pair] = ()
        self.trials: list[Trial] = []

    def learn(
        self, expert_id: ExpertId, material: ConsolidationData, night: Night
    ) -> dict[str, float]:
        """Try dreams on copies of the expert, then distil the day into it."""
        self.trials = self._try(expert_id, night)
        return super().learn(expert_id, material, night)

    def _try(self, expert_id: ExpertId, night: Night) -> list[Trial]:
        lm, config = self.lm, self.config
        start, context = lm.prompter.start, [i for part in self.parts for i in part]
        prompt = [*start, *context, *lm.prompter.dream]
        written = {}
        for ids in self._write(prompt, expert_id, night):
            items = [unread(lm, pair) for pair in parse_qa(lm.prompter, ids)]
            if items:
                written[tuple(ids)] = items
        exam = [unread(lm, pair) for pair in self.exam]
        if not written or not exam:
            return []
        rng = derive_rng(night.derive_seed("trials"))
        kept = select_dreams(self.memory, expert_id, list(written.values()), config, rng)
        text = {id(items): ids for ids, items in written.items()}
        gains = reward(
            self.memory,
            expert_id,
            kept,
            exam,
            steps=config.copy_steps,
            learning_rate=config.copy_learning_rate,
            night=night,
            measure=exact_answers,
        )
        asked = tuple(prompt[len(start) :])
        return [Trial(asked, text[id(x)], gain) for x, gain in zip(kept, gains, strict=True)]

    def _write(self, prompt: Sequence[int], expert_id: ExpertId, night: Night) -> list[list[int]]:
        """Chains about the day, as token ids; each scene's with another random expert."""
        memory, config = self.memory, self.config
        rng = derive_rng(night.derive_seed("random experts"))
        others = [p for p in memory.unlocked if p != expert_id]
        written: list[list[int]] = []
        with memory.masked(*memory.unlocked), dreaming_with(self.lm, self.dreamer):
            for scene in range(config.dream_scenes):
                prompts = [prompt] * len(range(scene, config.dreams, config.dream_scenes))
                seed = night.derive_seed("trial dreams", scene)
                if not prompts:
                    continue
                if not config.random_expert or not others:
                    written += write_samples(self.lm, prompts, config.dream_tokens, seed)
                    continue
                with memory.force_active(others[int(rng.integers(len(others)))]):
                    written += write_samples(self.lm, prompts, config.dream_tokens, seed)
        return written


def write_samples(
    lm: LanguageModel, prompts: Sequence[Sequence[int]], tokens: int, seed: int
) -> list[list[int]]:
    """What the model writes after each prompt at temperature 1, as token ids."""
    return generate(lm, prompts, tokens, temperature=1.0, seed=seed, stop_at_answer=False)


def unread(lm: LanguageModel, pair: Pair) -> DistillationExample:
    """A lesson without a teacher: only its own text can be learned from it."""
    asked = lm.prompter.question(pair[0])
    ids = (*asked, *lm.prompter.answer(pair[1]))
    nothing = torch.zeros(len(ids) - 1, 0, device=lm.device)
    return DistillationExample(pair, ids, len(asked), nothing, nothing.new_zeros(len(ids) - 1))
