"""Distillation examples: questions with answers, and a teacher's distribution over each token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from sleepgym_agents.lm.generation import shared_batches
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.training.divergence import Divergence, divergence
from sleepgym_agents.training.optimise import padded_length
from sleepgym_agents.training.qa_generation import Pair

IMPOSSIBLE = -1e4  # a log-probability that is 0 as a probability, and yet finite


@dataclass(frozen=True)
class DistillationExample:
    """A question with its answer, as the student reads it, and the teacher's distributions.

    Attributes:
        pair: The texts.
        ids: Token ids of question, answer and stop marker.
        asked: How many of them are the question's.
        targets: The teacher's log-probabilities of every token but the first, (tokens - 1,
            vocabulary).
        likelihoods: The teacher's log-likelihood of every token but the first, (tokens - 1,).
        context: Token ids that the teacher read before, and the student does not.
    """

    pair: Pair
    ids: tuple[int, ...]
    asked: int
    targets: Tensor
    likelihoods: Tensor
    context: tuple[int, ...] = ()

    @property
    def confidence(self) -> float:
        """The teacher's probability of exactly this answer."""
        return float(self.likelihoods[self.asked - 1 :].sum().exp())

    def with_hard_targets(self) -> DistillationExample:
        """The example with the text itself as its target: supervised fine-tuning."""
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
    for rows, segments, begin in shared_batches(lm, prompts, longest, logits=longest):
        batch = [order[row] for row in rows]
        sequences = [[*before, *items[i]][begin:-1] for i in batch]
        keep = max(len(items[i]) for i in batch) - 1
        *_, logits = lm.read(sequences, segments, begin, keep=keep)
        logits = logits.log_softmax(-1)
        for row, i in enumerate(batch):
            reply = torch.tensor(items[i][1:], device=lm.device)
            targets = logits[row, -len(reply) :].clone()
            likelihoods = targets.gather(-1, reply[:, None])[:, 0]
            found[i] = DistillationExample(
                pairs[i], tuple(items[i]), len(questions[i]), targets, likelihoods, tuple(context)
            )
    return [found[i] for i in range(len(pairs))]


def verbatim_example(lm: LanguageModel, pair: Pair) -> DistillationExample:
    """An example to learn verbatim: its target is its own text."""
    asked = lm.prompter.question(pair[0])
    ids = (*asked, *lm.prompter.answer(pair[1]))
    return DistillationExample(
        pair, ids, len(asked), *_nothing(lm, len(ids) - 1)
    ).with_hard_targets()


def text_examples(
    lm: LanguageModel, parts: Sequence[Sequence[int]], tokens: int
) -> list[DistillationExample]:
    """The text itself as examples with hard targets, every token counting: without a teacher.

    Args:
        lm: Knows the size of the vocabulary.
        parts: Token ids of documents and demonstrations.
        tokens: Longest example; longer texts are cut into pieces.
    """
    examples = []
    for ids in (part[at : at + tokens] for part in parts for at in range(0, len(part), tokens)):
        if len(ids) > 1:
            nothing = _nothing(lm, len(ids) - 1)
            examples.append(
                DistillationExample(("", ""), tuple(ids), 1, *nothing).with_hard_targets()
            )
    return examples


def _nothing(lm: LanguageModel, tokens: int) -> tuple[Tensor, Tensor]:
    """Targets and likelihoods where there is no teacher."""
    vocabulary = lm.model.get_output_embeddings().weight.shape[0]
    likelihoods = torch.zeros(tokens, device=lm.device)
    return likelihoods.new_zeros(tokens, vocabulary), likelihoods


@dataclass(frozen=True)
class DistillationBatch:
    """Packed examples, padded on the right.

    Attributes:
        examples: All of them, in order.
        ids: Token ids, (sequences, length).
        positions: Where a token is predicted: its index into the flattened ``ids``.
        targets: Teacher's log-probabilities there, (positions, vocabulary).
        weights: How much each place counts.
        tokens: Real tokens.
    """

    examples: tuple[DistillationExample, ...]
    ids: Tensor
    positions: Tensor
    targets: Tensor
    weights: Tensor
    tokens: int


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
        padded = torch.tensor([ids + [0] * (length - len(ids)) for ids in rows], device=device)
        flat = torch.tensor([row * length + at for row, at in positions], device=device)
        examples = tuple(example for pack_sequences in packed for example in pack_sequences)
        targets = torch.cat([example.targets for example in examples])
        counted = torch.tensor(weights, device=device)
        return DistillationBatch(examples, padded, flat, targets, counted, sum(map(len, rows)))

    return collate_examples


def distillation(
    model: torch.nn.Module, batch: DistillationBatch, kind: Divergence, beta: float = 0.5
) -> Tensor:
    """Weighted mean divergence of the student from the teacher over the tokens of a batch."""
    logits = model(input_ids=batch.ids, use_cache=False).logits
    student = logits.flatten(0, 1)[batch.positions].float().log_softmax(-1)
    values = divergence(batch.targets, student, kind, beta)
    return (values * batch.weights).sum() / batch.weights.sum().clamp(min=1e-8)
