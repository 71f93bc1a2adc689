"""Recollection: what a model says without anything to read.

A title without a text makes the model ask itself about that title, and answer from its weights.
With a title of its own invention this is a sample of the self, used for rehearsal; with a name that
is met again it is a memory, to be consolidated together with the news.
"""

from __future__ import annotations

from collections.abc import Sequence

from sleepgym_agents.lm.generation import generate
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.training.qa_generation import Pair, parse_qa

TITLE_TOKENS = 10
ITEM_TOKENS = 48


def sample_titles(lm: LanguageModel, count: int, seed: int) -> list[list[int]]:
    """Titles that the model makes up, as token ids; those that do not end are left out."""
    before, after = _around_title(lm)
    prompts = [[*lm.prompter.start, *before]] * count
    written = generate(lm, prompts, TITLE_TOKENS, temperature=1.0, seed=seed, stop_at_answer=False)
    ends = set(after[:1])
    found = []
    for ids in written:
        size = next((i for i, token in enumerate(ids) if token in ends), 0)
        if size:
            found.append(list(ids[:size]))
    return found


def sample_qa_about(
    lm: LanguageModel, titles: Sequence[Sequence[int]], count: int, seed: int
) -> list[Pair]:
    """Questions and answers that the model writes about bare titles, each once, sorted.

    Args:
        lm: The language model; experts that know a name speak once it has been written.
        titles: Token ids.
        count: Samples of each title, at temperature 1.
        seed: Of the sampling.
    """
    before, after = _around_title(lm)
    prompter = lm.prompter
    prompts = [
        [*prompter.start, *before, *title, *after, *prompter.dream]
        for title in titles
        for _ in range(count)
    ]
    if not prompts:
        return []
    written = generate(lm, prompts, ITEM_TOKENS, temperature=1.0, seed=seed)
    return sorted({pair for ids in written for pair in parse_qa(prompter, ids)})


def answer_greedily(
    lm: LanguageModel, questions: Sequence[str], parts: Sequence[Sequence[int]] = ()
) -> list[str]:
    """The model's greedy answers, with ``parts`` in context."""
    prompts = [lm.prompter.prompt(question, parts) for question in questions]
    return [lm.prompter.answer_text(ids) for ids in generate(lm, prompts, ITEM_TOKENS)]


def _around_title(lm: LanguageModel) -> tuple[list[int], list[int]]:
    mark = "\0"
    filled = lm.prompter.format.document.format(title=mark, text="")
    before, _, after = filled.partition(mark)
    return lm.prompter.encode(before), lm.prompter.encode(after)
