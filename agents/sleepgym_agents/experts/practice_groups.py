"""Practised questions, grouped by the word that names what they are about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sleepgym_agents.experts.entity_names import EntityName, question_frame, split_words
from sleepgym_agents.experts.expert_memory import ExpertMemory
from sleepgym_agents.lm.scoring import score_continuations

Pair = tuple[str, str]  # a question and its answer


@dataclass(frozen=True)
class PracticeGroup:
    """Practised questions about one thing.

    Attributes:
        name: Token ids of the word that only they hold; empty where there is none.
        pairs: The questions with their answers.
    """

    name: EntityName
    pairs: list[Pair]


def consistent(practised: Sequence[Pair]) -> list[Pair]:
    """Practised questions, each once, without those that were given different answers."""
    answers: dict[str, set[str]] = {}
    for question, answer in practised:
        answers.setdefault(question, set()).add(answer)
    return [pair for pair in dict.fromkeys(practised) if len(answers[pair[0]]) == 1]


def named_groups(memory: ExpertMemory, pairs: Sequence[Pair], nats: float) -> list[PracticeGroup]:
    """Questions grouped by the word that names what they are about.

    Every question holds exactly one of these words, each is in several questions, and none is a
    word that the bare model expects. The largest groups are taken first; a name extends for as long
    as the same word follows it everywhere.

    Args:
        memory: The experts, inside their language model.
        pairs: Questions with their answers.
        nats: How unlikely, at least, the bare model finds each of these words.

    Returns:
        The groups in the order in which the largest come first; none where some question names
        nothing.
    """
    prompter, tokenizer = memory.lm.prompter, memory.lm.prompter.tokenizer
    begin, frame = question_frame(prompter)
    texts = [prompter.question(question) for question, _ in pairs]
    words = [split_words(ids[begin : len(ids) - frame], tokenizer) for ids in texts]
    members: dict[EntityName, list[int]] = {}
    for i, own in enumerate(words):
        for word in dict.fromkeys(own):
            if any(c.isalnum() for c in tokenizer.decode(word)):
                members.setdefault(word, []).append(i)
    left, found = set(range(len(pairs))), []
    for word, rows in sorted(members.items(), key=lambda item: (-len(item[1]), item[0])):
        if len(rows) > 1 and left.issuperset(rows):
            left -= set(rows)
            found.append((word, rows))
    if left:
        return []
    gaps = _unexpected(memory, [(word, texts[i]) for word, rows in found for i in rows])
    groups = []
    for word, rows in found:
        own = [next(gaps) for _ in rows]
        if sum(own) / len(own) < nats:
            return []
        name = _extended(word, [words[i] for i in rows])
        groups.append(PracticeGroup(name, [pairs[i] for i in rows]))
    return groups


def _unexpected(
    memory: ExpertMemory, words: Sequence[tuple[EntityName, Sequence[int]]]
) -> Iterator[float]:
    """Negative log-likelihood, in nats, of each word where it first stands in its text."""
    lm = memory.lm
    at = [next(i for i in range(len(t)) if tuple(t[i : i + len(w)]) == w) for w, t in words]
    prompts = [[*lm.prompter.start, *text[:i]] for (_, text), i in zip(words, at, strict=True)]
    with memory.bare():
        scored = score_continuations(lm, prompts, [word for word, _ in words])
    return (-sum(one.log_probabilities) for one in scored)


def _extended(word: EntityName, texts: Sequence[Sequence[EntityName]]) -> EntityName:
    """A word with those that follow it in all texts."""
    rest = [text[text.index(word) + 1 :] for text in texts]
    name = list(word)
    for following in zip(*rest, strict=False):
        if len(set(following)) > 1:
            break
        name += following[0]
    return tuple(name)
