"""What the agents have in common that turn their day into questions and learn from these."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Gt

from sleepgym import Document, Night, Question
from sleepgym.core.rng import derive_seed
from sleepgym_agents.baselines.in_context import InContext, InContextSettings
from sleepgym_agents.lm.checkpoints import add_lora, load_weights, named_weights, save_weights
from sleepgym_agents.training.optimise import TrainingSettings
from sleepgym_agents.training.qa_generation import Pair, generate_qa


@dataclass(frozen=True)
class SelfStudySettings(TrainingSettings, InContextSettings):
    """Settings of :class:`SelfStudy`.

    Attributes:
        samples: Dreams sampled about the day, each a chain of questions and answers.
        dream_tokens: Longest chain.
        rank: Rank of a LoRA adapter in every linear layer; 0 trains all weights.
        alpha: The adapter's output is scaled by ``alpha / rank``.
    """

    renamed: ClassVar[Mapping[str, str | None]] = {"chains": "samples"}

    samples: Annotated[int, Ge(1)] = 24
    dream_tokens: Annotated[int, Ge(8)] = 160
    rank: Annotated[int, Ge(0)] = 0
    alpha: Annotated[float, Gt(0)] = 64.0


class SelfStudy(InContext):
    """Reads in context by day; at night learns questions and answers about what it read.

    The items of a night are what was practised, and, where documents were studied, dreams: what
    the model asks and answers with the day in its context. Subclasses say how they are learned.
    The saved state is what was trained, all weights or the adapter; empty before that.

    Attributes:
        practised: The day's practised questions with their right answers.
        learned: Whether anything was ever trained.
    """

    Config: ClassVar[type] = SelfStudySettings

    def __init__(self, config: Any = None, *, seed: int = 0, model: str = "embedded") -> None:
        super().__init__(config, seed=seed, model=model)
        self.practised: list[Pair] = []
        self.studied = False
        self.learned = False

    @abstractmethod
    def consolidate(self, items: Sequence[Pair], night: Night) -> dict[str, float]:
        """Learn the night's items; return what to log, ``steps`` among it."""

    def study(self, documents: Sequence[Document]) -> None:
        """Read documents."""
        super().study(documents)
        self.studied |= bool(documents)

    def practice(self, questions: Sequence[Question], answers: Sequence[str]) -> None:
        """Read right answers and lay them by for the night."""
        super().practice(questions, answers)
        self.practised += [(q.text, answer) for q, answer in zip(questions, answers, strict=True)]

    def sleep(self, night: Night) -> Mapping[str, float]:
        """Learn the day's items, then forget its text."""
        items = self.items(night)
        log = {"items": float(len(items))}
        if items:
            self.prepare()
            log |= self.consolidate(items, night)
            self.learned |= log.get("steps", 0) > 0 and "nan_loss" not in log
        self.practised, self.studied = [], False
        return {**log, **super().sleep(night)}

    def items(self, night: Night) -> list[Pair]:
        """What was practised and what is dreamt about the day, each once."""
        pairs = dict.fromkeys(self.practised)
        if self.studied and self.parts:
            samples, tokens = self.config.samples, self.config.dream_tokens
            read = sum(map(len, self.parts)) + len(self.lm.prompter.dream)
            while samples and not self.lm.affords(
                night, read=read * samples, generated=tokens * samples
            ):
                samples -= 1
            written = generate_qa(
                self.lm, [self.parts] * samples, tokens=tokens, seed=night.derive_seed("dreams")
            )
            pairs.update(dict.fromkeys(pair for sample in written for pair in sample))
        return list(pairs)

    def prepare(self) -> None:
        """Make ready what is trained; called before training and before loading."""
        if self.config.rank and not self._adapter_size:
            add_lora(self.lm, self.config.rank, self.config.alpha, derive_seed(self.seed, "lora"))

    @property
    def added_parameters(self) -> int:
        """Parameters of the adapter; 0 without one, and before the first night with material."""
        return self._adapter_size if self.learned else 0

    def save(self, path: Path) -> None:
        """Write the weights, or the adapter."""
        if self.learned:
            save_weights(self.lm.model, path / "weights.safetensors", self._saved)

    def load(self, path: Path) -> None:
        """Read the weights, or the adapter."""
        if (path / "weights.safetensors").is_file():
            self.prepare()
            load_weights(self.lm.model, path / "weights.safetensors", self._saved)
            self.learned = True

    @property
    def _saved(self) -> str:
        return "lora_" if self.config.rank else ""

    @property
    def _adapter_size(self) -> int:
        return sum(p.numel() for p in named_weights(self.lm.model, "lora_").values())
