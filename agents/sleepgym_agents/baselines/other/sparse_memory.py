"""The agent that trains those memory slots which the day uses more than other text does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge
from safetensors.torch import save_file
from torch import Tensor

from sleepgym import Night
from sleepgym.core.cost import Cost, Scale
from sleepgym.core.rng import derive_rng, derive_seed
from sleepgym_agents.baselines.finetuning.finetuning import Finetuning, FinetuningSettings
from sleepgym_agents.baselines.other.memory_layer import MemoryLayer, add_memories
from sleepgym_agents.lm.checkpoints import read_tensors
from sleepgym_agents.training.optimise import Example, learned, optimise, pack_sequences, plan
from sleepgym_agents.training.pseudo_rehearsal import sample_unconditional, seed_prompts

FILE = "memory.safetensors"
BACKGROUND_TOKENS = 128  # of a background sequence at most


@dataclass(frozen=True)
class SparseMemorySettings(FinetuningSettings):
    """Settings of :class:`SparseMemory`: those of the other fine-tuning agents, and the memory's.

    Attributes:
        layers: Feed-forward blocks that get a memory of their own, evenly spaced: one stands in the
            middle, and more than the model has stand for all.
        side: Sub-keys of each half of a key; a memory has ``side ** 2`` slots.
        heads: Queries of a token.
        reads: Slots that each query reads, ``side`` at most.
        night_slots: Slots of a memory that one night may train (t).
        birth_sequences: Sequences that the model samples before its first night: the background
            that the day is compared with.
    """

    learning_rate: float = 0.1
    batch_size: int = 1
    items_per_sequence: int = 2
    layers: Annotated[int, Ge(1)] = 4
    side: Annotated[int, Ge(2)] = 128
    heads: Annotated[int, Ge(1)] = 4
    reads: Annotated[int, Ge(1)] = 8
    night_slots: Annotated[int, Ge(1)] = 1024
    birth_sequences: Annotated[int, Ge(1)] = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reads > self.side:
            raise ValueError(f"reads={self.reads}: set it to side={self.side} or less")


class SparseMemory(Finetuning):
    """Trains the few memory slots that the day reads most, relative to other text.

    Sparse memory finetuning (Lin et al. 2025, arXiv:2510.15103) of a memory layer (Berges et al.
    2024, arXiv:2412.09764; product keys: Lample et al. 2019, arXiv:1907.05242). Each slot i gets
    the score ``c(i) / sum_j c(j) * log((|B| + 1) / (|{b in B: c_b(i) > 0}| + 1))``, where c counts
    how often the day's tokens read it, and c_b the tokens of background text b. The values of the
    ``night_slots`` highest are trained by the loss of the language model; keys, all other slots and
    the model stay as they are. The saved state is the values of all slots that were ever trained,
    the background's counts, and the mean and deviation of its queries.

    Departures:
        1. The paper's model is pretrained with a memory in place of one feed-forward block. Here
           several are added beside blocks of a pretrained model, each with slots of its own; values
           start at zero, projection and keys are random and stay so, queries are normalised by
           their mean and deviation over the background (the batch normalisation of Lample et al.),
           and there is no output gate, which would have to be pretrained.
        2. The background is text that the model samples before its first night; the paper's is
           1,000 batches of its pretraining data, which is not at hand.
        3. Slots are chosen once a night, on all of the day's text, not anew for every batch.
        4. AdamW over the chosen slots, whose moments begin anew every night; the paper uses SGD.
        5. The gradient passes through values alone: which slots a memory reads, and with what
           weights, counts as given, though memories below it may change that.

    Attributes:
        memories: Of each chosen block.
        background: Of each memory: how many background sequences read a slot, (slots,); None
            before the first night.
        trained: Of each memory: which slots were ever trained, boolean, (slots,).
    """

    Config: ClassVar[type] = SparseMemorySettings
    title: ClassVar[str] = "Sparse memory finetuning"
    sources: ClassVar[str] = "Lin et al. 2025, arXiv:2510.15103; memory layers: Berges et al. 2024"
    checked: ClassVar[str] = (
        "product keys equal brute force; scores by hand; unchosen slots byte-equal"
    )
    search_space: ClassVar[Mapping[str, Sequence[Any]]] = {
        "learning_rate": [0.03, 0.1, 0.3],
        "epochs": [5, 10, 20],
        "items_per_sequence": [1, 2, 6],
        "layers": [1, 4, 8],
        "reads": [4, 8, 16],
        "night_slots": [256, 1024, 4096],
    }

    def __init__(self, config: Any = None, *, seed: int = 0, model: str = "embedded") -> None:
        super().__init__(config, seed=seed, model=model)
        self.lm.model.requires_grad_(False)
        self.memories = add_memories(self.lm.model, self.config.layers, self._memory)
        passed = sum(memory.passed_parameters for memory in self.memories)
        self.lm.extra_parameters["memory"] = passed
        self.background: list[Tensor] | None = None
        self.trained = [torch.zeros(len(m.values), dtype=torch.bool) for m in self.memories]

    @classmethod
    def estimate(cls, config: Any, scale: Scale) -> Cost:
        """As fine-tuning; the background is sampled and read, and each day read once more."""
        background = config.birth_sequences * BACKGROUND_TOKENS
        added = Cost(read=background + scale.day_tokens, generated=background)
        return super().estimate(config, scale) + added

    def learn(self, examples: Sequence[Example], night: Night) -> dict[str, float]:
        """Choose slots by what the day reads, and train them."""
        chosen = self._choose(examples, night) if self._prepare(night) else None
        if chosen is None:
            return {"steps": 0.0, "stopped_by_budget": 1.0}
        for memory, slots in zip(self.memories, chosen, strict=True):
            memory.open(slots)
        steps = plan(self.lm, examples, self.config, derive_rng(night.derive_seed("order")))
        log = optimise(self.lm, steps, self.config, night)
        for memory, slots, trained in zip(self.memories, chosen, self.trained, strict=True):
            memory.close()
            trained[slots.cpu()] |= learned(log)
        return {**log, "slots": float(sum(map(len, chosen)))}

    @property
    def added_parameters(self) -> int:
        """Numbers of the memories: projections, keys and values; 0 before the first night."""
        return sum(p.numel() for m in self.memories for p in m.parameters()) * self._begun

    def save(self, path: Path) -> None:
        """Write what the background is like and the values that were trained."""
        if self.background is None:
            return
        tensors = {}
        for number, memory in enumerate(self.memories):
            slots = self.trained[number].nonzero()[:, 0]
            mine = {
                "background": self.background[number],
                "mean": memory.mean,
                "deviation": memory.deviation,
                "slots": slots,
                "values": memory.values[slots.to(memory.values.device)],
            }
            tensors |= {f"{number}.{n}": t.detach().contiguous().cpu() for n, t in mine.items()}
        save_file(tensors, path / FILE)

    @torch.no_grad()
    def load(self, path: Path) -> None:
        """Read what :meth:`save` wrote."""
        if not (path / FILE).is_file():
            return
        tensors = read_tensors(path / FILE)
        self.background = []
        for number, memory in enumerate(self.memories):
            mine = {n: tensors[f"{number}.{n}"] for n in ("background", "mean", "deviation")}
            self.background.append(mine["background"].to(memory.values.device))
            memory.mean.copy_(mine["mean"])
            memory.deviation.copy_(mine["deviation"])
            slots = tensors[f"{number}.slots"]
            memory.values.zero_()
            memory.values[slots.to(memory.values.device)] = tensors[f"{number}.values"].to(
                memory.values.device
            )
            self.trained[number].zero_()[slots] = True

    @property
    def _begun(self) -> bool:
        return self.background is not None

    def _memory(self, number: int) -> MemoryLayer:
        width = self.lm.model.config.get_text_config().hidden_size
        seed = derive_seed(self.seed, "memory", number) % 2**63
        generator = torch.Generator().manual_seed(seed)
        config = self.config
        return MemoryLayer(width, config.side, config.heads, config.reads, generator)

    def _prepare(self, night: Night) -> bool:
        """Sample and read the background, once; False where the budget does not allow it."""
        if self._begun:
            return True
        count, openings = self.config.birth_sequences, seed_prompts(self.lm.prompter)
        sampled = sample_unconditional(self.lm, openings, count, BACKGROUND_TOKENS, night)
        raw = self._queries(sampled, night) if sampled else None
        if raw is None:
            return False
        self.background = []
        for memory, texts in zip(self.memories, raw, strict=True):
            memory.fit(torch.cat(texts))
            self.background.append(torch.stack([memory.count(text) > 0 for text in texts]).sum(0))
        return True

    def _choose(self, examples: Sequence[Example], night: Night) -> list[Tensor] | None:
        """Of each memory the slots to train; None where the budget does not allow to read."""
        start, rng = self.lm.prompter.start, derive_rng(night.derive_seed("reading"))
        tokens = min(self.config.sequence_tokens, self.lm.max_tokens - len(start))
        raw = self._queries(pack_sequences(examples, start, rng, 1, tokens), night)
        if raw is None or self.background is None:
            return None
        chosen = []
        for memory, texts, background in zip(self.memories, raw, self.background, strict=True):
            counts = memory.count(torch.cat(texts))
            scores = slot_scores(counts, background, self.config.birth_sequences)
            chosen.append(best_slots(scores, self.config.night_slots))
        return chosen

    def _queries(self, texts: Sequence[Example], night: Night) -> list[list[Tensor]] | None:
        """Raw queries of each memory at each text's tokens; None where the budget forbids."""
        if not self.lm.affords(night, read=sum(len(text.ids) for text in texts)):
            return None
        for memory in self.memories:
            memory.seen = []
        for text in texts:
            self.lm.read([text.ids])
        found = [memory.seen or [] for memory in self.memories]
        for memory in self.memories:
            memory.seen = None
        return found


def slot_scores(counts: Tensor, background: Tensor, texts: int) -> Tensor:
    """TF-IDF of each slot: its share of the day's reads, times how rare it is in the background.

    Args:
        counts: How often the day's tokens read each slot, (slots,).
        background: How many background texts read it, (slots,).
        texts: Background texts.

    Returns:
        (slots,), at least 0; in double precision, so that order does not depend on the device.
    """
    share = counts.double() / counts.sum().clamp(min=1)
    return share * torch.log((texts + 1) / (background.double() + 1))


def best_slots(scores: Tensor, most: int) -> Tensor:
    """The slots of the highest scores above 0, ``most`` at most, ascending; of equals the first."""
    order = scores.sort(descending=True, stable=True).indices[:most]
    return order[scores[order] > 0].sort().values
