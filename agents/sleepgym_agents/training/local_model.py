"""A language model in this process, asked as a served one is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sleepgym_agents.lm.generation import generate
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.lm.scoring import choose
from sleepgym_agents.training.distillation import (
    DistillationExample,
    score_with_teacher,
    verbatim_example,
)
from sleepgym_agents.training.qa_generation import (
    DreamForm,
    Pair,
    answer_again,
    generate_qa,
    sample_qa_about,
    sample_titles,
    write_texts,
)


@dataclass(frozen=True)
class LocalModel:
    """What an agent asks of its language model, by the model as it is when asked.

    :meth:`choose`, :meth:`write` and :meth:`write_qa` are those of a served model
    (:class:`sleepgym_agents.endpoints.model.Endpoint`), so that an agent that keeps text need not
    know which of the two it has. Likelihoods of one's own text are to be had here only.

    Attributes:
        lm: The language model, with the experts and adapters that are on.
    """

    lm: LanguageModel

    def choose(
        self, prompts: Sequence[Sequence[int]], choices: Sequence[tuple[str, ...]]
    ) -> list[str]:
        """The likeliest choice for each prompt (token ids); of equals, the one offered first."""
        return choose(self.lm, prompts, choices)

    def write(
        self,
        prompts: Sequence[Sequence[int]],
        max_new_tokens: int,
        *,
        temperature: float = 0.0,
        seeds: Sequence[int] = (),
    ) -> list[str]:
        """The answer to each prompt, greedy or sampled.

        Args:
            prompts: Token ids.
            max_new_tokens: Longest answer.
            temperature: Of the sampling; 0 is greedy decoding.
            seeds: Of the sampling, one a prompt; not needed at temperature 0.
        """
        written = generate(self.lm, prompts, max_new_tokens, temperature=temperature, seed=seeds)
        return [self.lm.prompter.answer_text(ids) for ids in written]

    def write_qa(
        self,
        contexts: Sequence[Sequence[Sequence[int]]],
        *,
        tokens: int,
        seed: int,
        temperature: float | None = None,
    ) -> list[list[Pair]]:
        """One sample of questions with answers a context.

        Args:
            contexts: Token ids of the documents and demonstrations that each sample is about.
            tokens: Longest sample.
            seed: Of the sampling.
            temperature: Of the sampling; where None, what suits the model.
        """
        return generate_qa(self.lm, contexts, tokens=tokens, temperature=temperature, seed=seed)

    def write_texts(
        self, parts: Sequence[Sequence[int]], form: DreamForm, *, tokens: int, seed: int
    ) -> list[list[str]]:
        """Implications or rewritings of documents (token ids), a sample each.

        Args:
            parts: The documents.
            form: Which of the two.
            tokens: Longest sample.
            seed: Of the sampling.
        """
        return write_texts(self.lm, parts, form, tokens=tokens, seed=seed)

    def read_answers(
        self,
        contexts: Sequence[Sequence[Sequence[int]]],
        samples: Sequence[Sequence[Pair]],
        tokens: int,
    ) -> list[list[Pair]]:
        """The questions of samples, each with the greedy answer that its context gives.

        Args:
            contexts: Token ids of the texts that are open, for each sample.
            samples: Questions and answers.
            tokens: Longest answer.
        """
        return answer_again(self.lm, contexts, samples, tokens)

    def write_titles(self, count: int, seed: int) -> list[list[int]]:
        """Titles that the model makes up, as token ids; unfinished ones are left out."""
        return sample_titles(self.lm, count, seed)

    def write_qa_about(self, titles: Sequence[Sequence[int]], count: int, seed: int) -> list[Pair]:
        """Questions and answers about bare titles (token ids), each once, sorted.

        Args:
            titles: Of documents without a text.
            count: Samples of each, at temperature 1.
            seed: Of the sampling.
        """
        return sample_qa_about(self.lm, titles, count, seed)

    def answer(
        self, questions: Sequence[str], tokens: int, parts: Sequence[Sequence[int]] = ()
    ) -> list[str]:
        """Greedy answers of at most so many tokens, with ``parts`` in context."""
        prompts = [self.lm.prompter.prompt(question, parts) for question in questions]
        return self.write(prompts, tokens)

    def score(
        self, pairs: Sequence[Pair], parts: Sequence[Sequence[int]] = ()
    ) -> list[DistillationExample]:
        """Questions and answers with the model's own targets, given ``parts`` in its context."""
        return score_with_teacher(self.lm, pairs, [i for part in parts for i in part])

    def recite(self, pair: Pair) -> DistillationExample:
        """A question with an answer that is to be learned verbatim."""
        return verbatim_example(self.lm, pair)
