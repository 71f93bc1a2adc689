"""Exact log-likelihoods without generation: of given continuations, and of every label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sleepgym_agents.lm.attention import Segment
from sleepgym_agents.lm.generation import shared_batches
from sleepgym_agents.lm.label_trie import LabelTries, label_tries
from sleepgym_agents.lm.model import LanguageModel


@dataclass(frozen=True)
class Scored:
    """A continuation read by teacher forcing.

    Attributes:
        log_probabilities: Of each of its tokens, given all before it.
        exact: Whether each of its tokens was the most likely one. With the stop marker at its end
            that is the case exactly where greedy decoding writes this continuation; it says
            nothing about sampling.
    """

    log_probabilities: tuple[float, ...]
    exact: bool


def score_continuations(
    lm: LanguageModel,
    prompts: Sequence[Sequence[int]],
    continuations: Sequence[Sequence[int]],
) -> list[Scored]:
    """Read each prompt with its continuation in one pass.

    Args:
        lm: The language model.
        prompts: Token ids, none empty.
        continuations: Token ids, one sequence a prompt, none empty.
    """
    results: dict[int, Scored] = {}
    longest = max(map(len, continuations), default=0)
    for batch, segments, start in shared_batches(lm, prompts, longest, logits=max(1, longest)):
        gold = [continuations[i] for i in batch]
        sequences = [[*prompts[i][start:], *continuations[i][:-1]] for i in batch]
        *_, logits = lm.read(sequences, segments, start, keep=max(map(len, gold)))
        best = logits.argmax(-1)
        logits = logits.log_softmax(-1)
        for row, (i, ids) in enumerate(zip(batch, gold, strict=True)):
            wanted = torch.tensor(ids, device=lm.device)
            chosen = logits[row, -len(ids) :].gather(-1, wanted[:, None])[:, 0]
            exact = bool((best[row, -len(ids) :] == wanted).all())
            results[i] = Scored(tuple(chosen.tolist()), exact)
    return [results[i] for i in range(len(prompts))]


def choice_log_probabilities(
    lm: LanguageModel,
    prompts: Sequence[Sequence[int]],
    choices: Sequence[tuple[str, ...]],
    *,
    only_best: bool = False,
) -> list[Tensor]:
    """Log-probability of every choice: the sum over its tokens and the stop marker's.

    The sum is not divided by the length: with the stop marker included, choices are complete,
    mutually exclusive answers, and the sum is the probability that the model writes exactly this.

    Args:
        lm: The language model.
        prompts: Token ids of the questions, none empty.
        choices: The labels offered, a tuple a prompt.
        only_best: Skip labels that cannot win, because a beginning of them is already less likely
            than another label is in full: the largest entry is exact, skipped ones are -inf.

    Returns:
        One tensor (float32, CPU) a prompt, in the order of its choices.
    """
    results: dict[int, Tensor] = {}
    for offered in dict.fromkeys(choices):
        asked = [i for i, mine in enumerate(choices) if mine == offered]
        labels = tuple(tuple(lm.prompter.answer(label)) for label in offered)
        tries = label_tries(labels, lm.device)
        begin = max(2, sorted(map(len, labels))[len(labels) // 2] // 3)
        stubs = label_tries(tuple(label[:begin] for label in labels), lm.device)
        group = [prompts[i] for i in asked]
        for batch, segments, start in shared_batches(lm, group):
            own, _, logits = lm.read([group[i][start:] for i in batch], segments, start)
            lengths = torch.tensor([len(group[i]) for i in batch], device=lm.device)
            first = logits[:, -1].log_softmax(-1)
            table = _label_table(lm, tries, stubs, [*segments, own], lengths, first, only_best)
            for i, row in zip(batch, table.cpu(), strict=True):
                results[asked[i]] = row
    return [results[i] for i in range(len(prompts))]


def choose(
    lm: LanguageModel, prompts: Sequence[Sequence[int]], choices: Sequence[tuple[str, ...]]
) -> list[str]:
    """The most likely choice for each prompt; of equals, the one offered first."""
    tables = choice_log_probabilities(lm, prompts, choices, only_best=True)
    return [labels[int(row.argmax())] for labels, row in zip(choices, tables, strict=True)]


def _label_table(
    lm: LanguageModel,
    tries: LabelTries,
    stubs: LabelTries,
    segments: Sequence[Segment],
    lengths: Tensor,
    first: Tensor,
    only_best: bool,
) -> Tensor:
    """Log-probabilities (questions, labels) of a batch of questions already read.

    To find the best only: the most promising row gives a score to beat; stubs, the beginnings of
    labels, tell which rows cannot beat it; the others are read in the order of promise.
    """
    questions = _Questions(lm, segments, lengths, first)
    table = first.new_full((len(lengths), tries.labels), -torch.inf)
    if not only_best:
        questions.read(tries, table, table.new_zeros(table.shape), tries.rows)
        return table[:, tries.original]
    bounds = first[:, tries.first_tokens]
    questions.read(tries, table, bounds, 1, rounds=1)
    beaten = table.amax(1, keepdim=True)
    begun = first.new_full((len(lengths), stubs.labels), -torch.inf)
    questions.read(stubs, begun, first[:, stubs.first_tokens], stubs.rows, beaten, rounds=1)
    begun = begun[:, stubs.original][:, tries.first_places]
    bounds = torch.where(begun.isfinite(), begun, bounds).masked_fill(table.isfinite(), -torch.inf)
    questions.read(tries, table, bounds, 1)
    return table[:, tries.original]


@dataclass(frozen=True)
class _Questions:
    """A batch of questions already read, whose labels can be read."""

    lm: LanguageModel
    segments: Sequence[Segment]
    lengths: Tensor
    first: Tensor

    def read(
        self,
        tries: LabelTries,
        table: Tensor,
        bounds: Tensor,
        width: int,
        beaten: Tensor | None = None,
        rounds: int | None = None,
    ) -> None:
        """Fill ``table`` with the labels of all rows that may hold something better.

        Args:
            tries: The labels.
            table: Log-probabilities (questions, labels), filled in place.
            bounds: What each label cannot exceed, (questions, labels).
            width: Rows of each question in the first round, doubled in every round.
            beaten: What a label must exceed to be worth reading; None is the best in ``table``.
            rounds: Most rounds; None is as many as it takes.
        """
        pending = tries.row_bounds(bounds)
        done = 0
        while rounds is None or done < rounds:
            least = table.amax(1, keepdim=True) if beaten is None else beaten
            pending = pending.masked_fill(pending <= least, -torch.inf)
            ranked = pending.topk(min(width, tries.rows), 1)
            question, column = (ranked.values > -torch.inf).nonzero(as_tuple=True)
            if not len(question):
                return
            row = ranked.indices[question, column]
            pending[question, row] = -torch.inf
            self._read_rows(tries, table, question, row)
            width, done = width * 2, done + 1

    def _read_rows(self, tries: LabelTries, table: Tensor, question: Tensor, row: Tensor) -> None:
        lm = self.lm
        length = tries.tokens.shape[1]
        size = max(1, lm.batch_tokens // 4 // length)  # few enough for the caches
        size = min(size, lm.batch_rows(length, int(self.lengths.max()) + length, length))
        for q, r in zip(question.split(size), row.split(size), strict=True):
            logits = lm.forward(
                tries.tokens[r],
                self.lengths[q, None] + tries.depths[r],
                tries.visible[r][:, None],
                segments=[segment.rows(q) for segment in self.segments],
                charge=int(tries.sizes[r].sum()),
            )
            pairs, labels, values = tries.label_scores(r, logits, self.first[q])
            table[q[pairs], labels] = values
