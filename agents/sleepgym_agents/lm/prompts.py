"""How documents, questions and answers become token ids."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from sleepgym.core.errors import BadData
from sleepgym.core.types import Document


@dataclass(frozen=True)
class PromptFormat:
    """The texts around what a model reads; ``prompt.json`` in a model's folder overrides them.

    A prompt is ``start``, then documents and demonstrations, then a question; a demonstration is a
    question with its answer and ``stop``. Each part is tokenised on its own and the ids are
    joined, so that no token spans two parts and the same text always gives the same ids.

    Attributes:
        start: Opens every prompt and training sequence; None is the tokenizer's own start token.
        document: A document, with ``{title}`` and ``{text}``.
        question: A question, with ``{text}``.
        answer: An answer, with ``{answer}``.
        stop: Ends an answer.
        dream: What makes the model write questions and answers about the text before it.
    """

    start: str | None = None
    document: str = "{title}\n{text}\n\n"
    question: str = "Question: {text}\nAnswer:"
    answer: str = " {answer}"
    stop: str = "\n"
    dream: str = "Question:"

    @classmethod
    def read(cls, folder: Path) -> PromptFormat:
        """The format in ``folder/prompt.json``, or the plain default where there is none.

        Raises:
            BadData: If the file is not a JSON object of this class's fields.
        """
        path = folder / "prompt.json"
        if not path.is_file():
            return cls()
        names = [f.name for f in fields(cls)]
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            return cls(**values)
        except (ValueError, TypeError) as error:
            raise BadData(f"{path}: must be a JSON object with keys of {names}: {error}") from error


class Prompter:
    """A prompt format together with a tokenizer.

    Attributes:
        format: The texts.
        tokenizer: A Hugging Face tokenizer.
        start: Token ids that open a prompt.
        stop: Token ids that end an answer.
        dream: Token ids that make the model dream.
    """

    def __init__(self, prompt_format: PromptFormat, tokenizer: Any) -> None:
        self.format = prompt_format
        self.tokenizer = tokenizer
        start = prompt_format.start
        self.start = self.encode((tokenizer.bos_token or "") if start is None else start)
        self.stop = self.encode(prompt_format.stop)
        self.dream = self.encode(prompt_format.dream)
        self._specials = [token for token in tokenizer.all_special_tokens if len(token) > 1]

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, special tokens recognised, none added."""
        return self.tokenizer.encode(text, add_special_tokens=False) if text else []

    def document(self, document: Document) -> list[int]:
        """Token ids of a document."""
        title, text = self._plain(document.title), self._plain(document.text)
        filled = self.format.document.format(title=title, text=text)
        return self.encode(filled if title else filled.lstrip("\n"))

    def question(self, text: str) -> list[int]:
        """Token ids of a question, up to where its answer begins."""
        return self.encode(self.format.question.format(text=self._plain(text)))

    def answer(self, answer: str) -> list[int]:
        """Token ids of an answer with its stop marker."""
        return self.encode(self.format.answer.format(answer=self._plain(answer))) + self.stop

    def demonstration(self, text: str, answer: str) -> list[int]:
        """Token ids of a question with its answer."""
        return self.question(text) + self.answer(answer)

    def prompt(self, text: str, parts: Sequence[Sequence[int]] = ()) -> list[int]:
        """Token ids of start, documents and demonstrations (``parts``), and a question."""
        return [*self.start, *(i for part in parts for i in part), *self.question(text)]

    def answer_text(self, ids: Sequence[int]) -> str:
        """The answer in generated token ids: what stands before the stop marker."""
        text = self.tokenizer.decode(ids, clean_up_tokenization_spaces=False)
        text = text.partition(self.format.stop)[0] if self.format.stop else text
        for token in self._specials:
            text = text.replace(token, "")
        return text.strip()

    def stopped(self, ids: Sequence[int]) -> bool:
        """Whether generated token ids end with the stop marker or the end token."""
        if ids[-1] == self.tokenizer.eos_token_id:
            return True
        return ids[-1] in self._stopping and self.format.stop in self.tokenizer.decode(ids)

    @cached_property
    def _stopping(self) -> frozenset[int]:
        """Tokens that may complete the stop marker: its last character is in them."""
        if not self.stop:
            return frozenset()
        if self.stop[-1] in self.tokenizer.all_special_ids:
            return frozenset(self.stop[-1:])
        texts = self.tokenizer.batch_decode([[i] for i in range(len(self.tokenizer))])
        return frozenset(i for i, text in enumerate(texts) if self.format.stop[-1] in text)

    def _plain(self, text: str) -> str:
        """Text in which no special token can be recognised: data must not forge a marker."""
        for token in self._specials:
            text = text.replace(token, f"{token[0]} {token[1:]}")
        return text
