"""Finds the retrieval heads of ``duo-attention``: trains a gate a key-value head.

DuoAttention (Xiao et al. 2024, arXiv:2410.10819), section 2.2: every head's output is its gate's
share of full attention and the rest of the window's. With the model frozen the gates, all 1 at
first, are trained so that the last hidden states at the questions and answers behind a text stay
those of full attention, plus an L1 penalty on the gates; learning rate 0.02 and penalty 0.05 are
the paper's.

Departures:
    1. The texts are days of training streams and the questions are theirs; the paper hides ten
       passkeys of 32 words in a book. Sequences have a thousand tokens, not up to 32,000.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor

from sleepgym import Settings
from sleepgym.core.rng import derive_rng
from sleepgym.core.settings import plain
from sleepgym_agents.baselines.long_context.duo_attention import AGENT, head_gates
from sleepgym_agents.baselines.long_context.duo_model import GATED, Window
from sleepgym_agents.baselines.long_context.trained_parts import TrainedPart, cached_file
from sleepgym_agents.lm.attention import hidden_value, segment_attention
from sleepgym_agents.lm.checkpoints import base_digest
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.outer_loops.lessons import (
    Ids,
    Pair,
    Progress,
    TrainingStreams,
    read_streams,
)
from sleepgym_agents.training.selected_logits import states_before_head

WARMUP = 5  # the first and the last fifth of the steps have a lower learning rate


@dataclass(frozen=True)
class HeadTraining(Settings):
    """How the gates are trained.

    Attributes:
        learning_rate: Peak of AdamW.
        penalty: Weight of the gates' mean beside the mean squared difference of hidden states.
        steps: Sequences trained on, one a step.
        days: Days of a sequence.
        sequence_tokens: Longest text of a sequence; later texts are left out.
        questions: Questions behind it.
        sink_tokens: First tokens in a streaming head's window.
        recent_tokens: Latest tokens in it.
    """

    learning_rate: Annotated[float, Ge(0)] = 0.02
    penalty: Annotated[float, Ge(0)] = 0.05
    steps: Annotated[int, Ge(1)] = 400
    days: Annotated[int, Ge(1)] = 4
    sequence_tokens: Annotated[int, Ge(16)] = 1200
    questions: Annotated[int, Ge(1)] = 16
    sink_tokens: Annotated[int, Ge(1)] = 16
    recent_tokens: Annotated[int, Ge(1)] = 64


@dataclass(frozen=True)
class HeadCourse:
    """The training of gates.

    Attributes:
        model: The base model.
        streams: What they are trained on.
        training: How.
        seed: Of what is drawn.
    """

    model: str = "embedded"
    streams: TrainingStreams = field(default_factory=TrainingStreams)
    training: HeadTraining = field(default_factory=HeadTraining)
    seed: int = 0


def train_heads(
    course: HeadCourse, progress: Progress | None = None
) -> tuple[TrainedPart, dict[str, float]]:
    """Train the gates, and write the part of ``duo-attention``.

    Args:
        course: What and how.
        progress: Called after every stream read and every step with (done, in all, what).

    Returns:
        The part; and ``distance`` (mean over the last tenth of the steps), the gates' ``mean``, and
        ``open``: the share of gates above one half.
    """
    lm = LanguageModel.load(course.model)
    lm.model.requires_grad_(False)
    digest, settings = base_digest(lm.model), course.training
    lessons = read_streams(course.streams, lm.prompter, progress)
    rng = derive_rng(course.seed, AGENT)
    gates = head_gates(lm).to(lm.device).requires_grad_(True)
    window = Window(settings.sink_tokens, settings.recent_tokens)
    optimiser = torch.optim.AdamW([gates], lr=settings.learning_rate, weight_decay=0.0)
    distances: list[float] = []
    for step in range(settings.steps):
        lesson = lessons[int(rng.integers(len(lessons)))]
        ids, places = sequence_of(*lesson.window(rng, settings.days), lm, settings, rng)
        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate * rate_at(step, settings.steps)
        distance = hidden_distance(lm, gates, window, ids, places)
        (distance + settings.penalty * gates.abs().mean()).backward()
        optimiser.step()
        optimiser.zero_grad()
        with torch.no_grad():
            gates.clamp_(0, 1)
        distances.append(float(distance.detach()))
        if progress:
            progress(step + 1, settings.steps, f"mean gate {float(gates.detach().mean()):.2f}")
    tail = distances[-max(1, settings.steps // 10) :]
    log = {
        "distance": sum(tail) / len(tail),
        "mean": float(gates.detach().mean()),
        "open": float((gates > 0.5).float().mean()),
    }
    card = {"model": course.model, "base": digest, **plain(settings), **log}
    part = TrainedPart({"gates": gates.detach()}, card)
    part.save(cached_file(AGENT, digest))
    return part, log


def rate_at(step: int, steps: int) -> float:
    """Share of the peak learning rate: rises in the first fifth, falls in the last; .1 at least."""
    edge = max(1, steps // WARMUP)
    return min(1.0, max((step + 1) / edge, 0.1), max((steps - step) / edge, 0.1))


def hidden_distance(
    lm: LanguageModel, gates: Tensor, window: Window, ids: Sequence[int], places: Sequence[int]
) -> Tensor:
    """Mean squared difference of the last hidden states with gates from those with full attention.

    Args:
        lm: The frozen model.
        gates: (layers, key-value heads).
        window: Of streaming heads.
        ids: A sequence.
        places: Where hidden states are compared.
    """
    rows = torch.tensor([list(ids)], device=lm.device)
    at = torch.arange(len(ids), device=lm.device)[None]
    dtype = lm.model.dtype
    causal = torch.zeros(1, 1, len(ids), len(ids), dtype=dtype, device=lm.device)
    causal.masked_fill_(at[0, :, None] < at[0, None, :], hidden_value(dtype))
    far = window.hides(at, at, dtype)
    with torch.no_grad(), states_before_head(lm.model) as full:
        lm.model(input_ids=rows, use_cache=False)
    with states_before_head(lm.model) as mixed, segment_attention(lm.model, GATED):
        lm.model(input_ids=rows, attention_mask=causal, gates=gates, far=far, use_cache=False)
    difference = mixed[0][0, places].float() - full[0][0, places].float()
    return difference.square().mean()


def sequence_of(
    parts: Sequence[Ids],
    pairs: Sequence[Pair],
    lm: LanguageModel,
    settings: HeadTraining,
    rng,
) -> tuple[list[int], list[int]]:
    """A text with questions and answers behind it, and the places of the latter."""
    ids = list(lm.prompter.opening)
    for part in parts:
        if len(ids) + len(part) > settings.sequence_tokens:
            break
        ids += part
    begin = len(ids)
    for i in rng.permutation(len(pairs))[: settings.questions]:
        ids += [*pairs[i][0], *pairs[i][1]]
    ids = ids[: lm.max_tokens]
    return ids, list(range(min(begin, len(ids) - 1), len(ids)))
