"""The agent that teaches itself, without the day in its prompt, what it says with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Interval

from sleepgym import Night
from sleepgym.core.rng import derive_rng
from sleepgym_agents.baselines.self_study.self_study import SelfStudy, SelfStudySettings
from sleepgym_agents.training.distillation import (
    DistillationBatch,
    DistillationExample,
    distillation,
    make_collator,
    pack_examples,
    score_with_teacher,
)
from sleepgym_agents.training.divergence import Divergence
from sleepgym_agents.training.optimise import optimise
from sleepgym_agents.training.qa_generation import Pair


@dataclass(frozen=True)
class ContextDistillationSettings(SelfStudySettings):
    """Settings of :class:`ContextDistillation`.

    Attributes:
        packed: Dreams sampled about the day, each a chain of questions and answers.
        divergence: Of student from teacher: forward KL, reverse KL or Jensen-Shannon.
        beta: Share of the teacher in the Jensen-Shannon mixture.
        question_weight: How much predicting a question's tokens counts beside the answer's.
    """

    learning_rate: float = 5e-4
    epochs: int = 6
    divergence: Divergence = "forward"
    beta: Annotated[float, Interval(gt=0, lt=1)] = 0.5
    question_weight: Annotated[float, Ge(0)] = 0.0


class ContextDistillation(SelfStudy):
    """Distils the evening's self, which reads the day, into the morning's, which does not.

    Context distillation (Askell et al. 2021, section 2.2; Snell, Klein and Zhong 2022),
    off-policy: the model writes questions and answers with the day in its prompt (and takes what
    was practised); it notes its distribution over every token of the answers, the day still in the
    prompt; then it learns to have that distribution when the prompt is the question alone. The
    student is never shown a token of the day's documents.

    Departures:
        1. Snell et al. let the student's answer leave out the teacher's reasoning; the answers
           here are short and are distilled whole.
        2. Several items are chained into one sequence, so that the model does not learn to stop
           after one.
    """

    Config: ClassVar[type] = ContextDistillationSettings
    title: ClassVar[str] = "Context distillation"
    sources: ClassVar[str] = "Askell et al. 2021; Snell, Klein and Zhong 2022"
    checked: ClassVar[str] = (
        "property: the student's inputs hold no passage; targets equal a plain forward pass"
    )
    search_space: ClassVar[Mapping[str, Sequence[Any]]] = {
        "learning_rate": [2e-4, 5e-4, 1e-3, 2e-3],
        "epochs": [3, 6, 12],
        "batch_size": [2, 4, 8],
        "samples": [12, 24, 48],
        "rank": [0, 32],
    }

    def consolidate(self, items: Sequence[Pair], night: Night) -> dict[str, float]:
        """Train on the divergence from the teacher."""
        examples = self.examples(items, night)
        if not examples:
            return {"stopped_by_budget": 1.0}
        config = self.config

        def loss(model, batch: DistillationBatch):
            return distillation(model, batch, config.divergence, config.beta)

        collate = make_collator(self.lm, config.question_weight)
        return optimise(self.lm, self.steps(examples, night), config, night, loss, collate)

    def examples(self, items: Sequence[Pair], night: Night) -> list[DistillationExample]:
        """The items with the distribution of the self that has the day in its prompt."""
        context = [i for part in self.parts for i in part]
        prompter = self.lm.prompter
        read = len(context) + sum(len(prompter.demonstration(*pair)) for pair in items)
        return (
            score_with_teacher(self.lm, items, context) if self.lm.affords(night, read=read) else []
        )

    def steps(
        self, examples: Sequence[DistillationExample], night: Night
    ) -> list[list[list[DistillationExample]]]:
        """The batches of a night: every epoch chains and shuffles anew."""
        config = self.config
        rng = derive_rng(night.derive_seed("order"))
        tokens = min(config.sequence_tokens, self.lm.max_tokens - len(self.lm.prompter.start))
        steps: list[list[list[DistillationExample]]] = []
        for _ in range(config.epochs):
            packed = pack_examples(examples, rng, config.items_per_sequence, tokens)
            size = config.batch_size
            steps.extend(packed[at : at + size] for at in range(0, len(packed), size))
        return steps
