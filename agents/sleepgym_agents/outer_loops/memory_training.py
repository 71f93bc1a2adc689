"""Trains the memory of ``recurrent-memory``: a LoRA adapter and the first memory, by BPTT.

Recurrent Memory Transformer (Bulatov et al. 2022, arXiv:2207.06881), with the curriculum of Bulatov
et al. 2023 (arXiv:2304.11062): streams of one day, then of more. A sample is some days of a
training stream, read in segments, and questions about them that are answered behind the memory
alone; the gradient flows back through the segments.

Departures:
    1. The base model is frozen; a LoRA adapter learns beside the memory, where the papers train all
       weights.
    2. The loss is that of answers, and of repeating the last text; the papers predict every
       segment.
    3. Training begins where the memory is a window of the last tokens
       (:class:`~sleepgym_agents.baselines.long_context.memory_model.MemoryModel`). Three trials
       from answers alone, which began with a memory that said nothing, learned no use of it; one
       that was taught to spell the last tokens read learned that with the embedded model, and
       nothing with a real one: behind a memory that it does not understand, SmolLM2's answers begin
       at a loss of 10 instead of .03.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge, Gt
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from sleepgym import Night
from sleepgym.core.rng import derive_rng, derive_seed
from sleepgym.core.settings import plain
from sleepgym_agents.baselines.long_context.memory_model import MemoryModel, segments_of
from sleepgym_agents.baselines.long_context.trained_parts import TrainedPart, cached_file
from sleepgym_agents.lm.checkpoints import base_digest
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.outer_loops.lessons import (
    Ids,
    LessonStream,
    Pair,
    Progress,
    TrainingStreams,
    read_streams,
)
from sleepgym_agents.training.optimise import OptimiserSettings, optimise

AGENT = "recurrent-memory"
BASE_SHARE = 8  # of so many questions one is about what the base model knows
MEASURED = 16  # samples of each of them, of one question: another's answer gives nothing away
HELD_OUT = 10  # last seeds of the streams that are not trained on, but measured
SHIPPED_AS = torch.bfloat16


@dataclass(frozen=True)
class MemoryTraining(OptimiserSettings):
    """How the memory is trained.

    Attributes:
        memory_tokens: Memory tokens.
        span_tokens: Tokens of text that a memory token stands for.
        segment_tokens: Longest segment.
        rank: Rank of the adapter in every linear layer.
        alpha: The adapter's output is scaled by ``alpha / rank``.
        course: Days of a sample in each stage.
        steps: Optimiser steps of each stage.
        batch_size: Samples of a step.
        questions: Questions of a sample.
        repeated: Last texts of a sample that are to be repeated word by word, behind its questions.
        bptt_segments: Through how many of the last segments the gradient flows.
    """

    learning_rate: float = 2e-3
    memory_tokens: Annotated[int, Ge(1)] = 320
    span_tokens: Annotated[int, Ge(1)] = 2
    segment_tokens: Annotated[int, Ge(16)] = 128
    rank: Annotated[int, Ge(1)] = 16
    alpha: Annotated[float, Gt(0)] = 32.0
    course: tuple[Annotated[int, Ge(1)], ...] = (1, 2, 4, 8)
    steps: tuple[Annotated[int, Ge(1)], ...] = (180, 50, 20, 10)
    batch_size: Annotated[int, Ge(1)] = 8
    questions: Annotated[int, Ge(1)] = 8
    repeated: Annotated[int, Ge(0)] = 1
    bptt_segments: Annotated[int, Ge(1)] = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.course) != len(self.steps):
            raise ValueError(
                f"steps={self.steps}: name as many as there are stages, course={self.course}"
            )


@dataclass(frozen=True)
class MemoryCourse:
    """The training of a memory.

    Attributes:
        model: The base model.
        streams: What it is trained on; the last ten seeds are held out and measured.
        training: How.
        seed: Of the first values and of what is drawn.
    """

    model: str = "embedded"
    streams: TrainingStreams = field(default_factory=TrainingStreams)
    training: MemoryTraining = field(default_factory=MemoryTraining)
    seed: int = 0


@dataclass(frozen=True)
class MemoryBatch:
    """Samples of a step.

    Attributes:
        segments: Token ids of the n-th segment of each, (samples, length), padded on the right.
        real: Which of these are no padding; a row without any has no such segment.
        asked: Questions with answers, one after another, (samples, length).
        places: Indices into the flattened ``asked`` after which an answer's token comes.
        wanted: Those tokens.
        answers: Which answer of the batch each of them belongs to.
        repeats: Whether each of them is of a text that is repeated.
        tokens: Real tokens of all.
    """

    segments: tuple[Tensor, ...]
    real: tuple[Tensor, ...]
    asked: Tensor
    places: Tensor
    wanted: Tensor
    answers: Tensor
    repeats: Tensor
    tokens: int


@dataclass(frozen=True)
class Sample:
    """What is read and what is asked.

    Attributes:
        parts: Texts, in order.
        pairs: Questions with answers behind the memory.
        repeated: Texts that are to be repeated behind them.
    """

    parts: Sequence[Ids]
    pairs: Sequence[Pair]
    repeated: Sequence[Ids] = ()


def train_memory(
    course: MemoryCourse, progress: Progress | None = None
) -> tuple[TrainedPart, list[dict[str, float]]]:
    """Train, and write the part of ``recurrent-memory`` after every stage.

    Args:
        course: What and how.
        progress: Called after every stream read and every step with (done, in all, what).

    Returns:
        The part, and for every stage ``days``, ``steps``, ``loss``, and ``exact``: the share of
        questions about held-out streams of so many days that are answered exactly.
    """
    lm = LanguageModel.load(course.model)
    digest, settings = base_digest(lm.model), course.training
    memory = MemoryModel(
        lm,
        settings.memory_tokens,
        settings.rank,
        settings.alpha,
        settings.span_tokens,
        derive_seed(course.seed, AGENT),
    )
    lessons = read_streams(course.streams, lm.prompter, progress)
    held = course.streams.seeds[-HELD_OUT:] if len(course.streams.seeds) > HELD_OUT else ()
    count = len(course.streams.seeds)
    taught = [x for i, x in enumerate(lessons) if course.streams.seeds[i % count] not in held]
    tested = [x for i, x in enumerate(lessons) if course.streams.seeds[i % count] in held]
    log: list[dict[str, float]] = []
    for stage, (days, steps) in enumerate(zip(settings.course, settings.steps, strict=True)):
        rng = derive_rng(course.seed, AGENT, stage)
        samples = _Samples(
            memory, taught, settings, days, rng, progress, sum(settings.steps[:stage])
        )
        night = Night.unlimited(stage + 1, course.seed, lm.meter)
        trained = optimise(
            memory,
            range(steps),  # type: ignore[arg-type]  # steps draw their samples
            settings,
            night,
            partial(_loss, memory, settings.bptt_segments),
            samples.collate,
            list(memory.trained.values()),
        )
        memory.remember(memory.first_memory.detach())
        exact = measure_exact(memory, tested or taught, settings, days)
        log.append({"days": days, **trained, "exact": exact})
        part = TrainedPart(
            {n: p.detach().to(SHIPPED_AS) for n, p in memory.trained.items()},
            {"model": course.model, "base": digest, **plain(settings), "stages": log},
        )
        part.save(cached_file(AGENT, digest))
    return part, log


def answer_loss(memory: MemoryModel, batch: MemoryBatch, bptt_segments: int) -> Tensor:
    """Mean negative log-likelihood of the answers' tokens behind the memory, and of what is
    repeated: the two means are added.

    Args:
        memory: The model.
        batch: Samples.
        bptt_segments: Through how many of the last segments the gradient flows.
    """
    state = read_segments(memory, batch, bptt_segments)
    logits = memory.logits_behind(batch.asked, state, batch.places).float()
    losses = torch.nn.functional.cross_entropy(logits, batch.wanted, reduction="none")
    return sum(  # type: ignore[return-value]
        (losses * kind).sum() / kind.sum().clamp(min=1)
        for kind in (batch.repeats.logical_not(), batch.repeats)
    )


def read_segments(memory: MemoryModel, batch: MemoryBatch, bptt_segments: int) -> Tensor:
    """The memory behind all segments, (samples, tokens, width), with gradient through the last."""
    state = memory.first_memory.expand(len(batch.asked), -1, -1)
    for n, (ids, real) in enumerate(zip(batch.segments, batch.real, strict=True)):
        if n == len(batch.segments) - bptt_segments:
            state = state.detach()
        there = real.any(1)[:, None, None]
        following = _recomputed(memory.next_memory, ids, state, real)
        state = torch.where(there, following, state)
    return state


def _recomputed(function: Callable[..., Tensor], *given: Tensor) -> Tensor:
    """A function's value, whose inner values are computed again for the gradient, not kept."""
    if not torch.is_grad_enabled():
        return function(*given)
    return checkpoint(function, *given, use_reentrant=False)


def collate_samples(samples: Sequence[Sample], tokens: int, device: torch.device) -> MemoryBatch:
    """A batch of samples; those with fewer segments than others begin later.

    Args:
        samples: None without a question.
        tokens: Longest segment.
        device: Where to.
    """
    cut = [list(segments_of(sample.parts, tokens)) for sample in samples]
    most = max(map(len, cut))
    cut = [[[]] * (most - len(own)) + own for own in cut]
    columns = [_padded([own[n] for own in cut]) for n in range(most)]
    rows, places, answers, repeats, count = [], [], [], [], 0
    for sample in samples:
        row: list[int] = []
        pairs = [(*pair, False) for pair in sample.pairs]
        for asked, answer, repeated in (*pairs, *(((), text, True) for text in sample.repeated)):
            at = len(row) + len(asked) - 1
            places.append([(len(rows), at + i) for i in range(len(answer))])
            answers += [count] * len(answer)
            repeats += [repeated] * len(answer)
            row += [*asked, *answer]
            count += 1
        rows.append(row)
    asked, _ = _padded(rows)
    flat = torch.tensor([r * asked.shape[1] + at for own in places for r, at in own])
    wanted = asked.flatten()[flat + 1]
    real = sum(len(segment) for own in cut for segment in own) + sum(map(len, rows))
    return MemoryBatch(
        tuple(ids.to(device) for ids, _ in columns),
        tuple(real.to(device) for _, real in columns),
        asked.to(device),
        flat.to(device),
        wanted.to(device),
        torch.tensor(answers, device=device),
        torch.tensor(repeats, device=device),
        real,
    )


@torch.no_grad()
def measure_exact(
    memory: MemoryModel, lessons: Sequence[LessonStream], settings: MemoryTraining, days: int
) -> float:
    """Share of questions whose answer is the most likely one at every token, behind the memory."""
    rng = derive_rng(0, AGENT, "measure", days)
    hits: list[Tensor] = []
    for lesson in lessons:
        samples = [_draw(lesson, rng, days, 1, 0, 0) for _ in range(MEASURED)]
        samples = [sample for sample in samples if sample.pairs]
        if not samples:
            continue
        batch = collate_samples(samples, settings.segment_tokens, memory.device)
        state = read_segments(memory, batch, 1)
        logits = memory.logits_behind(batch.asked, state, batch.places)
        right = logits.argmax(-1) == batch.wanted
        exact = torch.ones(int(batch.answers.max()) + 1, device=memory.device)
        hits.append(exact.scatter_reduce(0, batch.answers, right.float(), "amin"))
    return float(torch.cat(hits).mean()) if hits else 0.0


def _loss(
    memory: MemoryModel, bptt_segments: int, _: torch.nn.Module, batch: MemoryBatch
) -> Tensor:
    return answer_loss(memory, batch, bptt_segments)


class _Samples:
    """Draws the samples of each step."""

    def __init__(
        self,
        memory: MemoryModel,
        lessons: Sequence[LessonStream],
        settings: MemoryTraining,
        days: int,
        rng: np.random.Generator,
        progress: Progress | None,
        before: int,
    ) -> None:
        self.memory, self.lessons, self.settings = memory, lessons, settings
        self.days, self.rng = days, rng
        self.progress, self.before = progress, before

    def collate(self, step: int, device: torch.device) -> MemoryBatch:
        settings, samples = self.settings, []
        while len(samples) < settings.batch_size:
            lesson = self.lessons[int(self.rng.integers(len(self.lessons)))]
            sample = _draw(
                lesson, self.rng, self.days, settings.questions, BASE_SHARE, settings.repeated
            )
            samples += [sample] if sample.pairs else []
        if self.progress:
            done, total = self.before + step + 1, sum(settings.steps)
            self.progress(done, total, f"training on streams of {self.days} days")
        return collate_samples(samples, settings.segment_tokens, device)


def _draw(
    lesson: LessonStream,
    rng: np.random.Generator,
    days: int,
    questions: int,
    base_share: int,
    repeated: int,
) -> Sample:
    """Some days of a stream, and questions about them; of so many one about the base world."""
    parts, pairs = lesson.window(rng, days)
    base = questions // base_share if base_share and lesson.base else 0
    chosen = [pairs[i] for i in rng.permutation(len(pairs))[: questions - base]]
    chosen += [lesson.base[i] for i in rng.permutation(len(lesson.base))[:base]]
    asked = [chosen[i] for i in rng.permutation(len(chosen))]
    return Sample(parts, asked, parts[len(parts) - repeated :] if repeated else ())


def _padded(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Token ids padded on the right, and which are real."""
    length = max(1, *map(len, rows)) if rows else 1
    ids = torch.tensor([[*row, *[0] * (length - len(row))] for row in rows], dtype=torch.long)
    sizes = torch.tensor([len(row) for row in rows])
    return ids, torch.arange(length) < sizes[:, None]
