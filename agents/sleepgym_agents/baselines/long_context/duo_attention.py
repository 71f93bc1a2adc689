"""The agent whose context is all it ever read, most heads keeping little of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge, Interval
from safetensors.torch import save_file
from torch import Tensor

from sleepgym import Document, Night, Question
from sleepgym.core.cost import Cost, Scale
from sleepgym.core.errors import BadSetting
from sleepgym.core.types import Introduction
from sleepgym_agents.baselines.base_agent import AnswerSettings, ModelAgent
from sleepgym_agents.baselines.long_context.duo_model import DuoModel, Window
from sleepgym_agents.baselines.long_context.trained_parts import trained_part
from sleepgym_agents.lm.checkpoints import read_tensors
from sleepgym_agents.lm.model import LanguageModel

AGENT = "duo-attention"
FILE = "cache.safetensors"


@dataclass(frozen=True)
class DuoAttentionSettings(AnswerSettings):
    """Settings of :class:`DuoAttention`.

    Attributes:
        context_tokens: Longest context, of all days together; of more the oldest tokens behind the
            sink go. Cut to half of the model's positions.
        retrieval_share: Share of all key-value heads that keep the whole context: those with the
            highest gates.
        sink_tokens: First tokens that streaming heads keep.
        recent_tokens: Latest tokens that streaming heads keep.
    """

    context_tokens: Annotated[int, Ge(1)] = 2048
    retrieval_share: Annotated[float, Interval(ge=0, le=1)] = 0.5
    sink_tokens: Annotated[int, Ge(1)] = 64
    recent_tokens: Annotated[int, Ge(1)] = 256


class DuoAttention(ModelAgent):
    """Reads all days into one context, of which only retrieval heads keep every key and value.

    DuoAttention (Xiao et al. 2024, arXiv:2410.10819): a few key-value heads (retrieval heads)
    attend to the whole context, the others (streaming heads) to its first and its latest tokens,
    and keep no others. Which is which was found once for a model: a gate a head mixes both kinds of
    attention, and is trained so that the last hidden states stay what they are with full attention
    while few gates are open; those most open are retrieval heads. The stream is one long context,
    as in the paper's use: nights change nothing, the next day is read behind the last, and the
    saved state is the keys and values, within ``context_tokens``. No text is kept.

    Departures:
        1. Beyond ``context_tokens`` retrieval heads drop the oldest tokens behind the sink, and
           later keys are turned to the positions that they move up to (as Xiao et al. 2024,
           arXiv:2309.17453, do for streaming heads): a stream has no end, and positions have.
        2. Gates are trained on texts of training streams with their questions, not on passkeys in a
           book: the embedded model reads no other text.
        3. Every token is read with its streaming heads masked, the first texts too; the reference
           code reads a first chunk with full attention.
        4. Demonstrations stand in the context beside documents, in the order they came.
    """

    Config: ClassVar[type] = DuoAttentionSettings
    title: ClassVar[str] = "DuoAttention"
    sources: ClassVar[str] = "Xiao et al. 2024, arXiv:2410.10819"
    checked: ClassVar[str] = (
        "streaming heads equal a mask by hand; all heads retrieval equals full attention; bytes"
    )
    search_space: ClassVar[Mapping[str, Sequence[Any]]] = {
        "context_tokens": [1024, 2048],
        "retrieval_share": [0.25, 0.5, 0.75],
        "sink_tokens": [16, 64],
        "recent_tokens": [64, 128, 256],
    }

    def __init__(self, config: Any = None, *, seed: int = 0, model: str = "embedded") -> None:
        super().__init__(config, seed=seed, model=model)
        window = Window(self.config.sink_tokens, self.config.recent_tokens)
        heads = retrieval_heads(gates_of(self.lm, model), self.config.retrieval_share)
        self.lm: DuoModel = DuoModel(self.lm, model, heads, window)
        self.limit = min(self.config.context_tokens, self.lm.max_tokens // 2)
        if self.limit < window.sink + window.recent:
            raise BadSetting(
                f"sink_tokens={window.sink}, recent_tokens={window.recent}: they must fit into a "
                f"context of {self.limit} tokens (context_tokens={self.config.context_tokens}, "
                f"half of the positions of model={model})"
            )

    def introduce(self, introduction: Introduction) -> None:
        """Let the context begin with the task's instruction and exemplars.

        Raises:
            BadSetting: If they leave no room in the context.
        """
        super().introduce(introduction)
        if len(self.lm.prompter.opening) > self.limit:
            raise BadSetting(
                f"context_tokens={self.limit}: instruction and exemplars take "
                f"{len(self.lm.prompter.opening)} tokens"
            )

    def study(self, documents: Sequence[Document]) -> None:
        """Read documents into the context."""
        for document in documents:
            self._read(self.lm.prompter.document(document))

    def practice(self, questions: Sequence[Question], answers: Sequence[str]) -> None:
        """Read questions with their right answers into the context."""
        for question, answer in zip(questions, answers, strict=True):
            self._read(self.lm.prompter.demonstration(question.text, answer))

    def sleep(self, night: Night) -> Mapping[str, float]:
        """Nothing to consolidate: the cache is kept as it is."""
        full, windowed = self.lm.cache_numbers
        return {
            "context_tokens": float(self.lm.tokens),
            "retrieval_numbers": float(full),
            "streaming_numbers": float(windowed),
        }

    @classmethod
    def estimate(cls, config: Any, scale: Scale) -> Cost:
        """Every question is read behind the cache; the day is read by day and for the night."""
        return super().estimate(config, scale) + Cost(read=2 * scale.day_tokens)

    @property
    def added_parameters(self) -> int:
        """Numbers in the cache."""
        return sum(self.lm.cache_numbers)

    def save(self, path: Path) -> None:
        """Write the keys and values."""
        if self.lm.tokens:
            tensors = {
                f"{kind}.{layer}.{name}": x.contiguous().cpu()
                for kind, layers in (("full", self.lm.full), ("windowed", self.lm.windowed))
                for layer, pair in enumerate(layers)
                for name, x in zip(("keys", "values"), pair, strict=True)
            }
            save_file({**tensors, "tokens": torch.tensor(self.lm.tokens)}, path / FILE)

    def load(self, path: Path) -> None:
        """Read the keys and values."""
        if (path / FILE).is_file():
            tensors = {n: x.to(self.lm.device) for n, x in read_tensors(path / FILE).items()}
            self.lm.tokens = int(tensors.pop("tokens"))
            self.lm.full, self.lm.windowed = (
                [
                    (tensors[f"{kind}.{layer}.keys"], tensors[f"{kind}.{layer}.values"])
                    for layer in range(len(self.lm.heads))
                ]
                for kind in ("full", "windowed")
            )

    def _read(self, ids: Sequence[int]) -> None:
        opening = () if self.lm.tokens else self.lm.prompter.opening
        self.lm.take_in([*opening, *ids], self.limit)

    def _prompt(self, question: Question, answer_tokens: int = 0) -> list[int]:
        ids = super()._prompt(question, answer_tokens)
        return ids[len(self.lm.prompter.opening) :] if self.lm.tokens else ids


def gates_of(lm: LanguageModel, model: str) -> Tensor:
    """The gates that were trained for a model, (layers, key-value heads); all open for scratch.

    Raises:
        MissingData: If none were.
    """
    part = trained_part(AGENT, model, lm)
    return head_gates(lm) if part is None else part.tensors["gates"].float()


def head_gates(lm: LanguageModel) -> Tensor:
    """Open gates, (layers, key-value heads): where training begins."""
    config = lm.model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    return torch.ones(config.num_hidden_layers, heads)


def retrieval_heads(gates: Tensor, share: float) -> Tensor:
    """The share of heads with the highest gates, boolean; of equal ones the first."""
    count = round(share * gates.numel())
    order = gates.flatten().argsort(descending=True, stable=True)
    chosen = torch.zeros(gates.numel(), dtype=torch.bool)
    chosen[order[:count]] = True
    return chosen.view(gates.shape)
