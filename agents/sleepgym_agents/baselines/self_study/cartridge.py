"""The agent that keeps each day as a short trained prefix of keys and values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import DynamicCache

from sleepgym import Night, Question
from sleepgym.core.cost import Cost, Scale
from sleepgym_agents.baselines.self_study.context_distillation import (
    DayDistillationSettings,
    estimate_distillation,
    plan_distillation,
    score_with_day,
)
from sleepgym_agents.baselines.self_study.self_study import SelfStudy
from sleepgym_agents.lm.attention import Segment
from sleepgym_agents.lm.checkpoints import read_tensors
from sleepgym_agents.lm.kv_cache import cache_argument
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.training.distillation import (
    DistillationBatch,
    make_collator,
    weighted_divergence,
)
from sleepgym_agents.training.optimise import learned, optimise
from sleepgym_agents.training.qa_generation import Pair
from sleepgym_agents.training.selected_logits import logits_at


@dataclass(frozen=True)
class CartridgeSettings(DayDistillationSettings):
    """Settings of :class:`Cartridge`.

    Attributes:
        day_tokens: Longest prefix of one day.
        total_tokens: Longest prefix of all days; the oldest day goes first.
    """

    renamed: ClassVar[Mapping[str, str | None]] = {"rank": None, "alpha": None}

    learning_rate: float = 4e-3
    epochs: int = 8
    batch_size: int = 2
    day_tokens: Annotated[int, Ge(1)] = 192
    total_tokens: Annotated[int, Ge(1)] = 1536


class Prefix(nn.Module):
    """Keys and values of one day: (layers, heads, tokens, size) each, at rest frozen.

    In single precision, as everything that is trained; the model reads them in its own.
    """

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()
        self.keys = nn.Parameter(keys, requires_grad=False)
        self.values = nn.Parameter(values, requires_grad=False)

    @property
    def tokens(self) -> int:
        """How many tokens the prefix stands for."""
        return self.keys.shape[2]


class PrefixedModel(LanguageModel):
    """A language model that attends to prefixes before everything it reads.

    Attributes:
        prefixes: Those of the days, oldest first; part of the model's parameters.
        sink: Keys and values of the start marker, which stands before the first prefix.
        first: Position of the first token after the prefixes.
        bare: Whether the prefixes are hidden for now.
    """

    def __init__(self, lm: LanguageModel) -> None:
        super().__init__(lm.model, lm.prompter, lm.meter)
        self.prefixes = nn.ModuleList()
        self.first = 0
        self.sink: Segment | None = None
        self.bare = True
        lm.model.requires_grad_(False)
        lm.model.add_module("cartridge", self.prefixes)
        self.decoding_key = lambda: (self.bare, self.first, len(self.prefixes))

    def forward(
        self,
        ids: Tensor,
        positions: Tensor,
        mask: Tensor,
        *,
        segments: Sequence[Segment] = (),
        **options: Any,
    ) -> Tensor:
        """As :meth:`LanguageModel.forward`, behind the prefixes."""
        if not self.bare:
            segments = (self.segment(), *segments)
            positions = positions + self.first
        return super().forward(ids, positions, mask, segments=segments, **options)

    @contextmanager
    def without_prefixes(self) -> Iterator[None]:
        """Within this context the prefixes are hidden."""
        before, self.bare = self.bare, True
        try:
            yield
        finally:
            self.bare = before

    def grow(self, ids: Sequence[int]) -> Prefix:
        """Add the keys and values of a text, read behind the prefixes, as one more."""
        start = self.prompter.start
        if self.bare:
            read = self.read([[*start, *ids]])[0]
            self.first, skipped = len(start), len(start)
        else:
            read, skipped = self.read([ids])[0], 0
        keys, values = (torch.cat([layer[i] for layer in read.layers]) for i in (0, 1))
        prefix = Prefix(*(x[:, :, skipped:].clone().float() for x in (keys, values)))
        self.add(prefix)
        self.first += len(ids)
        return prefix

    def add(self, prefix: Prefix) -> None:
        """Add a prefix behind the others."""
        self.prefixes.append(prefix)
        self.bare = False

    def drop(self, index: int) -> None:
        """Take a prefix away; the others keep their positions."""
        del self.prefixes[index]
        self.bare = not self.prefixes

    def segment(self) -> Segment:
        """Start marker and prefixes as one segment."""
        start = self.prompter.start
        if self.sink is None and start:
            with self.without_prefixes():
                self.sink = self.read([start])[0]
        layers, dtype = [], self.model.dtype
        for layer in range(len(self.prefixes[0].keys)):
            keys = [prefix.keys[layer : layer + 1].to(dtype) for prefix in self.prefixes]
            values = [prefix.values[layer : layer + 1].to(dtype) for prefix in self.prefixes]
            if self.sink is not None:
                keys.insert(0, self.sink.layers[layer][0].clone())
                values.insert(0, self.sink.layers[layer][1].clone())
            layers.append((torch.cat(keys, 2), torch.cat(values, 2)))
        return Segment(tuple(layers))

    def behind_prefixes(self, ids: Tensor, places: Tensor) -> Tensor:
        """Logits at some places of a batch, with gradient into the prefixes.

        Args:
            ids: Token ids, (batch, length).
            places: Indices into the flattened ``ids``.

        Returns:
            (places, vocabulary).
        """
        cache = DynamicCache()
        for layer, (keys, values) in enumerate(self.segment().layers):
            shape = (len(ids), -1, -1, -1)
            cache.update(keys.expand(shape), values.expand(shape), layer)
        positions = torch.arange(ids.shape[1], device=ids.device)[None] + self.first
        behind = {"position_ids": positions, cache_argument(self.model): cache, "use_cache": True}
        return logits_at(self.model, ids, places, **behind)


class Cartridge(SelfStudy):
    """Compresses every day into a trained prefix of keys and values; no weight is touched.

    Cartridges (Eyuboglu et al. 2025, arXiv:2506.06266): a prefix of keys and values is initialised
    from the first tokens of the text and trained by self-study: the model writes questions and
    answers about the text, and the prefix learns by context distillation, so that the frozen model
    with the prefix predicts what it predicts with the text. The key and value of the start marker,
    an attention sink, are not trained. The saved state is the prefixes.

    Departures:
        1. A stream: every day adds a prefix behind those of earlier days, which stay as they are
           and are read while the new one is trained; beyond ``total_tokens`` the oldest go whole.
        2. What was practised is learned beside the generated Q&A.
    """

    Config: ClassVar[type] = CartridgeSettings
    title: ClassVar[str] = "Cartridges"
    sources: ClassVar[str] = "Eyuboglu et al. 2025, arXiv:2506.06266"
    checked: ClassVar[str] = (
        "an untrained prefix equals the text in context; the base bit-equal; bytes"
    )
    search_space: ClassVar[Mapping[str, Sequence[Any]]] = {
        "learning_rate": [2e-3, 4e-3, 1e-2],
        "epochs": [4, 8, 16],
        "batch_size": [2, 4],
        "samples": [12, 24, 48],
        "day_tokens": [96, 192],
    }

    def __init__(self, config: Any = None, *, seed: int = 0, model: str = "embedded") -> None:
        super().__init__(config, seed=seed, model=model)
        self.lm: PrefixedModel = PrefixedModel(self.lm)

    def items(self, night: Night) -> list[Pair]:
        """What was practised and generated Q&A about the day, the prefixes hidden."""
        with self.lm.without_prefixes():
            return super().items(night)

    @classmethod
    def estimate(cls, config: Any, scale: Scale) -> Cost:
        """As context distillation."""
        return super().estimate(config, scale) + estimate_distillation(config, scale)

    def learn(self, items: Sequence[Pair], night: Night) -> dict[str, float]:
        """Add a prefix of the day and train it."""
        lm, config = self.lm, self.config
        text = [i for part in self.parts for i in part][: config.day_tokens]
        with lm.without_prefixes():
            examples = score_with_day(lm, items, self.parts, night)
        if not examples or not text or not lm.affords(night, read=len(text)):
            return {"stopped_by_budget": 1.0}
        newest = lm.grow(text)
        newest.requires_grad_(True)
        begin = len(lm.prompter.start)  # it stands before the prefixes already

        def loss(model: nn.Module, batch: DistillationBatch) -> Tensor:
            length = batch.ids.shape[1]
            positions = batch.positions - begin * (batch.positions // length + 1)
            logits = lm.behind_prefixes(batch.ids[:, begin:], positions)
            return weighted_divergence(logits, batch, config.divergence, config.beta)

        collate = make_collator(lm, config.question_weight)
        steps = plan_distillation(lm, examples, config, night)
        log = optimise(lm, steps, config, night, loss, collate, capture=True)
        newest.requires_grad_(False)
        if not learned(log):
            lm.drop(-1)
        while sum(prefix.tokens for prefix in lm.prefixes) > config.total_tokens:
            lm.drop(0)
        return {**log, "prefix_tokens": float(sum(prefix.tokens for prefix in lm.prefixes))}

    @property
    def added_parameters(self) -> int:
        """Numbers in the prefixes."""
        return sum(p.numel() for p in self.lm.prefixes.parameters())

    def save(self, path: Path) -> None:
        """Write the prefixes."""
        if self.lm.prefixes:
            tensors = {n: p.contiguous().cpu() for n, p in self.lm.prefixes.named_parameters()}
            tensors["first"] = torch.tensor(self.lm.first)
            save_file(tensors, path / "prefixes.safetensors")

    def load(self, path: Path) -> None:
        """Read the prefixes."""
        if (path / "prefixes.safetensors").is_file():
            tensors = read_tensors(path / "prefixes.safetensors")
            for number in range(len(tensors) // 2):
                pair = (tensors[f"{number}.{name}"] for name in ("keys", "values"))
                self.lm.add(Prefix(*(tensor.to(self.lm.device) for tensor in pair)))
            self.lm.first = int(tensors["first"])

    def _prompt(self, question: Question, answer_tokens: int = 0) -> list[int]:
        ids = super()._prompt(question, answer_tokens)
        start = self.lm.prompter.start
        standing = not self.lm.bare and ids[: len(start)] == start
        return ids[len(start) :] if standing else ids
