"""How documents, questions and answers become token ids."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from string import Formatter
from typing import Any

from sleepgym.core.errors import BadData, MissingData
from sleepgym.core.types import Document

PLACEHOLDERS = {"document": ("text", "title"), "question": ("text",), "answer": ("answer",)}
ANCHORS = ("", "\n", "a", ".")  # texts that parts are tokenised behind, where they need one


@dataclass(frozen=True)
class PromptFormat:
    """The texts around what a model reads; ``prompt.json`` in a model's folder overrides them.

    A prompt is ``start``, then documents and demonstrations, then a question; a demonstration is a
    question with its answer and ``stop``. Each part is tokenised on its own (see
    :meth:`Prompter.encode`) and the ids are joined, so that no token spans two parts and the same
    text always gives the same ids.

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
            BadData: If the file is not a JSON object of this class's fields, each a text with the
                placeholders that it needs and no other.
        """
        path = folder / "prompt.json"
        if not path.is_file():
            return cls()
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            _check(values, [f.name for f in fields(cls)])
        except (OSError, ValueError, RecursionError) as error:
            raise BadData(f"{path}: {error}") from error
        return cls(**values)


def _check(values: Any, names: Sequence[str]) -> None:
    """Raise ValueError for what is not the contents of a prompt format."""
    if not isinstance(values, dict) or not values.keys() <= set(names):
        raise ValueError(f"must be a JSON object with keys of {', '.join(names)}")
    for name, text in values.items():
        if not isinstance(text, str) and (name, text) != ("start", None):
            raise ValueError(f"{name}={json.dumps(text):.60}: must be a text")
        if name not in PLACEHOLDERS:
            continue
        needed, *allowed = PLACEHOLDERS[name]
        try:
            parts = list(Formatter().parse(text))
        except ValueError as error:  # a brace alone
            raise ValueError(f"{name}={text!r}: {error}; write {{{{ for a brace") from error
        found = [part[1] for part in parts if part[1] is not None]
        plain = all(not part[2] and not part[3] for part in parts)  # no format, no conversion
        if needed not in found or not set(found) <= {needed, *allowed} or not plain:
            known = ", ".join(f"{{{field}}}" for field in (needed, *allowed))
            raise ValueError(f"{name}={text!r}: must hold {{{needed}}}, and nothing but {known}")


class Prompter:
    """A prompt format together with a tokenizer.

    Attributes:
        format: The texts; where the tokenizer cannot write their stop marker, its end token is one.
        tokenizer: A Hugging Face tokenizer.
        start: Token ids that open a prompt.
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
        start = prompt_format.start
        start = (tokenizer.bos_token or "") if start is None else start
        self._anchor, self._anchored = _anchor(tokenizer, [start, *_sample(prompt_format)])
        self.start = self.encode(start)
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
        self.ends = frozenset({tokenizer.eos_token_id, *ends} - {None})
        self.dream = self.encode(prompt_format.dream)
        added = sorted(str(t) for t in tokenizer.added_tokens_decoder.values() if t.special)
        specials = dict.fromkeys([*tokenizer.all_special_tokens, *added])
        self._specials = [token for token in specials if len(token) > 1]

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, special tokens recognised, none added.

        Where a tokenizer puts a space before whatever it is given, the text is tokenised behind
        another one, whose tokens are dropped: the ids of parts, joined, decode to the parts.
        """
        if not text:
            return []
        ids = self.tokenizer.encode(self._anchor + text, add_special_tokens=False)
        return ids[self._anchored :]

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

    def prompt(
        self, text: str, parts: Sequence[Sequence[int]] = (), most: int | None = None
    ) -> list[int]:
        """Token ids of start, documents and demonstrations (``parts``), and a question.

        Of more than ``most`` tokens those after the start go first: the oldest document's.
        """
        ids = [*(i for part in parts for i in part), *self.question(text)]
        if most is not None:
            ids = ids[max(0, len(self.start) + len(ids) - most) :]
        return [*self.start, *ids]

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

    @cached_property
    def _stopping(self) -> frozenset[int]:
        """Tokens that may complete the stop marker: its last character is in them."""
        if not self.stop:
            return frozenset()
        if self.stop[-1] in self.tokenizer.all_special_ids:
            return frozenset(self.stop[-1:])
        texts = self.tokenizer.batch_decode([[i] for i in range(len(self.tokenizer))])
        return frozenset(i for i, text in enumerate(texts) if self.format.stop[-1] in text)

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
