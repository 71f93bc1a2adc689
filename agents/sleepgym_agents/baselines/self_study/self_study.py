"""What the agents have in common that turn their day into questions and learn from these."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from annotated_types import Ge

from sleepgym import Document, Night, Question, Settings
from sleepgym.core.cost import DISTINCT, Cost, Scale
from sleepgym_agents.baselines.in_context import InContext
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.training.local_model import LocalModel
from sleepgym_agents.training.qa_generation import Pair, dream_counts


@dataclass(frozen=True)
class GenerationSettings(Settings):
    """How much the model asks and answers itself about its day.

    Attributes:
        samples: Samples of questions and answers about the day.
        dream_tokens: Longest of them.
    """

    renamed: ClassVar[Mapping[str, str | None]] = {"chains": "samples"}

    samples: Annotated[int, Ge(1)] = 24
    dream_tokens: Annotated[int, Ge(8)] = 160


class SelfStudy(InContext):
    """Reads in context by day; at night learns questions and answers about what it read.

    Subclasses say what the items of a night are, and how they are learned.

    Attributes:
        practised: The day's practised questions with their right answers.
        studied: Whether the day had documents.
        written: What the night's log says about its samples of questions and answers.
    """

    def __init__(self, config: Any = None, *, seed: int = 0, model: str = "embedded") -> None:
        super().__init__(config, seed=seed, model=model)
        self.practised: list[Pair] = []
        self.studied = False
        self.written: dict[str, float] = {}

    @abstractmethod
    def learn(self, items: Sequence[Pair], night: Night) -> dict[str, float]:
        """Learn the night's items, at least one; return what to log."""

    def study(self, documents: Sequence[Document]) -> None:
        """Read documents."""
        super().study(documents)
        self.studied |= bool(documents)

    def practice(self, questions: Sequence[Question], answers: Sequence[str]) -> None:
        """Read right answers and keep them for the night."""
        super().practice(questions, answers)
        self.practised += [(q.text, answer) for q, answer in zip(questions, answers, strict=True)]

    def sleep(self, night: Night) -> Mapping[str, float]:
        """Learn the day's items, then forget its text."""
        self.written = {}
        items = self.items(night)
        log = {"items": float(len(items)), **self.written}
        if items:
            log |= self.learn(items, night)
        self.practised, self.studied = [], False
        self.forget()
        return log

    def items(self, night: Night) -> list[Pair]:
        """What to learn, each once: what was practised, and generated Q&A about documents."""
        pairs = dict.fromkeys(self.practised)
        if self.studied and self.parts:
            samples = generate_about(self.lm, self.parts, self.config, night)
            if samples:
                text = self.lm.prompter.tokenizer.decode([i for part in self.parts for i in part])
                self.written = dream_counts(samples, text)
            pairs.update(dict.fromkeys(pair for sample in samples for pair in sample))
        return list(pairs)


def generate_about(
    lm: LanguageModel,
    parts: Sequence[Sequence[int]],
    settings: GenerationSettings,
    night: Night,
) -> list[list[Pair]]:
    """Samples of questions and answers that the model writes with the day in its context.

    Args:
        lm: The model.
        parts: Token ids of the day's documents and demonstrations.
        settings: How much, at most: as many samples as the budget allows.
        night: Its budget and seed.
    """
    samples, tokens = settings.samples, settings.dream_tokens
    read = len(lm.prompter.dream_prompt(parts)) - len(lm.prompter.start)
    while samples and not lm.affords(night, read=read * samples, generated=tokens * samples):
        samples -= 1
    seed = night.derive_seed("dreams")
    return LocalModel(lm).write_qa([parts] * samples, tokens=tokens, seed=seed)


def estimate_generation(settings: GenerationSettings, scale: Scale) -> Cost:
    """What :func:`generate_about` costs in a stream: none of it on days without documents."""
    written = scale.days * settings.samples * settings.dream_tokens if scale.documents else 0
    return Cost(scale.day_tokens, written)


def item_tokens(settings: GenerationSettings, scale: Scale) -> float:
    """Tokens of the different questions with answers of all nights, generated and practised."""
    practised = scale.practised * scale.item_tokens
    return DISTINCT * estimate_generation(settings, scale).generated + practised
