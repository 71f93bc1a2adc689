"""What every stage of a night of sleep works with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sleepgym import Document, Night
from sleepgym_agents.experts.expert_memory import ExpertMemory
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.sleep.dreamer import Dreamer
from sleepgym_agents.training.qa_generation import Pair


@dataclass(frozen=True)
class SleepContext:
    """One night: its budget and seed, the experts, and the day that they are to learn.

    Attributes:
        night: Number, budget and seed of the night.
        memory: The language model with its experts.
        config: The agent's settings; a function that reads some of them names their class.
        parts: Token ids of each of the day's documents and demonstrations, in order.
        documents: The documents among them.
        practised: The day's practice questions with their right answers.
        dreamer: Adapter with which dreams are written; None where the model has none.
    """

    night: Night
    memory: ExpertMemory
    config: Any
    parts: Sequence[Sequence[int]] = ()
    documents: Sequence[Document] = ()
    practised: Sequence[Pair] = ()
    dreamer: Dreamer | None = None

    @property
    def lm(self) -> LanguageModel:
        """The language model; experts are part of it."""
        return self.memory.lm

    @property
    def context_ids(self) -> list[int]:
        """Token ids of the whole day."""
        return joined(self.parts)

    def affords(self, generated_tokens: int) -> bool:
        """Whether the budget allows to sample so many more tokens."""
        return self.lm.affords(self.night, generated=generated_tokens)

    def derive_seed(self, *names: str | int) -> int:
        """A seed for one use within this night."""
        return self.night.derive_seed(*names)

    def with_settings(self, **changes: Any) -> SleepContext:
        """The same night with some settings changed."""
        return replace(self, config=replace(self.config, **changes))


def joined(parts: Sequence[Sequence[int]]) -> list[int]:
    """Token ids of several texts, one after the other."""
    return [i for part in parts for i in part]
