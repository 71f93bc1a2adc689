"""Supervised training at night: examples, sequence packing, and one loop within the budget."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from annotated_types import Ge, Gt, Interval
from torch import Tensor
from transformers import get_linear_schedule_with_warmup

from sleepgym import Settings
from sleepgym.core.budget import Night
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.training.selected_logits import (
    is_large,
    logits_at,
    token_log_likelihoods,
)
from sleepgym_agents.training.training_step import Loss, Term, TrainingStep

PADDED_TOKENS = 32
PADDED_PLACES = 256
LOOK_STEPS = 16  # on a GPU, between two looks at losses


@dataclass(frozen=True)
class Example:
    """A token sequence to learn.

    Attributes:
        ids: Token ids.
        weights: How much predicting each token counts; 0 leaves it out of the loss.
    """

    ids: tuple[int, ...]
    weights: tuple[float, ...]

    @classmethod
    def joined(cls, *parts: tuple[Sequence[int], float]) -> Example:
        """One example from (token ids, weight of each) pairs."""
        ids = tuple(i for part, _ in parts for i in part)
        return cls(ids, tuple(weight for part, weight in parts for _ in part))


@dataclass(frozen=True)
class OptimiserSettings(Settings):
    """AdamW and its learning rate over a night's training: what :func:`optimise` reads.

    Attributes:
        learning_rate: Peak learning rate of AdamW.
        warmup_ratio: Share of the steps in which the learning rate rises linearly; then it falls
            linearly to 0.
        weight_decay: Decoupled weight decay of AdamW.
        max_gradient_norm: Gradients are clipped to this norm.
    """

    renamed: ClassVar[Mapping[str, str | None]] = {"warmup_share": "warmup_ratio"}

    learning_rate: Annotated[float, Gt(0)] = 1e-3
    warmup_ratio: Annotated[float, Interval(ge=0, le=1)] = 0.1
    weight_decay: Annotated[float, Ge(0)] = 0.0
    max_gradient_norm: Annotated[float, Gt(0)] = 1.0


@dataclass(frozen=True)
class BatchSettings(Settings):
    """How often and in what portions a night's examples are seen.

    Attributes:
        epochs: Passes over the night's examples.
        batch_size: Sequences of one optimiser step.
    """

    epochs: Annotated[int, Ge(1)] = 10
    batch_size: Annotated[int, Ge(1)] = 4


@dataclass(frozen=True)
class PackingSettings(BatchSettings):
    """How examples are packed into sequences: what :func:`plan` reads.

    Attributes:
        items_per_sequence: Examples packed into one sequence; one alone would teach the model to
            stop after its first answer.
        sequence_tokens: Longest sequence; longer documents are cut into pieces.
    """

    items_per_sequence: Annotated[int, Ge(1)] = 6
    sequence_tokens: Annotated[int, Ge(16)] = 512


@dataclass(frozen=True)
class TrainingSettings(PackingSettings, OptimiserSettings):
    """How a night's supervised training runs: packing, batches and optimiser."""


@dataclass(frozen=True)
class Batch:
    """Examples padded on the right.

    Attributes:
        ids: Token ids, (sequences, length).
        weights: Weight of predicting each token, (sequences, length); 0 on padding.
        tokens: Real tokens.
        places: Where a token that counts is predicted: indices into the flattened ``ids``.
    """

    ids: Tensor
    weights: Tensor
    tokens: int
    places: Tensor


def pack_sequences(
    examples: Sequence[Example],
    start: Sequence[int],
    rng: np.random.Generator,
    items: int,
    tokens: int,
) -> list[Example]:
    """Shuffle examples and pack several into each sequence.

    Args:
        examples: What to pack; those longer than ``tokens`` are cut into pieces.
        start: Token ids that open every sequence; never predicted.
        rng: Decides the order.
        items: Most examples in a sequence.
        tokens: Most tokens in a sequence, ``start`` aside.
    """
    pieces = [
        Example(e.ids[at : at + tokens], e.weights[at : at + tokens])
        for e in examples
        for at in range(0, len(e.ids), tokens)
    ]
    packed: list[list[Example]] = []
    room = count = 0
    for i in rng.permutation(len(pieces)):
        piece = pieces[i]
        if count == 0 or len(piece.ids) > room:
            packed.append([])
            room, count = tokens, items
        packed[-1].append(piece)
        room, count = room - len(piece.ids), count - 1
    return [Example.joined((start, 0.0), *_parts(group)) for group in packed]


def _parts(group: Sequence[Example]) -> list[tuple[Sequence[int], float]]:
    return [((i,), w) for e in group for i, w in zip(e.ids, e.weights, strict=True)]


def plan(
    lm: LanguageModel,
    examples: Sequence[Example],
    settings: PackingSettings,
    rng: np.random.Generator,
) -> list[list[Example]]:
    """The batches of a night: every epoch shuffles and packs anew."""
    tokens = min(settings.sequence_tokens, lm.max_tokens - len(lm.prompter.start))
    steps: list[list[Example]] = []
    for _ in range(settings.epochs):
        packed = pack_sequences(
            examples, lm.prompter.start, rng, settings.items_per_sequence, tokens
        )
        size = settings.batch_size
        steps.extend(packed[at : at + size] for at in range(0, len(packed), size))
    return steps


def padded_length(length: int, device: torch.device | str) -> int:
    """Length of a batch: as it is, or on a GPU rounded up, so that the same kernels serve again."""
    on_gpu = torch.device(device).type == "cuda"
    return -(-length // PADDED_TOKENS) * PADDED_TOKENS if on_gpu else length


def padded_places(count: int, device: torch.device | str) -> int:
    """How many places without weight to add to so many; none but on a GPU, for the same reason."""
    return -count % PADDED_PLACES if torch.device(device).type == "cuda" else 0


def collate(examples: Sequence[Example], device: torch.device | str) -> Batch:
    """Pad examples on the right to the longest."""
    length = padded_length(max(len(e.ids) for e in examples), device)
    ids = torch.tensor([[*e.ids, *[0] * (length - len(e.ids))] for e in examples])
    weights = torch.tensor([[*e.weights, *[0.0] * (length - len(e.ids))] for e in examples])
    places = torch.nn.functional.pad(weights[:, 1:], (0, 1)).flatten().nonzero()[:, 0]
    spare = padded_places(len(places), device)  # at the last token, which predicts none
    places = torch.cat([places, torch.full((spare,), length - 1)])
    tokens = sum(len(e.ids) for e in examples)
    return Batch(send(ids, device), send(weights, device), tokens, send(places, device))


def send(tensor: Tensor, device: torch.device | str) -> Tensor:
    """A tensor on the device, which is not waited for."""
    if torch.device(device).type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def cross_entropy(model: torch.nn.Module, batch: Batch) -> Tensor:
    """Weighted mean of the negative log-likelihood of each token.

    Padding stands on the right of causal sequences, so that no real token sees it: no mask needed.
    Of a large vocabulary, and on a GPU, logits are computed only where a token counts.
    """
    weights = batch.weights[:, 1:]
    if not is_large(model) and not batch.ids.is_cuda:
        logits = model(input_ids=batch.ids, use_cache=False).logits[:, :-1].float()
        losses = torch.nn.functional.cross_entropy(
            logits.transpose(1, 2), batch.ids[:, 1:], reduction="none"
        )
        return (losses * weights).sum() / weights.sum().clamp(min=1e-8)
    logits = logits_at(model, batch.ids, batch.places)
    wanted = torch.nn.functional.pad(batch.ids[:, 1:], (0, 1)).flatten()[batch.places]
    counted = torch.nn.functional.pad(weights, (0, 1)).flatten()[batch.places]
    losses = -token_log_likelihoods(logits, wanted)
    return (losses * counted).sum() / weights.sum().clamp(min=1e-8)


@contextmanager
def seeded_torch(seed: int, device: torch.device) -> Iterator[None]:
    """Within this context torch's global generators start from ``seed``: dropout draws from them.

    Afterwards they are as they were, so that no other part of a program is changed by a night.
    """
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def optimise(
    lm: LanguageModel,
    steps: Sequence[Sequence[Any]],
    settings: OptimiserSettings,
    night: Night,
    loss: Loss = cross_entropy,
    collate: Callable[[Any, torch.device], Any] = collate,
    parameters: Sequence[Tensor] | None = None,
    *,
    term: Callable[[Any], Term | None] | None = None,
    capture: bool = False,
) -> dict[str, float]:
    """Train what requires a gradient, one optimiser step a batch, within the night's budget.

    A loss or gradient that is not finite ends the night and restores the evening's weights. A step
    that the budget does not allow is not taken, nor any after it. Dropout is seeded from the night.

    Args:
        lm: Its parameters that require a gradient are trained.
        steps: The batches, in order.
        settings: Of AdamW and its schedule; epochs and packing are :func:`plan`'s.
        night: Its budget is asked before every step; its seed decides dropout.
        loss: From model and batch to a scalar.
        collate: From one of ``steps`` to a batch that knows its number of ``tokens``.
        parameters: What to train; None is all of the model that requires a gradient.
        term: From a batch to what its loss is changed by, None where by nothing.
        capture: Whether steps may be captured on a GPU, where the loss admits it
            (:class:`sleepgym_agents.training.training_step.TrainingStep`).

    Returns:
        What to log: ``steps``, ``loss`` (mean over the last tenth of the steps), and 1.0 under
        ``stopped_by_budget`` or ``nan_loss`` where that happened.
    """
    trainer = Trainer(lm, settings, loss, parameters, capture=capture)
    return trainer.train(steps, night, collate, term)


class Trainer:
    """AdamW and its steps, captured ones among them, for one training after the other.

    Each starts from the weights that it finds and from no memory of the one before. The arguments
    are those of :func:`optimise`.
    """

    def __init__(
        self,
        lm: LanguageModel,
        settings: OptimiserSettings,
        loss: Loss = cross_entropy,
        parameters: Sequence[Tensor] | None = None,
        *,
        capture: bool = False,
    ) -> None:
        if parameters is None:
            parameters = [p for p in lm.model.parameters() if p.requires_grad]
        self.lm, self.settings, self.parameters = lm, settings, parameters
        capture = capture and on_one_gpu(parameters) and not lm.spread
        on_gpu = lm.device.type == "cuda"
        rate: Any = settings.learning_rate
        self.optimiser = torch.optim.AdamW(
            parameters,
            lr=torch.tensor(rate, device=lm.device) if capture and on_gpu else rate,  # in the graph
            weight_decay=settings.weight_decay,
            fused=on_gpu,
            capturable=capture and on_gpu,
        )
        norm = settings.max_gradient_norm
        self.step = TrainingStep(lm, loss, parameters, self.optimiser, norm, capture)

    @property
    def is_small(self) -> bool:
        """Whether some copies of the parameters may stay beside them: a GPU needs its memory."""
        return sum(p.nbytes for p in self.parameters) < self.lm.memory_bytes // 16

    def train(
        self,
        steps: Sequence[Sequence[Any]],
        night: Night,
        collate: Callable[[Any, torch.device], Any] = collate,
        term: Callable[[Any], Term | None] | None = None,
    ) -> dict[str, float]:
        """What :func:`optimise` does."""
        lm, parameters = self.lm, self.parameters
        lm.release()
        small = self.is_small
        evening = [p.detach().to(p.device if small else "cpu", copy=True) for p in parameters]
        moments = [x for state in self.optimiser.state.values() for x in state.values()]
        if moments:
            torch._foreach_zero_(moments)  # in place: captured steps know their addresses
        warmup = int(self.settings.warmup_ratio * len(steps))
        schedule = get_linear_schedule_with_warmup(self.optimiser, warmup, len(steps))
        results = StepResults(1 if lm.device.type == "cpu" else LOOK_STEPS)
        log: dict[str, float] = {}
        trained = int(night.spent()["night_train_tokens"])  # a night may train more than once
        lm.model.train()
        try:
            with seeded_torch(night.derive_seed("dropout", trained), lm.device):
                for examples in steps:
                    batch = collate(examples, lm.device)
                    flops = 6 * lm.parameters * batch.tokens
                    if not night.allows(night_train_tokens=batch.tokens, night_flops=flops):
                        log["stopped_by_budget"] = 1.0
                        break
                    results.add(self.step(batch, term(batch) if term else None))
                    lm.meter.train_tokens += batch.tokens
                    lm.meter.flops += flops
                    if not results.finite():
                        break
                    schedule.step()
            if not results.finite(now=True):
                log["nan_loss"] = 1.0
                with torch.no_grad():
                    for parameter, before in zip(parameters, evening, strict=True):
                        parameter.copy_(before)
        finally:
            self.optimiser.zero_grad(set_to_none=True)
            lm.model.eval()
        losses = results.losses
        tail = losses[-max(1, len(losses) // 10) :]
        if tail:
            log["loss"] = sum(tail) / len(tail)
        return {"steps": float(len(losses)), **log}


class StepResults:
    """Losses and gradient norms of the steps taken, looked at every so many steps.

    To look is to wait for the device: a GPU would run dry after every step.

    Attributes:
        every: Steps between two looks.
        losses: Of the steps looked at, up to the first one that is not finite.
    """

    def __init__(self, every: int) -> None:
        self.every = every
        self.losses: list[float] = []
        self._unseen: list[Tensor] = []
        self._finite = True

    def add(self, result: Tensor) -> None:
        """Note loss and norm, (2,)."""
        self._unseen.append(result)

    def finite(self, now: bool = False) -> bool:
        """Whether all that was looked at is finite; looks if it is time, or ``now``."""
        if self._unseen and (now or len(self._unseen) >= self.every):
            for value, norm in torch.stack(self._unseen).tolist():
                self._finite = self._finite and math.isfinite(value + norm)
                if self._finite:
                    self.losses.append(value)
            self._unseen = []
        return self._finite


def on_one_gpu(parameters: Sequence[Tensor]) -> bool:
    """Whether all of them are on the same GPU."""
    return len({p.device for p in parameters}) == 1 and parameters[0].is_cuda


def learned(log: Mapping[str, float]) -> bool:
    """Whether the log of :func:`optimise` says that weights were changed for good."""
    return log.get("steps", 0) > 0 and "nan_loss" not in log
