"""The texts around what a model reads: plain, from a file, or taken from its own chat template."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from itertools import takewhile
from pathlib import Path
from string import Formatter
from typing import Any

from sleepgym.core.errors import BadData

PLACEHOLDERS = {
    "system": ("text",),
    "document": ("text", "title"),
    "question": ("text",),
    "answer": ("answer",),
    "dream_item": ("question", "answer"),
    "request": ("text",),
}
NULLABLE = ("start", "system", "dream_item")
CHOSEN = "SLEEPGYM_PROMPT"  # the environment variable that overrides a model's own format
DREAM_ITEM = "Question: {question}\nAnswer: {answer}\n"
ASKED_TO_DREAM = (
    "Write questions about the text, one after the other, each with its answer in a few words. "
    "Every question names what it is about."
)
READ = "I have read it."  # what the model is made to say to a document that is a turn of its own
_DAY = datetime(2024, 7, 26)  # of templates that tell the date: prompts must not change by the day
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PromptFormat:
    """The texts around what a model reads; ``prompt.json`` in a model's folder overrides them.

    A prompt is ``start``, then documents and demonstrations, then a question; a demonstration is a
    question with its answer, ``stop`` and ``after``. Each part is tokenised on its own (see
    :meth:`sleepgym_agents.lm.prompts.Prompter.encode`) and the ids are joined, so that no token
    spans two parts and the same text always gives the same ids.

    Attributes:
        start: Opens every prompt and training sequence; None is the tokenizer's own start token.
        document: A document, with ``{title}`` and ``{text}``.
        question: A question, with ``{text}``.
        answer: An answer, with ``{answer}``.
        stop: Ends an answer.
        dream: What makes the model write questions and answers about the text before it.
        system: Opens a prompt in place of ``start`` where the task gives an instruction, with
            ``{text}``; None is ``start``, the instruction and an empty line.
        after: Stands between ``stop`` and whatever comes next.
        dream_item: A question with its answer as the model writes them after ``dream``, with
            ``{question}`` and ``{answer}``; its reply is over when it ends. None: as in a prompt,
            one after the other until it begins anew.
        request: What asks for a text of another kind, with ``{text}``.
    """

    start: str | None = None
    document: str = "{title}\n{text}\n\n"
    question: str = "Question: {text}\nAnswer:"
    answer: str = " {answer}"
    stop: str = "\n"
    dream: str = "Question:"
    system: str | None = None
    after: str = ""
    dream_item: str | None = None
    request: str = "{text}\n"

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
            return cls.parse(path.read_text(encoding="utf-8"), str(path))
        except (OSError, UnicodeError) as error:
            raise BadData(f"{path}: {error}") from error

    @classmethod
    def parse(cls, text: str, where: str) -> PromptFormat:
        """The format in JSON text.

        Raises:
            BadData: As :meth:`read`; ``where`` names the source.
        """
        try:
            values = json.loads(text)
            _check(values, [f.name for f in fields(cls)])
        except (ValueError, RecursionError) as error:
            raise BadData(f"{where}: {error}") from error
        return cls(**values)


PLAIN = PromptFormat(
    dream="Three questions about the text, each with an answer of a few words from it:\nQuestion:",
    dream_item=DREAM_ITEM,
)
"""For a model that says nothing about itself, base or instruct: it is asked in words to dream."""


def chosen_format(folder: Path, tokenizer: Any, known: str = "") -> PromptFormat:
    """The format for a model: the first there is of four.

    ``SLEEPGYM_PROMPT`` (JSON text, ``plain`` or ``template``), ``prompt.json`` in the model's
    folder, what is ``known`` to suit it (``plain`` or ``template``), its chat template; the plain
    form where it has none, or one that cannot be taken apart (which is logged).

    Args:
        folder: Of the model.
        tokenizer: A Hugging Face tokenizer.
        known: From the table of known models.

    Raises:
        BadData: If a format is malformed, or a template is asked for and cannot be used.
    """
    chosen = os.environ.get(CHOSEN, "")
    given = given_format()
    if given is not None:
        return given
    if not chosen and (folder / "prompt.json").is_file():
        return PromptFormat.read(folder)
    if not chosen and known == "plain":
        return PLAIN
    found, why = format_of_template(tokenizer)
    if found is not None:
        return found
    if chosen == "template":
        raise BadData(f"--prompt template: {why}")
    if getattr(tokenizer, "chat_template", None):
        log.warning("%s: questions are asked in the plain form; --prompt FILE sets another", why)
    return PLAIN


def given_format() -> PromptFormat | None:
    """The format that ``SLEEPGYM_PROMPT`` spells out; None where it does not.

    Raises:
        BadData: If it is malformed.
    """
    chosen = os.environ.get(CHOSEN, "")
    if chosen.startswith("{"):
        return PromptFormat.parse(chosen, "--prompt")
    if chosen not in ("", "plain", "template"):
        raise BadData(f"{CHOSEN}={chosen:.40}: must be plain, template or a JSON object")
    return PLAIN if chosen == "plain" else None


def format_of_template(tokenizer: Any) -> tuple[PromptFormat | None, str]:
    """A tokenizer's chat template as a format, or None and why not.

    Parts are cut out of a rendered conversation. A document is a turn of the user's that the model
    has read (:data:`READ`), so that turns alternate, which some templates insist on. A template
    without system lines gets the instruction as the first turn of the user's.
    """
    if not getattr(tokenizer, "chat_template", None):
        return None, "the tokenizer has no chat template"
    one, other, said, line = "<<Uno>>", "<<Due>>", "<<Tre>>", "<<Quattro>>"
    try:
        asked = _rendered(tokenizer, user=one)
        talk = _rendered(tokenizer, user=one, assistant=said, user_again=other)
    except Exception as error:  # a template may raise whatever it likes
        return None, f"the chat template cannot be used ({' '.join(str(error).split()):.100})"
    head, _, ask = asked.partition(one)
    parts = re.fullmatch(f"(.*){one}(.*){said}(.*){other}(.*)", talk, flags=re.DOTALL)
    if not parts or parts[1] != head or parts[4] != ask:
        return None, "the chat template cannot be split into turns that join"
    before, turn = parts[2], parts[3]  # between question and answer, answer and next question
    if before.startswith(ask):
        lead = before.removeprefix(ask)
    elif ask.startswith(before):  # what opens the newest answer only, such as an empty thought
        lead = ""
    else:
        return None, "the chat template opens a new answer otherwise than an old one"
    stop, after, opens = _split_turn(tokenizer, turn, head)
    if not stop or not head.endswith(opens):
        return None, "the chat template cannot be split into turns that join"
    start = _braced(head.removesuffix(opens))
    question = f"{_braced(opens)}{{text}}{_braced(ask)}"
    answer, ending = f"{_braced(lead)}{{answer}}", _braced(stop + after)
    reading = f"{_braced(opens)}{{title}}\n{{text}}{_braced(ask + lead)}{READ}{ending}"
    system = start + question + _braced(lead) + "Understood." + ending
    try:
        with_line = _rendered(tokenizer, system=line, user=one)
    except Exception:  # it refuses system lines
        with_line = ""
    rest = f"{opens}{one}{ask}"
    if with_line.count(line) == 1 and with_line.endswith(rest):
        system = _braced(with_line.removesuffix(rest)).replace(line, "{text}")
    dreaming = opens + ASKED_TO_DREAM + ask + lead
    return PromptFormat(
        start=head.removesuffix(opens),
        system=system,
        document=reading,
        question=question,
        answer=answer,
        stop=stop,
        after=after,
        dream=f"{dreaming}Question:",
        dream_item=DREAM_ITEM,
        request=question + _braced(lead),
    ), ""


def _rendered(tokenizer: Any, **turns: str) -> str:
    """A conversation as the template writes it, up to where the model is to answer."""
    messages = [
        {"role": role.removesuffix("_again"), "content": text} for role, text in turns.items()
    ]
    return tokenizer.apply_chat_template(
        messages,
        tokenize=False,
        add_generation_prompt=True,
        enable_thinking=False,
        date_string=f"{_DAY:%d %b %Y}",
        strftime_now=_DAY.strftime,
    )


def _split_turn(tokenizer: Any, turn: str, head: str) -> tuple[str, str, str]:
    """What stands between an answer and the next question: its end, a gap, and what opens a turn.

    The end is the first special token, with spaces before it; what opens a turn is what the rest
    and ``head``, the text before a first question, end with alike.
    """
    added = tokenizer.added_tokens_decoder.values()
    known = {str(token) for token in added} | set(tokenizer.all_special_tokens)
    names = sorted((re.escape(token) for token in known if token.strip()), key=len, reverse=True)
    end = re.match(rf"\s*(?:{'|'.join(names)})", turn) if names else None
    stop = end[0] if end else ""
    rest = turn.removeprefix(stop)
    same = zip(reversed(rest), reversed(head), strict=False)
    alike = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], same))
    opens = rest[len(rest) - alike :]
    after = rest.removesuffix(opens)
    if not stop:  # no special token: the words before what opens a turn
        return after, "", opens
    if after.strip():
        return "", "", ""
    return stop, after, opens


def _braced(text: str) -> str:
    """Text as it stands in a template of ``str.format``."""
    return text.replace("{", "{{").replace("}", "}}")


def _check(values: Any, names: Sequence[str]) -> None:
    """Raise ValueError for what is not the contents of a prompt format."""
    if not isinstance(values, dict) or not values.keys() <= set(names):
        raise ValueError(f"must be a JSON object with keys of {', '.join(names)}")
    for name, text in values.items():
        if text is None and name in NULLABLE:
            continue
        if not isinstance(text, str):
            raise ValueError(f"{name}={json.dumps(text):.60}: must be a text")
        if name in PLACEHOLDERS:
            _check_placeholders(name, text, PLACEHOLDERS)


def _check_placeholders(name: str, text: str, rules: Mapping[str, tuple[str, ...]]) -> None:
    allowed = rules[name]
    needed = allowed if name == "dream_item" else allowed[:1]
    try:
        parts = list(Formatter().parse(text))
    except ValueError as error:  # a brace alone
        raise ValueError(f"{name}={text!r}: {error}; write {{{{ for a brace") from error
    found = [part[1] for part in parts if part[1] is not None]
    plain = all(not part[2] and not part[3] for part in parts)  # no format, no conversion
    if not set(needed) <= set(found) <= set(allowed) or not plain:
        known = ", ".join(f"{{{field}}}" for field in allowed)
        must = " and ".join(f"{{{field}}}" for field in needed)
        raise ValueError(f"{name}={text!r}: must hold {must}, and nothing but {known}")
