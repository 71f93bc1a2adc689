"""Names of entities: the words of a text that only its context makes likely.

A model that read a passage expects the names in a question about it; the same model without the
passage does not. The gap between the two log-likelihoods finds names without a list of them, and
without knowing what a name looks like.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any

from sleepgym_agents.lm.model import common_prefix
from sleepgym_agents.lm.prompts import Prompter

EntityName = tuple[int, ...]


def find_entity_names(
    texts: Sequence[Sequence[int]],
    gaps: Sequence[Sequence[float]],
    tokenizer: Any,
    threshold: float,
    context: Sequence[int],
    common: Collection[EntityName] = (),
) -> list[EntityName]:
    """The runs of words that the context makes likely.

    A word counts by its mean gap over at least two occurrences; as the first word of a question,
    where any word is unlikely, it is left out.

    Args:
        texts: Token ids of questions.
        gaps: For each token, log-likelihood with the context minus that without, in nats.
        tokenizer: Splits token ids into words.
        threshold: Smallest mean gap of each word of a name, in nats, summed over its tokens.
        context: Token ids of what was read: only its words can be names, and a name extends for as
            long as the same word follows all its occurrences (a family name that the model can
            guess).
        common: Words that are no names.

    Returns:
        Token ids of each name, sorted.
    """
    split = [split_words(ids, tokenizer) for ids in texts]
    read = split_words(context, tokenizer)
    allowed = set(read) - set(common)
    gaps_of_word: dict[EntityName, list[float]] = {}
    for words, gap in zip(split, gaps, strict=True):
        values = iter(gap)
        for at, word in enumerate(words):
            gap_of_word = sum(next(values) for _ in word)
            if at:
                gaps_of_word.setdefault(word, []).append(gap_of_word)
    likely = {
        word
        for word, values in gaps_of_word.items()
        if word in allowed and len(values) > 1 and sum(values) / len(values) >= threshold
    }
    runs: set[tuple[EntityName, ...]] = set()
    for words in split:
        for is_name, run in groupby(words, key=likely.__contains__):
            if is_name:
                runs.add(tuple(run))
    whole = {_extended(run, [*split, read]) for run in runs}
    return sorted(tuple(i for word in run for i in word) for run in whole)


def _extended(
    run: tuple[EntityName, ...], texts: Sequence[Sequence[EntityName]]
) -> tuple[EntityName, ...]:
    """A run of words with those that follow it at each of its occurrences, two at least."""
    while True:
        size = len(run)
        nexts = [
            words[i + size] if i + size < len(words) else ()
            for words in texts
            for i in range(len(words) - size + 1)
            if tuple(words[i : i + size]) == run
        ]
        follower = nexts[0] if nexts else ()
        if len(nexts) < 2 or set(nexts) != {follower} or not follower:
            return run
        run = (*run, follower)


def question_frame(prompter: Prompter) -> tuple[int, int]:
    """How many token ids of a question stand before its text, and how many after it."""
    one, other = prompter.question("x"), prompter.question("y")
    return common_prefix([one, other]), common_prefix([one[::-1], other[::-1]])


def split_words(ids: Sequence[int], tokenizer: Any) -> list[EntityName]:
    """Token ids split where words begin."""
    words: list[list[int]] = []
    for i in ids:
        if not words or _begins_word(tokenizer, i):
            words.append([])
        words[-1].append(i)
    return [tuple(word) for word in words]


@lru_cache(maxsize=100_000)
def _begins_word(tokenizer: Any, token: int) -> bool:
    """Whether a token opens a word: it begins with a space, or holds no letter or digit."""
    if token in tokenizer.all_special_ids:
        return True
    piece = tokenizer.convert_ids_to_tokens(token)
    return piece[:1] in ("\u0120", "\u2581", " ") or not any(c.isalnum() for c in piece)
