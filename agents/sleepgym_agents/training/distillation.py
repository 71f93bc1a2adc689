"""Distillation examples: questions with answers, and a teacher's distribution over each token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from sleepgym_agents.lm.attention import Segment
from sleepgym_agents.lm.generation import shared_batches
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.training.divergence import Divergence, divergence
from sleepgym_agents.training.optimise import padded_length, padded_places, send
from sleepgym_agents.training.qa_generation import Pair
from sleepgym_agents.training.selected_logits import (
    logits_at,
    output_head,
    states_before_head,
)
from sleepgym_agents.training.teacher_head import (
    IMPOSSIBLE,
    TeacherHead,
    divergence_from,
    teacher_head,
)
from sleepgym_agents.training.training_step import keeps_busy

WASTED = 0.25  # of a batch on a GPU may be padding, so that its shape is one seen before


@dataclass(frozen=True)
class DistillationExample:
    """A question with its answer, as the student reads it, and the teacher's distributions.

    Attributes:
        pair: The texts.
        ids: Token ids of question, answer and stop marker.
        asked: How many of them are the question's.
        targets: The teacher's log-probabilities of every token but the first, (tokens - 1,
            vocabulary); of a large vocabulary the states that its ``head`` makes them of, (tokens -
            1, width).
        likelihoods: The teacher's log-likelihood of every token but the first, (tokens - 1,).
        context: Token ids that the teacher read before, and the student does not.
        head: The teacher's head; None where ``targets`` are whole.
        hard: Whether the text itself is the target, whatever ``targets`` hold; only with a head.
    """

    pair: Pair
    ids: tuple[int, ...]
    asked: int
    targets: Tensor
    likelihoods: Tensor
    context: tuple[int, ...] = ()
    head: TeacherHead | None = None
    hard: bool = False

    @property
    def confidence(self) -> float:
        """The teacher's probability of exactly this answer."""
        return float(self.likelihoods[self.asked - 1 :].sum().exp())

    def with_hard_targets(self) -> DistillationExample:
        """The example with the text itself as its target: supervised fine-tuning."""
        if self.head:
            return replace(self, hard=True)
        ids = torch.tensor(self.ids[1:], device=self.targets.device)
        hard = torch.full_like(self.targets, IMPOSSIBLE)
        return replace(self, targets=hard.scatter(-1, ids[:, None], 0.0))


def score_with_teacher(
    lm: LanguageModel, pairs: Sequence[Pair], context: Sequence[int] = ()
) -> list[DistillationExample]:
    """Score given questions and answers with the model, as it is now, as the teacher.

    Args:
        lm: The teacher.
        pairs: Questions and answers.
        context: Token ids that the teacher reads before each of them: privileged information.
    """
    prompter = lm.prompter
    questions = [prompter.question(question) for question, _ in pairs]
    items = [
        [*asked, *prompter.answer(answer)]
        for asked, (_, answer) in zip(questions, pairs, strict=True)
    ]
    before = [*prompter.opening, *context]
    found: dict[int, DistillationExample] = {}
    order = sorted(range(len(items)), key=lambda i: -len(items[i]))
    longest = max(map(len, items), default=1)
    prompts = [[*before, *items[i][:1]] for i in order]  # so that no item is shared
    head = teacher_head(lm)
    for rows, segments, begin in shared_batches(
        lm, prompts, longest, logits=1 if head else longest
    ):
        batch = [order[row] for row in rows]
        sequences = [[*before, *items[i]][begin:-1] for i in batch]
        keep = max(len(items[i]) for i in batch) - 1
        targets = read_targets(lm, head, sequences, segments, begin, keep)
        for row, i in enumerate(batch):
            reply = torch.tensor(items[i][1:], device=lm.device)
            own = targets[row, -len(reply) :].clone()
            if head:
                likelihoods = head.log_likelihoods(own, reply)
            else:
                likelihoods = own.gather(-1, reply[:, None])[:, 0]
            asked = len(questions[i])
            found[i] = DistillationExample(
                pairs[i], tuple(items[i]), asked, own, likelihoods, tuple(context), head
            )
    return [found[i] for i in range(len(pairs))]


def read_targets(
    lm: LanguageModel,
    head: TeacherHead | None,
    sequences: Sequence[Sequence[int]],
    segments: Sequence[Segment],
    begin: int,
    keep: int,
) -> Tensor:
    """A teacher's targets at the last ``keep`` places of sequences, read behind ``segments``.

    Returns:
        Log-probabilities (sequences, ``keep`` at most, vocabulary), or what the ``head`` reads
        there, (sequences, ``keep`` at most, width).
    """
    if head is None:
        *_, logits = lm.read(sequences, segments, begin, keep=keep)
        return logits.log_softmax(-1)
    with states_before_head(lm.model) as seen:
        lm.read(sequences, segments, begin, keep=keep)
    return seen[0]


def verbatim_example(lm: LanguageModel, pair: Pair) -> DistillationExample:
    """An example to learn verbatim: its target is its own text."""
    asked = lm.prompter.question(pair[0])
    return _verbatim(lm, pair, [*asked, *lm.prompter.answer(pair[1])], len(asked))


def text_examples(
    lm: LanguageModel, parts: Sequence[Sequence[int]], tokens: int
) -> list[DistillationExample]:
    """The text itself as examples with hard targets, every token counting: without a teacher.

    Args:
        lm: Knows the size of the vocabulary.
        parts: Token ids of documents and demonstrations.
        tokens: Longest example; longer texts are cut into pieces.
    """
    pieces = (part[at : at + tokens] for part in parts for at in range(0, len(part), tokens))
    return [_verbatim(lm, ("", ""), ids, 1) for ids in pieces if len(ids) > 1]


def _verbatim(lm: LanguageModel, pair: Pair, ids: Sequence[int], asked: int) -> DistillationExample:
    head, nothing = teacher_head(lm), torch.zeros(len(ids) - 1, device=lm.device)
    weight = output_head(lm.model).weight
    if head:
        targets = weight.detach().new_zeros(len(nothing), weight.shape[1])
    else:
        targets = nothing.new_zeros(len(nothing), weight.shape[0])
    untaught = DistillationExample(pair, tuple(ids), asked, targets, nothing, (), head)
    return untaught.with_hard_targets()


@dataclass(frozen=True)
class DistillationBatch:
    """Packed examples, padded on the right.

    Attributes:
        examples: All of them, in order.
        ids: Token ids, (sequences, length).
        positions: Where a token is predicted: its index into the flattened ``ids``.
        targets: Teacher's log-probabilities there, (positions, vocabulary), or the states that its
            head makes them of, (positions, width).
        weights: How much each place counts.
        tokens: Real tokens.
        hard: Where the text itself is the target, (positions,), boolean.
        head: The teacher's head; None where ``targets`` are whole.
    """

    examples: tuple[DistillationExample, ...]
    ids: Tensor
    positions: Tensor
    targets: Tensor
    weights: Tensor
    tokens: int
    hard: Tensor
    head: TeacherHead | None = None


def pack_examples(
    examples: Sequence[DistillationExample], rng: np.random.Generator, items: int, tokens: int
) -> list[list[DistillationExample]]:
    """Shuffle examples and pack several into each sequence.

    Args:
        examples: What to pack.
        rng: Decides the order.
        items: Most examples in a sequence.
        tokens: Most tokens in a sequence; a single longer example is a sequence of its own.
    """
    packed: list[list[DistillationExample]] = []
    room = 0
    for i in rng.permutation(len(examples)):
        example = examples[i]
        if not packed or len(packed[-1]) == items or len(example.ids) > room:
            packed.append([])
            room = tokens
        packed[-1].append(example)
        room -= len(example.ids)
    return packed


def make_collator(
    lm: LanguageModel, question_weight: float
) -> Callable[[Sequence[Sequence[DistillationExample]], torch.device], DistillationBatch]:
    """A function that makes one batch of packed examples.

    Args:
        lm: Knows what opens a sequence.
        question_weight: How much predicting a question's tokens counts; an answer's count 1.
    """
    longest: dict[int, int] = {}  # of so many sequences

    def collate_examples(
        packed: Sequence[Sequence[DistillationExample]], device: torch.device
    ) -> DistillationBatch:
        rows: list[list[int]] = []
        positions: list[tuple[int, int]] = []
        weights: list[float] = []
        for row, examples in enumerate(packed):
            ids = list(lm.prompter.start)
            for example in examples:
                size = len(example.ids) - 1
                positions.extend((row, len(ids) + k) for k in range(size))
                weights.extend([question_weight] * (example.asked - 1))
                weights.extend([1.0] * (size - example.asked + 1))
                ids.extend(example.ids)
            rows.append(ids)
        length = padded_length(max(map(len, rows)), device)
        if torch.device(device).type == "cuda" and not keeps_busy(lm, len(rows) * length):
            known = longest.get(len(rows), 0)
            length = known if length <= known <= (1 + WASTED) * length else length
            longest[len(rows)] = max(known, length)
        padded = torch.tensor([ids + [0] * (length - len(ids)) for ids in rows])
        spare = padded_places(len(positions), device)
        flat = [row * length + at for row, at in positions] + [0] * spare
        examples = tuple(example for pack_sequences in packed for example in pack_sequences)
        targets = torch.cat([example.targets for example in examples])
        hard = [example.hard for example in examples for _ in example.ids[1:]]
        return DistillationBatch(
            examples,
            send(padded, device),
            send(torch.tensor(flat), device),
            torch.cat([targets, targets.new_zeros(spare, targets.shape[1])]),
            send(torch.tensor(weights + [0.0] * spare), device),
            sum(map(len, rows)),
            send(torch.tensor(hard + [False] * spare), device),
            examples[0].head,
        )

    return collate_examples


def distillation(
    model: torch.nn.Module, batch: DistillationBatch, kind: Divergence, beta: float = 0.5
) -> Tensor:
    """Weighted mean divergence of the student from the teacher over the tokens of a batch."""
    logits = logits_at(model, batch.ids, batch.positions)
    return weighted_divergence(logits, batch, kind, beta)


def weighted_divergence(
    logits: Tensor, batch: DistillationBatch, kind: Divergence, beta: float = 0.5
) -> Tensor:
    """The same from a student's logits at the batch's positions, (positions, vocabulary)."""
    if batch.head:
        following = batch.ids.flatten()[batch.positions + 1]
        values = divergence_from(
            batch.head, batch.targets, batch.hard, following, logits, kind, beta
        )
    else:
        values = divergence(batch.targets, logits.float().log_softmax(-1), kind, beta)
    return (values * batch.weights).sum() / batch.weights.sum().clamp(min=1e-8)
