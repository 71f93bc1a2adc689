"""What an agent shows a served model, as turns of a chat or as one plain text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sleepgym.core.types import Document
from sleepgym_agents.lm.prompts import PromptFormat

CHARACTERS = 4.0  # of a token; only the server knows its tokenizer
MARKERS = 4  # tokens around a part
PLAIN = PromptFormat()
ONE_OF = "\n\nAnswer with exactly one of these, and nothing else:\n"

Message = dict[str, str]


@dataclass(frozen=True)
class Part:
    """A document, or a question with its answer; its length is an estimate in tokens.

    Attributes:
        text: The document with its title, or the question.
        answer: The answer; None for a document.
    """

    text: str
    answer: str | None = None

    def __len__(self) -> int:
        return MARKERS + round((len(self.text) + len(self.answer or "")) / CHARACTERS)


@dataclass(frozen=True)
class Prompt:
    """What stands before a question, and the question."""

    parts: tuple[Part, ...]
    question: str


class TurnPrompter:
    """Stands in for :class:`~sleepgym_agents.lm.prompts.Prompter` where texts stay texts.

    Attributes:
        start: Of a prompt: nothing, the server adds its own.
        instruction: The system line; empty for none.
        exemplars: Documents with questions and answers that stand before everything.
    """

    start: Sequence[Part] = ()

    def __init__(self) -> None:
        self.instruction = ""
        self.exemplars: tuple[Any, ...] = ()

    def document(self, document: Document) -> Part:
        """A document."""
        text = PLAIN.document.format(title=document.title, text=document.text)
        return Part(text.strip("\n"))

    def demonstration(self, text: str, answer: str) -> Part:
        """A question with its answer."""
        return Part(text, answer)

    def answer(self, answer: str) -> Part:
        """An answer; asked for its length alone."""
        return Part("", answer)

    def prompt(self, text: str, parts: Sequence[Part] = (), most: int | None = None) -> Prompt:
        """A question after ``parts``; of more than ``most`` tokens, about, the oldest go."""
        kept = list(parts)
        size = len(Part(text)) + sum(map(len, kept)) + sum(map(len, self._shown()))
        while most is not None and kept and size > most:
            size -= len(kept.pop(0))
        return Prompt(tuple(kept), text)

    def messages(self, prompt: Prompt, choices: Sequence[str] = ()) -> list[Message]:
        """A prompt as turns: exemplars and demonstrations are earlier ones.

        Args:
            prompt: The prompt.
            choices: What the answer must be one of; listed behind the question.
        """
        turns = [_turn("system", self.instruction)] if self.instruction else []
        texts: list[str] = []
        for part in (*self._shown(), *prompt.parts):
            texts.append(part.text)
            if part.answer is not None:
                turns += [_turn("user", "\n\n".join(texts)), _turn("assistant", part.answer)]
                texts = []
        asked = prompt.question + _listed(choices)
        return [*turns, _turn("user", "\n\n".join([*texts, asked]))]

    def plain(self, prompt: Prompt, choices: Sequence[str] = ()) -> str:
        """A prompt as the text that a base model continues."""
        before = [f"{self.instruction}\n\n"] if self.instruction else []
        for part in (*self._shown(), *prompt.parts):
            if part.answer is None:
                before.append(f"{part.text}\n\n")
            else:
                before += [PLAIN.question.format(text=part.text), self.plain_answer(part.answer)]
        asked = prompt.question + _listed(choices)
        return "".join([*before, PLAIN.question.format(text=asked)])

    def plain_answer(self, answer: str) -> str:
        """An answer with its stop marker, as it stands behind a plain question."""
        return PLAIN.answer.format(answer=answer) + PLAIN.stop

    def _shown(self) -> list[Part]:
        """The exemplars as parts."""
        shown: list[Part] = []
        for exemplar in self.exemplars:
            shown += map(self.document, exemplar.documents)
            pairs = zip(exemplar.questions, exemplar.answers, strict=True)
            shown += [self.demonstration(question.text, answer) for question, answer in pairs]
        return shown


def _listed(choices: Sequence[str]) -> str:
    return ONE_OF + "\n".join(choices) if choices else ""


def _turn(role: str, content: str) -> Message:
    return {"role": role, "content": content}
