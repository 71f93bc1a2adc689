"""Questions and answers that a model generates about what it has in context."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sleepgym_agents.lm.generation import generate
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.lm.prompts import Prompter

Pair = tuple[str, str]


def generate_qa(
    lm: LanguageModel,
    contexts: Sequence[Sequence[Sequence[int]]],
    *,
    tokens: int,
    temperature: float = 1.0,
    seed: int,
) -> list[list[Pair]]:
    """Let the model write one sample of questions and answers a context.

    Args:
        lm: The model that writes.
        contexts: Token ids of the documents and demonstrations that each sample is about.
        tokens: Longest sample.
        temperature: Of sampling.
        seed: Of sampling.

    Returns:
        The (question, answer) items of each sample; what is not of that form is left out.
    """
    prompter = lm.prompter
    prompts = [prompter.dream_prompt(parts) for parts in contexts]
    if not prompts:
        return []
    written = generate(
        lm, prompts, tokens, temperature=temperature, seed=seed, stop_at_answer=False
    )
    return [parse_qa(prompter, ids) for ids in written]


def single_and_joint_contexts(
    parts: Sequence[Sequence[int]], count: int
) -> list[list[Sequence[int]]]:
    """Contexts for so many samples: half of them one text each, in turn, the others all texts."""
    alone = [[parts[i % len(parts)]] for i in range(count // 2)]
    return [*alone, *[list(parts)] * (count - len(alone))]


def parse_qa(prompter: Prompter, ids: Sequence[int]) -> list[Pair]:
    """The (question, answer) items in what was generated after the marker ``dream``."""
    form, text = prompter.format, prompter.dreamt_text(ids)
    if form.dream_item is None:
        pattern = _once(form.question, "text") + _once(form.answer, "answer") + re.escape(form.stop)
    else:
        text += "\n"
        pattern = _once(form.dream_item, "question", "answer")
    pairs = re.findall(pattern, text, flags=re.DOTALL)
    return [(question.strip(), answer.strip()) for question, answer in pairs if answer.strip()]


def answers_in(pairs: Sequence[Pair], texts: Sequence[str]) -> int:
    """How many of the answers occur in one of the texts, upper and lower case alike."""
    read = [text.casefold() for text in texts]
    return sum(any(answer.casefold() in text for text in read) for _, answer in pairs)


def _once(template: str, *names: str) -> str:
    """A pattern of a template, a group for each of its placeholders, in their order."""
    pattern = ""
    for name in names:
        before, _, template = template.partition(f"{{{name}}}")
        pattern += f"{re.escape(_bare(before))}(.*?)"
    return pattern + re.escape(_bare(template))


def _bare(text: str) -> str:
    """A piece of a template as it is written out."""
    return text.replace("{{", "{").replace("}}", "}")
