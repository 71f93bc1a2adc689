"""One night of sleep: what every stage works with, and how it asks the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sleepgym import Document, Night
from sleepgym_agents.experts.expert_memory import ExpertMemory
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.training.distillation import DistillationExample
from sleepgym_agents.training.dreamer import Dreamer
from sleepgym_agents.training.local_model import LocalModel
from sleepgym_agents.training.qa_generation import Pair

ANSWER_TOKENS = 32  # of an answer that is read out of a text


@dataclass(frozen=True)
class SleepContext:
    """One night: its budget and seed, the experts, and the day that they are to learn.

    Stages ask the model through it: :meth:`write_qa`, :meth:`answer`, :meth:`score` and
    :meth:`recite`, each by the model as it is, with the experts and adapters that are on.

    Attributes:
        night: Number, budget and seed of the night.
        memory: The language model with its experts.
        config: The agent's settings; a function that reads some of them names their class.
        parts: Token ids of each of the day's documents and demonstrations, in order.
        documents: The documents among them.
        practised: The day's practice questions with their right answers.
        dreamer: Adapter with which dreams are written; None where the model has none.
        stages: Train the night's expert one after the other on its training set.
    """

    night: Night
    memory: ExpertMemory
    config: Any
    parts: Sequence[Sequence[int]] = ()
    documents: Sequence[Document] = ()
    practised: Sequence[Pair] = ()
    dreamer: Dreamer | None = None
    stages: Sequence[Any] = ()

    @property
    def lm(self) -> LanguageModel:
        """The language model; experts are part of it."""
        return self.memory.lm

    @property
    def asked(self) -> LocalModel:
        """The language model as stages ask it."""
        return LocalModel(self.lm)

    @property
    def context_ids(self) -> list[int]:
        """Token ids of the whole day."""
        return [i for part in self.parts for i in part]

    def write_qa(
        self,
        contexts: Sequence[Sequence[Sequence[int]]],
        *names: str | int,
        opened: Sequence[Sequence[Sequence[int]]] | None = None,
    ) -> list[list[Pair]]:
        """One sample of questions and answers a context; none where the budget does not allow it.

        Args:
            contexts: Token ids of the texts that each sample is about.
            names: Of this use of the model within the night; its seed derives from them.
            opened: The texts that are open where answers are read; as ``contexts`` where None.
        """
        config, tokens = self.config, self.config.dream_tokens
        if not self.affords(len(contexts) * tokens):
            return []
        written = self.asked.write_qa(
            contexts,
            tokens=tokens,
            temperature=config.dream_temperature,
            seed=self.derive_seed(*names),
        )
        if config.dream_answers == "sampled":
            return written
        items = sum(map(len, written))
        if not self.affords(items * ANSWER_TOKENS):
            return []
        return self.asked.read_answers(opened or contexts, written, ANSWER_TOKENS)

    def answer(
        self, questions: Sequence[str], tokens: int, parts: Sequence[Sequence[int]] = ()
    ) -> list[str]:
        """Greedy answers of at most so many tokens, with ``parts`` in context."""
        return self.asked.answer(questions, tokens, parts)

    def score(
        self, pairs: Sequence[Pair], parts: Sequence[Sequence[int]] = ()
    ) -> list[DistillationExample]:
        """Questions and answers with the model's own targets, given ``parts`` in its context."""
        return self.asked.score(pairs, parts)

    def recite(self, pair: Pair) -> DistillationExample:
        """A question with an answer that is to be learned verbatim."""
        return self.asked.recite(pair)

    def affords(self, generated_tokens: int) -> bool:
        """Whether the budget allows to sample so many more tokens."""
        return self.lm.affords(self.night, generated=generated_tokens)

    def derive_seed(self, *names: str | int) -> int:
        """A seed for one use within this night."""
        return self.night.derive_seed(*names)

    def with_settings(self, **changes: Any) -> SleepContext:
        """The same night with some settings changed."""
        return replace(self, config=replace(self.config, **changes))
