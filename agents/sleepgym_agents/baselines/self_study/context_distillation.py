"""The agent that distils its answers with the day in its prompt into itself without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge, Interval
from torch import Tensor

from sleepgym import Night
from sleepgym.core.cost import Cost, Scale
from sleepgym.core.rng import derive_rng
from sleepgym_agents.baselines.in_context import InContextSettings
from sleepgym_agents.baselines.self_study.self_study import (
    GenerationSettings,
    SelfStudy,
    estimate_generation,
    item_tokens,
)
from sleepgym_agents.baselines.trained_weights import OptionalLoraSettings, TrainedWeights
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.training.distillation import (
    DistillationBatch,
    DistillationExample,
    distillation,
    make_collator,
    pack_examples,
)
from sleepgym_agents.training.divergence import Divergence
from sleepgym_agents.training.local_model import LocalModel
from sleepgym_agents.training.optimise import PackingSettings, TrainingSettings, learned, optimise
from sleepgym_agents.training.qa_generation import Pair


@dataclass(frozen=True)
class DayDistillationSettings(TrainingSettings, GenerationSettings, InContextSettings):
    """How generated and practised items are distilled from the self that reads the day.

    Attributes:
        divergence: Of student from teacher: forward KL, reverse KL or Jensen-Shannon.
        beta: Share of the teacher in the Jensen-Shannon mixture.
        question_weight: How much predicting a question's tokens counts beside the answer's.
    """

    divergence: Divergence = "forward"
    beta: Annotated[float, Interval(gt=0, lt=1)] = 0.5
    question_weight: Annotated[float, Ge(0)] = 0.0


@dataclass(frozen=True)
class ContextDistillationSettings(OptionalLoraSettings, DayDistillationSettings):
    """Settings of :class:`ContextDistillation`."""

    learning_rate: float = 5e-4
    epochs: int = 6


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
        2. Several items are packed into one sequence, so that the model does not learn to stop
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

    def __init__(self, config: Any = None, *, seed: int = 0, model: str = "embedded") -> None:
        super().__init__(config, seed=seed, model=model)
        self.weights = TrainedWeights(self.lm, seed, self.config.rank, self.config.alpha)

    @classmethod
    def estimate(cls, config: Any, scale: Scale) -> Cost:
        """Q&A is generated, read by the teacher behind the day, and trained on."""
        return super().estimate(config, scale) + estimate_distillation(config, scale)

    def learn(self, items: Sequence[Pair], night: Night) -> dict[str, float]:
        """Train on the divergence from the teacher."""
        config = self.config
        self.weights.prepare()
        examples = score_with_day(self.lm, items, self.parts, night)
        if not examples:
            return {"stopped_by_budget": 1.0}

        def loss(model: torch.nn.Module, batch: DistillationBatch) -> Tensor:
            return distillation(model, batch, config.divergence, config.beta)

        steps = plan_distillation(self.lm, examples, config, night)
        collate = make_collator(self.lm, config.question_weight)
        log = optimise(self.lm, steps, config, night, loss, collate, capture=True)
        self.weights.learned |= learned(log)
        return log


def estimate_distillation(settings: DayDistillationSettings, scale: Scale) -> Cost:
    """What generating, scoring and learning the items of a stream costs."""
    items = item_tokens(settings, scale)
    read_and_trained = Cost(read=scale.day_tokens + items, trained=settings.epochs * items)
    return estimate_generation(settings, scale) + read_and_trained


def score_with_day(
    lm: LanguageModel, items: Sequence[Pair], parts: Sequence[Sequence[int]], night: Night
) -> list[DistillationExample]:
    """The items with the distributions of a teacher that has the day in its prompt.

    Args:
        lm: The teacher.
        items: Questions and answers.
        parts: Token ids of the day's documents and demonstrations.
        night: Its budget is asked first; none of the items where it does not allow all.
    """
    read = sum(map(len, parts)) + sum(len(lm.prompter.demonstration(*pair)) for pair in items)
    return LocalModel(lm).score(items, parts) if lm.affords(night, read=read) else []


def plan_distillation(
    lm: LanguageModel,
    examples: Sequence[DistillationExample],
    settings: PackingSettings,
    night: Night,
) -> list[list[list[DistillationExample]]]:
    """The batches of a night: every epoch shuffles and packs anew."""
    rng = derive_rng(night.derive_seed("order"))
    tokens = min(settings.sequence_tokens, lm.max_tokens - len(lm.prompter.start))
    steps: list[list[list[DistillationExample]]] = []
    for _ in range(settings.epochs):
        packed = pack_examples(examples, rng, settings.items_per_sequence, tokens)
        size = settings.batch_size
        steps.extend(packed[at : at + size] for at in range(0, len(packed), size))
    return steps
