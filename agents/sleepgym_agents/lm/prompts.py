"""How documents, questions and answers become token ids."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property, lru_cache
from itertools import chain
from typing import Any

from sleepgym.core.errors import BadSetting, MissingData
from sleepgym.core.types import Document, Introduction
from sleepgym_agents.lm.prompt_format import PromptFormat

__all__ = ["PromptFormat", "Prompter"]

ANCHORS = ("", "\n", "a", ".")  # texts that parts are tokenised behind, where they need one
KEPT_TEXTS = 4096  # whose tokens are remembered: a stream tells and asks the same ones many times
KEPT_CHARACTERS = 1000  # of a text; longer ones are tokenised anew


class Prompter:
    """A prompt format together with a tokenizer.

    Attributes:
        format: The texts; where the tokenizer cannot write their stop marker, its end token is one.
        tokenizer: A Hugging Face tokenizer.
        start: Token ids that open a prompt and a training sequence; the instruction is in them.
        opening: Token ids that open what is read before an answer: ``start``, then the exemplars.
        dream_opening: Token ids that open what is read before a dream.
        stop: Token ids that end an answer.
        ends: Tokens each of which ends whatever is written.
        dream: Token ids that make the model dream.
    """

    def __init__(
        self, prompt_format: PromptFormat, tokenizer: Any, ends: Iterable[int] = ()
    ) -> None:
        """Join a format and a tokenizer.

        Args:
            prompt_format: The texts.
            tokenizer: A Hugging Face tokenizer.
            ends: End tokens beside the tokenizer's own, as a generation config lists them.

        Raises:
            MissingData: If the tokenizer writes neither the stop marker nor an end token, or if
                its tokens cannot be joined.
        """
        self.format = prompt_format
        self.tokenizer = tokenizer
        self._kept = lru_cache(KEPT_TEXTS)(self._tokenised)
        start = prompt_format.start
        start = (tokenizer.bos_token or "") if start is None else start
        self._anchor, self._anchored = _anchor(tokenizer, [start, *_sample(prompt_format)])
        self.start = self.opening = self.dream_opening = self.encode(start)
        self.stop = self.encode(prompt_format.stop)
        if not self._writes_stop():
            end = tokenizer.eos_token
            if not end:
                raise MissingData(
                    f"prompt format: stop={prompt_format.stop!r} has no tokens of its own here and "
                    "the tokenizer no end token: set another stop in prompt.json"
                )
            self.format = replace(prompt_format, stop=end)
            self.stop = [tokenizer.eos_token_id]
        special = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
        marker = special.intersection(self.stop[:1])
        self.ends = frozenset({tokenizer.eos_token_id, *ends, *marker} - {None})
        self._uninstructed: list[int] = []  # the start, once an instruction has come into it
        self.after = self.encode(prompt_format.after)
        self.dream = self.encode(prompt_format.dream)
        ours = "".join([start, *_sample(prompt_format), prompt_format.dream])
        added = sorted(
            str(token)
            for token in tokenizer.added_tokens_decoder.values()
            if token.special or (str(token).strip() and str(token) in ours)
        )
        specials = dict.fromkeys([*tokenizer.all_special_tokens, *added])
        self._specials = [token for token in specials if len(token) > 1]

    def introduced(self, introduction: Introduction, most: int) -> Prompter:
        """A prompter whose prompts begin with what a task says before anything else.

        Args:
            introduction: Its instruction opens everything; its exemplars stand before whatever is
                read to answer or to dream.
            most: Most tokens that they may take.

        Raises:
            BadSetting: If they take more.
        """
        form, told = self.format, copy(self)
        told._uninstructed = self.start
        line = self._plain(introduction.instruction)
        if line and form.system is not None:
            told.start = self.encode(form.system.format(text=line))
        elif line:
            told.start = [*self.start, *self.encode(f"{line}\n\n")]
        told.opening, told.dream_opening = list(told.start), list(told.start)
        for shown in introduction.exemplars:
            read = [i for document in shown.documents for i in self.document(document)]
            pairs = [
                (question.text, answer)
                for question, answer in zip(shown.questions, shown.answers, strict=True)
            ]
            asked = [i for pair in pairs for i in self.demonstration(*pair)]
            told.opening += [*read, *asked]
            told.dream_opening += [*read, *self._dreamt(pairs)]
        longest = max(len(told.opening), len(told.dream_opening))
        if longest > most:
            raise BadSetting(
                f"shots={len(introduction.exemplars)}: instruction and exemplars take {longest} "
                f"tokens of this model, and its window has room for {most}: set fewer shots"
            )
        return told

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, special tokens recognised, none added.

        Where a tokenizer puts a space before whatever it is given, the text is tokenised behind
        another one, whose tokens are dropped: the ids of parts, joined, decode to the parts.
        """
        if not text:
            return []
        return list(self._kept(text) if len(text) <= KEPT_CHARACTERS else self._tokenised(text))

    def document(self, document: Document) -> list[int]:
        """Token ids of a document."""
        title, text = self._plain(document.title), self._plain(document.text)
        form = self.format.document
        if not title:  # its line goes with it
            form = form.replace("{title}\n", "")
        return self.encode(form.format(title=title, text=text))

    def question(self, text: str) -> list[int]:
        """Token ids of a question, up to where its answer begins."""
        return self.encode(self.format.question.format(text=self._plain(text)))

    def answer(self, answer: str) -> list[int]:
        """Token ids of an answer with its stop marker."""
        return self.encode(self.format.answer.format(answer=self._plain(answer))) + self.stop

    def demonstration(self, text: str, answer: str) -> list[int]:
        """Token ids of a question with its answer, and the gap behind them."""
        return self.question(text) + self.answer(answer) + self.after

    def prompt(
        self, text: str, parts: Sequence[Sequence[int]] = (), most: int | None = None
    ) -> list[int]:
        """Token ids of the opening, documents and demonstrations (``parts``), and a question.

        Of more than ``most`` tokens those after the opening go first: the oldest document's.
        """
        ids = [*chain.from_iterable(parts), *self.question(text)]
        if most is not None:
            ids = ids[max(0, len(self.opening) + len(ids) - most) :]
        return [*self.opening, *ids]

    def dream_prompt(self, parts: Sequence[Sequence[int]]) -> list[int]:
        """Token ids after which the model writes questions and answers about ``parts``."""
        return [*self.dream_opening, *(i for part in parts for i in part), *self.dream]

    def answer_text(self, ids: Sequence[int]) -> str:
        """The answer in generated token ids: what stands before the stop marker or an end token."""
        end = next((i for i, token in enumerate(ids) if token in self.ends), len(ids))
        text = self.tokenizer.decode(ids[:end], clean_up_tokenization_spaces=False)
        text = text.partition(self.format.stop)[0] if self.format.stop else text
        for token in self._specials:
            text = text.replace(token, "")
        return text.strip()

    def stopped(self, ids: Sequence[int]) -> bool:
        """Whether generated token ids end with the stop marker or an end token."""
        if ids[-1] in self.ends:
            return True
        return ids[-1] in self._stopping and self.format.stop in self.tokenizer.decode(ids)

    def request(self, parts: Sequence[Sequence[int]], text: str) -> list[int]:
        """Token ids after which the model does what a text asks for about ``parts``."""
        asked = self.encode(self.format.request.format(text=text))
        return [*self.start, *(i for part in parts for i in part), *asked]

    def begins_anew(self, ids: Sequence[int]) -> bool:
        """Whether a dream is over: its reply has ended, or what follows opens another prompt."""
        if self.format.dream_item is not None:
            return ids[-1] in self.ends
        return list(ids[-1:]) == (self._uninstructed or self.start)

    def dreamt_text(self, ids: Sequence[int]) -> str:
        """What was written after ``dream``, from the beginning of its first item on."""
        form = self.format
        if form.dream_item is not None:
            end = next((i for i, token in enumerate(ids) if token in self.ends), len(ids))
            ids = ids[:end]
        text = self.tokenizer.decode(ids, clean_up_tokenization_spaces=False)
        item = form.question if form.dream_item is None else form.dream_item
        begins = item.partition("{")[0]
        begun = (form.dream[at:] for at in range(len(form.dream)))
        text = next((part for part in begun if begins.startswith(part)), "") + text
        opens = self.tokenizer.bos_token if form.start is None else form.start
        return text.partition(opens)[0] if opens else text  # the model began another document

    def _dreamt(self, pairs: Sequence[tuple[str, str]]) -> list[int]:
        """Token ids of items as they follow a document in an exemplar of a dream."""
        item = self.format.dream_item
        if item is None:
            return [i for pair in pairs for i in self.demonstration(*pair)]
        texts = (
            item.format(
                question=self._plain(question.rpartition("\n")[2]),  # without its topic's line
                answer=self._plain(" ".join(answer.split())),
            )
            for question, answer in pairs
        )
        said = "".join(texts)
        if not self.format.stop.startswith("\n"):
            said = said.rstrip("\n")
        asked = self.format.dream.removesuffix(item.partition("{")[0].rstrip(" "))
        return self.encode(asked + said) + self.stop + self.after

    @cached_property
    def _stopping(self) -> frozenset[int]:
        """Tokens that may complete the stop marker: its last character is in them."""
        if not self.stop:
            return frozenset()
        if self.stop[-1] in self.tokenizer.all_special_ids:
            return frozenset(self.stop[-1:])
        texts = self.tokenizer.batch_decode([[i] for i in range(len(self.tokenizer))])
        return frozenset(i for i, text in enumerate(texts) if self.format.stop[-1] in text)

    def _tokenised(self, text: str) -> tuple[int, ...]:
        ids = self.tokenizer.encode(self._anchor + text, add_special_tokens=False)
        return tuple(ids[self._anchored :])

    def _writes_stop(self) -> bool:
        wanted = self.format.stop.strip(" ") or self.format.stop  # decoders may drop a first space
        return bool(self.stop) and wanted in self.tokenizer.decode(self.stop)

    def _plain(self, text: str) -> str:
        """Text in which no special token can be recognised: data must not forge a marker."""
        for token in self._specials:
            text = text.replace(token, f"{token[0]} {token[1:]}")
        return text


def _sample(prompt_format: PromptFormat) -> list[str]:
    """A document, and twice a question with its answer, as they stand in a prompt."""
    asked = [
        prompt_format.question.format(text="Who was it?"),
        prompt_format.answer.format(answer="Paris"),
        prompt_format.stop,
    ]
    return [prompt_format.document.format(title="Oslo", text="It is cold."), *asked, *asked]


def _anchor(tokenizer: Any, sample: Sequence[str]) -> tuple[str, int]:
    """A text to tokenise parts behind so that they can be joined, and how many tokens it has.

    Args:
        tokenizer: A Hugging Face tokenizer.
        sample: Parts of a prompt, in order.

    Raises:
        MissingData: If joined parts never decode to the whole text.
    """

    def ids(text: str) -> list[int]:
        return tokenizer.encode(text, add_special_tokens=False) if text else []

    def text(tokens: list[int]) -> str:
        return tokenizer.decode(tokens, clean_up_tokenization_spaces=False).lstrip(" ")

    whole = "".join(sample)
    wanted = (whole.lstrip(" "), text(ids(whole)))  # itself, or as this tokenizer renders it
    for anchor in ANCHORS:
        before = ids(anchor)
        parts = [ids(anchor + part) for part in sample if part]
        kept = all(part[: len(before)] == before for part in parts)
        if kept and text([i for part in parts for i in part[len(before) :]]) in wanted:
            return anchor, len(before)
    raise MissingData(
        f"tokenizer {type(tokenizer).__name__}: parts tokenised apart do not decode to their text"
    )
