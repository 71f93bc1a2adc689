"""What an agent shows a served model, as turns of a chat or as one plain text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass, replace

from sleepgym.core.errors import BadSetting
from sleepgym.core.types import Document, Experience, Introduction
from sleepgym_agents.lm.prompt_format import ASKED_TO_DREAM, READ, PromptFormat

CHARACTERS = 4.0  # of a token; only the server knows its tokenizer
MARKERS = 4  # tokens around a part
UNDERSTOOD = "Understood."  # to an instruction, where a server refuses system lines
ONE_OF = "\n\nAnswer with exactly one of these, and nothing else:\n"
ITEM = "Question: {question}\nAnswer: {answer}"
DREAM = f"{ASKED_TO_DREAM} Write each in this form:\n{ITEM.format(question='...', answer='...')}"

Message = dict[str, str]


@dataclass(frozen=True)
class Part:
    """A document, or a question with its answer; its length is an estimate in tokens.

    Attributes:
        text: Of the document, or the question.
        title: Of the document.
        answer: The answer; None for a document.
    """

    text: str
    title: str = ""
    answer: str | None = None

    def __len__(self) -> int:
        characters = len(self.text) + len(self.title) + len(self.answer or "")
        return MARKERS + round(characters / CHARACTERS)


@dataclass(frozen=True)
class Prompt:
    """All that the model is shown.

    Attributes:
        question: What it is asked.
        parts: Documents and demonstrations before.
        exemplars: What the task shows before them.
        instruction: What the task says first.
    """

    question: str
    parts: tuple[Part, ...] = ()
    exemplars: tuple[Experience, ...] = ()
    instruction: str = ""


class TurnPrompter:
    """Stands in for :class:`~sleepgym_agents.lm.prompts.Prompter` where texts stay texts.

    Attributes:
        introduction: Instruction and exemplars that stand before everything.
    """

    def __init__(self) -> None:
        self.introduction = Introduction()

    def introduced(self, introduction: Introduction, most: int) -> TurnPrompter:
        """A prompter whose prompts begin with what a task says; see ``Prompter.introduced``.

        Raises:
            BadSetting: If it takes more than ``most`` tokens, about.
        """
        told = copy(self)
        told.introduction = introduction
        size = len(told.opening)
        if size > most:
            raise BadSetting(
                f"shots={len(introduction.exemplars)}: instruction and exemplars take about {size} "
                f"tokens, and the model's window has room for {most}: set fewer shots"
            )
        return told

    @property
    def opening(self) -> range:
        """What opens every prompt; its length is an estimate in tokens."""
        told = self.introduction
        shown = [part for exemplar in told.exemplars for part in _parts(exemplar)]
        return range(sum(map(len, [*shown, Part(told.instruction)])))

    def document(self, document: Document) -> Part:
        """A document."""
        return Part(document.text, document.title)

    def demonstration(self, text: str, answer: str) -> Part:
        """A question with its answer."""
        return Part(text, answer=answer)

    def answer(self, answer: str) -> Part:
        """An answer; asked for its length alone."""
        return Part("", answer=answer)

    def prompt(self, text: str, parts: Sequence[Part] = (), most: int | None = None) -> Prompt:
        """A question after ``parts``; of more than ``most`` tokens, about, the oldest go."""
        kept = list(parts)
        size = len(Part(text)) + sum(map(len, kept)) + len(self.opening)
        while most is not None and kept and size > most:
            size -= len(kept.pop(0))
        told = self.introduction
        return Prompt(text, tuple(kept), told.exemplars, told.instruction)

    def dream_prompt(self, parts: Sequence[Part]) -> Prompt:
        """What makes the model write questions and answers about ``parts``."""
        return self.prompt(DREAM, parts)


def messages(prompt: Prompt, choices: Sequence[str] = (), system: bool = True) -> list[Message]:
    """A prompt as turns: documents were read, demonstrations answered.

    Args:
        prompt: The prompt.
        choices: What the answer must be one of; listed behind the question.
        system: Whether the instruction is a system line; else the first turn.
    """
    shown = [part for exemplar in prompt.exemplars for part in _parts(exemplar)]
    return [*_messages(prompt, shown, system), _turn("user", prompt.question + _listed(choices))]


def dream_messages(prompt: Prompt, system: bool = True) -> list[Message]:
    """The same for questions about what stands in the prompt: exemplars show some."""
    shown: list[Part] = []
    for exemplar in prompt.exemplars:
        pairs = zip(exemplar.questions, exemplar.answers, strict=True)
        items = [ITEM.format(question=question.text, answer=answer) for question, answer in pairs]
        shown += [*_parts(replace(exemplar, questions=(), answers=()))]
        shown.append(Part(DREAM, answer="\n".join(items)))
    return [*_messages(prompt, shown, system), _turn("user", prompt.question)]


def plain(prompt: Prompt, form: PromptFormat, choices: Sequence[str] = ()) -> str:
    """A prompt as the text that a model continues with an answer."""
    return _read(prompt, form) + form.question.format(text=prompt.question + _listed(choices))


def plain_answer(answer: str, form: PromptFormat) -> str:
    """An answer with its stop marker, as it stands behind a plain question."""
    return form.answer.format(answer=answer) + form.stop


def plain_dream(prompt: Prompt, form: PromptFormat) -> str:
    """The text that a model continues with questions and answers."""
    return _read(prompt, form) + form.dream


def _parts(exemplar: Experience) -> list[Part]:
    prompter = TurnPrompter()
    pairs = zip(exemplar.questions, exemplar.answers, strict=True)
    asked = [prompter.demonstration(question.text, answer) for question, answer in pairs]
    return [*map(prompter.document, exemplar.documents), *asked]


def _messages(prompt: Prompt, shown: Iterable[Part], system: bool) -> list[Message]:
    """The turns before the question."""
    turns: list[Message] = []
    if prompt.instruction and system:
        turns.append(_turn("system", prompt.instruction))
    elif prompt.instruction:
        turns += [_turn("user", prompt.instruction), _turn("assistant", UNDERSTOOD)]
    for part in (*shown, *prompt.parts):
        said = f"{part.title}\n{part.text}" if part.title else part.text
        turns.append(_turn("user", said))
        turns.append(_turn("assistant", READ if part.answer is None else part.answer))
    return turns


def _read(prompt: Prompt, form: PromptFormat) -> str:
    """The plain text before the question."""
    line = prompt.instruction
    text = form.start or ""
    if line:
        text = form.system.format(text=line) if form.system else f"{text}{line}\n\n"
    shown = [part for exemplar in prompt.exemplars for part in _parts(exemplar)]
    for part in (*shown, *prompt.parts):
        if part.answer is not None:
            text += form.question.format(text=part.text) + plain_answer(part.answer, form)
            text += form.after
        elif part.title:
            text += form.document.format(title=part.title, text=part.text)
        else:
            text += form.document.replace("{title}\n", "").format(title="", text=part.text)
    return text


def _listed(choices: Sequence[str]) -> str:
    return ONE_OF + "\n".join(choices) if choices else ""


def _turn(role: str, content: str) -> Message:
    return {"role": role, "content": content}
