"""Pseudo-rehearsal: samples of what a model knows, kept in training by a KL divergence.

Generative rehearsal (Robins 1995, "Catastrophic forgetting, rehearsal and pseudorehearsal"): a
model that is about to be trained first generates text without any context. In training, the
divergence of its distribution over these sequences from that of the evening preserves what it knew.
Most of what a model writes without a context is made up; its own probability of an answer to the
question alone tells what it knows, and that is what is rehearsed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge, Gt
from torch import Tensor

from sleepgym import Settings
from sleepgym.core.budget import Night
from sleepgym.core.cost import Cost
from sleepgym.core.rng import derive_rng
from sleepgym_agents.lm.generation import generate
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.lm.prompts import Prompter
from sleepgym_agents.lm.scoring import score_continuations
from sleepgym_agents.training.divergence import divergence
from sleepgym_agents.training.optimise import Batch, Example, collate, cross_entropy, pack_sequences
from sleepgym_agents.training.qa_generation import parse_qa

MIN_CONFIDENCE = 0.5  # least probability of a generated answer that is rehearsed


@dataclass(frozen=True)
class RehearsalSettings(Settings):
    """How much a model rehearses.

    Attributes:
        rehearsed: Sequences sampled a night for rehearsal.
        rehearsed_tokens: Longest of them.
        rehearsed_batch: Rehearsed sequences in an optimiser step.
        rehearsal_weight: Weight of their KL divergence beside the loss on new material.
    """

    rehearsed: Annotated[int, Ge(1)] = 128
    rehearsed_tokens: Annotated[int, Ge(2)] = 128
    rehearsed_batch: Annotated[int, Ge(1)] = 6
    rehearsal_weight: Annotated[float, Gt(0)] = 4.0


@dataclass(frozen=True)
class RehearsalSample:
    """A sequence that the model generated, and its distributions there.

    Attributes:
        example: Token ids; weight 1 on generated tokens, 0 on the seed prompt.
        targets: Log-probabilities of every token but the first, (tokens - 1, vocabulary).
    """

    example: Example
    targets: Tensor


@dataclass(frozen=True)
class MixedBatch:
    """New material and rehearsed sequences.

    Attributes:
        new: What is to be learned.
        rehearsed: What is to be preserved.
        targets: The evening's log-probabilities, (sequences, length - 1, vocabulary).
        tokens: Real tokens of both.
    """

    new: Batch
    rehearsed: Batch
    targets: Tensor
    tokens: int


def estimate_rehearsal(settings: RehearsalSettings, nights: int, steps: float) -> Cost:
    """What rehearsal costs: samples, scores of what is kept of them, and its share of the steps.

    Args:
        settings: How much.
        nights: With training.
        steps: Optimiser steps of one night.
    """
    written = nights * settings.rehearsed * settings.rehearsed_tokens
    trained = nights * steps * settings.rehearsed_batch * settings.rehearsed_tokens
    return Cost(read=written, generated=written, trained=trained)


def seed_prompts(prompter: Prompter) -> list[list[int]]:
    """Prompts to generate from: the opening of a question, and of a document.

    A bare start token is not enough: what a model writes first is then dominated by what is
    hardest to predict in its training data, and questions about what it knows hardly come up.
    """
    form = prompter.format
    question = form.question.partition("{text}")[0]
    document = form.document.partition("{title}")[0]
    asks = form.dream_item is not None or form.dream.startswith(question)
    dream = form.dream if asks else form.dream + question
    found = [[*prompter.start, *prompter.encode(text)] for text in (dream, document)]
    return [ids for ids in found if ids]


def sample_unconditional(
    lm: LanguageModel, openings: Sequence[list[int]], count: int, tokens: int, night: Night
) -> list[Example]:
    """Generate without context, at temperature 1.

    Args:
        lm: The model as it is now.
        openings: Seed prompts, used in turn (see :func:`seed_prompts`).
        count: Sequences.
        tokens: Longest of them, the seed prompt aside.
        night: Its budget is asked first.

    Returns:
        The sequences, weight 1 on generated tokens; none where the budget does not allow all.
    """
    prompts = [openings[i % len(openings)] for i in range(count)]
    length = min(tokens, lm.max_tokens - max(map(len, openings)))
    read = sum(map(len, prompts))
    if not lm.affords(night, read=read, generated=count * length):
        return []
    seed = night.derive_seed("rehearsal")
    texts = generate(lm, prompts, length, temperature=1.0, seed=seed, stop_at_answer=False)
    pairs = zip(prompts, texts, strict=True)
    return [Example.joined((prompt, 0.0), (text, 1.0)) for prompt, text in pairs]


def sample_rehearsal(
    lm: LanguageModel, settings: RehearsalSettings, night: Night
) -> list[RehearsalSample]:
    """Let the model ask and answer itself without context; keep what it is confident of.

    Args:
        lm: The model as it is now: before the night's training.
        settings: How much.
        night: Its budget is asked first.

    Returns:
        Packed sequences of confident answers, with the model's distributions; the generated
        sequences as they are where it is confident of none; none where the budget does not allow
        all of them.
    """
    asking = seed_prompts(lm.prompter)[:1]
    count, tokens = settings.rehearsed, settings.rehearsed_tokens
    generated = sample_unconditional(lm, asking, count, tokens, night)
    if not lm.affords(night, read=2 * sum(len(example.ids) for example in generated)):
        return []
    rng = derive_rng(night.derive_seed("believed"))
    kept = filter_confident(lm, generated, rng, tokens) or generated
    return [RehearsalSample(example, _log_probabilities(lm, example)) for example in kept]


def filter_confident(
    lm: LanguageModel, generated: Sequence[Example], rng: np.random.Generator, tokens: int
) -> list[Example]:
    """Items whose answers the model is confident of, packed anew.

    Args:
        lm: The model that generated them.
        generated: Sequences that begin with the opening of a question.
        rng: Decides the order.
        tokens: Longest packed sequence.

    Returns:
        Packed questions with answers of a probability of at least :data:`MIN_CONFIDENCE` given the
        question alone; weight 1 on all but the opening.
    """
    prompter = lm.prompter
    skipped = len(prompter.start)
    found = {pair for e in generated for pair in parse_qa(prompter, e.ids[skipped:])}
    pairs = sorted(found)
    asked = [prompter.question(question) for question, _ in pairs]
    answers = [prompter.answer(answer) for _, answer in pairs]
    scored = score_continuations(lm, [[*prompter.start, *ids] for ids in asked], answers)
    items = [
        Example.joined((question, 1.0), (answer, 1.0))
        for question, answer, score in zip(asked, answers, scored, strict=True)
        if math.exp(sum(score.log_probabilities)) >= MIN_CONFIDENCE
    ]
    return pack_sequences(items, prompter.start, rng, len(items), tokens)


def _log_probabilities(lm: LanguageModel, example: Example) -> Tensor:
    *_, logits = lm.read([example.ids[:-1]], keep=len(example.ids) - 1)
    return logits[0].log_softmax(-1).clone()


def mix(
    steps: Sequence[Sequence[Example]],
    samples: Sequence[RehearsalSample],
    count: int,
    rng: np.random.Generator,
) -> list[tuple[Sequence[Example], list[RehearsalSample]]]:
    """Give every step its share of rehearsal; all samples are used before one is used again."""
    wanted = count * len(steps)
    rounds = -(-wanted // len(samples))
    order = [i for _ in range(rounds) for i in rng.permutation(len(samples))]
    return [
        (step, [samples[i] for i in order[k * count : (k + 1) * count]])
        for k, step in enumerate(steps)
    ]


def collate_mixed(
    step: tuple[Sequence[Example], Sequence[RehearsalSample]], device: torch.device | str
) -> MixedBatch:
    """One batch of a step that :func:`mix` made."""
    examples, samples = step
    new = collate(examples, device)
    rehearsed = collate([sample.example for sample in samples], device)
    targets = torch.nn.utils.rnn.pad_sequence([s.targets for s in samples], batch_first=True)
    return MixedBatch(new, rehearsed, targets, new.tokens + rehearsed.tokens)


def rehearsing(
    weight: float, loss: Callable[[torch.nn.Module, Batch], Tensor] = cross_entropy
) -> Callable[[torch.nn.Module, MixedBatch], Tensor]:
    """The loss on new material plus ``weight`` times the mean KL to the evening on rehearsal."""

    def mixed(model: torch.nn.Module, batch: MixedBatch) -> Tensor:
        logits = model(input_ids=batch.rehearsed.ids, use_cache=False).logits[:, :-1]
        counted = batch.rehearsed.weights[:, 1:] > 0
        student = logits[counted].float().log_softmax(-1)
        kept = divergence(batch.targets[counted], student, "forward").mean()
        return loss(model, batch.new) + weight * kept

    return mixed
