"""What a model writes about what it has in context: questions with answers, or other texts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from sleepgym_agents.lm.generation import generate
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.lm.prompts import Prompter

Pair = tuple[str, str]
Context = tuple[tuple[int, ...], ...]  # token ids of the texts that are open
TITLE_TOKENS = 10
ITEM_TOKENS = 48
DreamForm = Literal["questions", "implications", "rewritings"]
REQUESTS = {
    "implications": "List what follows from the text above, one implication a line:",
    "rewritings": "Write the text above again in other words:",
}
ASKED = (0.7, 0.95)  # temperature and top_p of a model that is asked in words to dream
_BULLET = re.compile(r"^\s*(?:[-*\u2022]|\(?\d+[.):])\s*")
_FEWEST_LETTERS = 8  # of a line that says anything
_FEW_QUESTIONS = 64  # about one text: fewer are not worth reading that text on its own


def generate_qa(
    lm: LanguageModel,
    contexts: Sequence[Sequence[Sequence[int]]],
    *,
    tokens: int,
    temperature: float | None = None,
    seed: int,
) -> list[list[Pair]]:
    """Let the model write one sample of questions and answers a context.

    Args:
        lm: The model that writes.
        contexts: Token ids of the documents and demonstrations that each sample is about.
        tokens: Longest sample.
        temperature: Of sampling; where None, 1 for a model that was taught to dream (its format
            has no ``dream_item``), and :data:`ASKED` for one that is asked in words.
        seed: Of sampling.

    Returns:
        The (question, answer) items of each sample; what is not of that form is left out.
    """
    prompter, top_p = lm.prompter, 1.0
    prompts = [prompter.dream_prompt(parts) for parts in contexts]
    if not prompts:
        return []
    if temperature is None:
        temperature, top_p = (1.0, 1.0) if prompter.format.dream_item is None else ASKED
    written = generate(
        lm,
        prompts,
        tokens,
        temperature=temperature,
        top_p=top_p,
        seed=seed,
        stop_at_answer=False,
    )
    return [parse_qa(prompter, ids) for ids in written]


def answer_again(
    lm: LanguageModel,
    contexts: Sequence[Sequence[Sequence[int]]],
    samples: Sequence[Sequence[Pair]],
    tokens: int,
) -> list[list[Pair]]:
    """The questions of samples with the answers that the model reads out of their contexts.

    An answer that is sampled with its question is often not what the model would answer: here it is
    asked, greedily, with the texts open. What it says nothing to is left out. Questions about a
    text with many are answered together, behind one reading of it; all others in one go, since
    decoding a few rows takes as long as decoding hundreds.

    Args:
        lm: The model.
        contexts: Token ids of the texts that are open, for each sample.
        samples: Questions and answers.
        tokens: Longest answer.
    """
    wanted: dict[Context, dict[str, str]] = {}  # equal contexts are read once
    for parts, pairs in zip(contexts, samples, strict=True):
        questions = wanted.setdefault(tuple(map(tuple, parts)), {})
        questions.update(dict.fromkeys((question for question, _ in pairs), ""))
    many = [parts for parts, answers in wanted.items() if len(answers) >= _FEW_QUESTIONS]
    few = [parts for parts in wanted if parts not in set(many)]
    for batch in [*([parts] for parts in many), few]:
        open_for = [(parts, question) for parts in batch for question in wanted[parts]]
        prompts = [lm.prompter.prompt(question, parts) for parts, question in open_for]
        written = generate(lm, prompts, tokens) if prompts else []
        for (parts, question), ids in zip(open_for, written, strict=True):
            wanted[parts][question] = lm.prompter.answer_text(ids).strip()
    found = []
    for parts, pairs in zip(contexts, samples, strict=True):
        answers = wanted[tuple(map(tuple, parts))]
        asked = dict.fromkeys(question for question, _ in pairs)
        found.append([(question, answers[question]) for question in asked if answers[question]])
    return found


def sample_titles(lm: LanguageModel, count: int, seed: int) -> list[list[int]]:
    """Titles that the model makes up, as token ids; unfinished ones are left out."""
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
        lm: The language model; experts that know an entity are active once it has been read.
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
    ends = prompter.format.dream_item is None  # else an answer is a line, not a reply
    written = generate(lm, prompts, ITEM_TOKENS, temperature=1.0, seed=seed, stop_at_answer=ends)
    return sorted({pair for ids in written for pair in parse_qa(prompter, ids)})


def _around_title(lm: LanguageModel) -> tuple[list[int], list[int]]:
    """Token ids before and after the title of a document without a text."""
    mark = "\0"
    filled = lm.prompter.format.document.format(title=mark, text="")
    before, _, after = filled.partition(mark)
    return lm.prompter.encode(before), lm.prompter.encode(after)


def write_texts(
    lm: LanguageModel,
    parts: Sequence[Sequence[int]],
    form: DreamForm,
    *,
    tokens: int,
    seed: int,
) -> list[list[str]]:
    """Let the model write implications or a rewriting of each text.

    Args:
        lm: The model that writes.
        parts: Token ids of the documents, one a sample.
        form: ``implications`` or ``rewritings``.
        tokens: Longest sample.
        seed: Of sampling.

    Returns:
        The texts in each sample, as :func:`parse_texts` finds them.
    """
    prompter, (temperature, top_p) = lm.prompter, ASKED
    prompts = [prompter.request([part], REQUESTS[form]) for part in parts]
    written = generate(
        lm,
        prompts,
        tokens,
        temperature=temperature,
        top_p=top_p,
        seed=seed,
        stop_at_answer=False,
    )
    return [parse_texts(prompter, ids, form) for ids in written]


def parse_texts(prompter: Prompter, ids: Sequence[int], form: DreamForm) -> list[str]:
    """The lines of a list of implications, each once, or the one text of a rewriting."""
    end = next((i for i, token in enumerate(ids) if token in prompter.ends), len(ids))
    text = prompter.tokenizer.decode(ids[:end], clean_up_tokenization_spaces=False).strip()
    if form == "rewritings":
        lines = [" ".join(text.split())]
    else:
        lines = [_BULLET.sub("", line).strip() for line in text.split("\n")]
        if end == len(ids) and len(lines) > 1:
            lines.pop()  # cut off
    said = (line for line in lines if sum(map(str.isalpha, line)) >= _FEWEST_LETTERS)
    return list(dict.fromkeys(said))


def dream_counts(samples: Sequence[Sequence[Pair]], text: str) -> dict[str, float]:
    """How much of what was written can be used, for a night's log.

    Args:
        samples: The items of each sample.
        text: What they are about.
    """
    pairs = {pair for sample in samples for pair in sample}
    return {
        "dream_samples": float(len(samples)),
        "dream_samples_parsed": float(sum(map(bool, samples))),
        "dream_answers_in_text": float(answers_in(sorted(pairs), [text])),
    }


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
