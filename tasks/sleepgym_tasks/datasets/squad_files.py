"""SQuAD v1.1 in both of its layouts: the original tree, and SEAL's list of passages.

P. Rajpurkar et al., "SQuAD: 100,000+ Questions for Machine Comprehension of Text", EMNLP 2016 (CC
BY-SA 4.0). Original: ``{"data": [{"title", "paragraphs": [{"context", "qas": [{"question",
"answers": [{"text", "answer_start"}]}]}]}]}``. SEAL (A. Zweiger et al. 2025, arXiv:2506.10943):
``[{"title", "context", "questions": [{"question", "answer"}]}]``.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from sleepgym_tasks.data.parsing import as_fields, as_list, as_text, bad, read_json

VERSION = "1.1"  # 2.0 asks what a passage does not answer


@dataclass(frozen=True, slots=True)
class Asked:
    """A question about a passage.

    Attributes:
        id: 16 hex digits from title, passage, question and how often they came before.
        text: The question.
        answers: The accepted answers, without repetitions; each occurs in the passage.
    """

    id: str
    text: str
    answers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage and its questions.

    Attributes:
        title: Of the article, with spaces.
        context: The passage.
        questions: In file order.
    """

    title: str
    context: str
    questions: tuple[Asked, ...]


def parse(path: Path) -> tuple[Passage, ...]:
    """The passages of a file in either layout, in file order.

    Raises:
        BadData: If the file is malformed or of another version, an answer is not in its passage, an
            offset is wrong, or an id occurs twice.
    """
    content = read_json(path)
    seen: Counter[str] = Counter()
    if isinstance(content, list):
        passages = _seal(content, path, seen)
    elif isinstance(content, dict) and "data" in content:
        version = content.get("version", VERSION)
        if version != VERSION:
            raise bad(path, f"SQuAD of version {version!r:.20}, not {VERSION}")
        passages = _original(content["data"], path, seen)
    else:
        raise bad(path, "neither a list of passages (SEAL) nor an object with 'data' (SQuAD v1.1)")
    return tuple(passages)


def question_id(title: str, context: str, question: str, before: int) -> str:
    """16 hex digits that identify a question by its content.

    Args:
        title: Of the article, with spaces.
        context: The passage.
        question: Its text.
        before: How often the same three came before in the file (annotators repeat themselves).
    """
    content = json.dumps([title, context, question, before])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _seal(content: list[Any], path: Path, seen: Counter[str]) -> Iterator[Passage]:
    for index, value in enumerate(as_list(content, path)):
        record = f"[{index}]"
        title, context, questions = as_fields(
            value, ("title", "context", "questions"), path, record
        )
        as_text(title, path, record, "the title")
        as_text(context, path, record, "the context")
        asked = []
        for number, entry in enumerate(as_list(questions, path, record, "questions")):
            place = f"{record}.questions[{number}]"
            question, answer = as_fields(entry, ("question", "answer"), path, place)
            if as_text(answer, path, place, "the answer") not in context:
                raise bad(path, f"the answer {answer!r:.60} is not in the context", place)
            asked.append(_asked(title, context, question, (answer,), seen, path, place))
        yield Passage(title, context, tuple(asked))


def _original(content: Any, path: Path, seen: Counter[str]) -> Iterator[Passage]:
    places: dict[str, str] = {}
    for index, article in enumerate(as_list(content, path, "data")):
        record = f"data[{index}]"
        title, paragraphs = as_fields(article, ("title", "paragraphs"), path, record)
        title = unquote(as_text(title, path, record, "the title")).replace("_", " ")
        as_list(paragraphs, path, record, "paragraphs")
        for number, paragraph in enumerate(paragraphs):
            place = f"{record}.paragraphs[{number}]"
            context, qas = as_fields(paragraph, ("context", "qas"), path, place)
            as_text(context, path, place, "the context")
            asked = []
            for which, entry in enumerate(as_list(qas, path, place, "qas")):
                where = f"{place}.qas[{which}]"
                question, answers = as_fields(entry, ("question", "answers"), path, where)
                as_list(answers, path, where, "answers")
                if "id" in entry:
                    _once(entry["id"], places, path, where)
                golds = tuple(_gold(answer, context, path, where) for answer in answers)
                asked.append(_asked(title, context, question, golds, seen, path, where))
            yield Passage(title, context, tuple(asked))


def _once(own: Any, places: dict[str, str], path: Path, record: str) -> None:
    name = f"{own!r:.40}"
    if name in places:
        raise bad(path, f"the id {name} occurs before, in {places[name]}", record)
    places[name] = record


def _gold(answer: Any, context: str, path: Path, record: str) -> str:
    text, start = as_fields(answer, ("text", "answer_start"), path, record)
    as_text(text, path, record, "an answer")
    if isinstance(start, bool) or not isinstance(start, int) or start < 0:
        raise bad(path, f"answer_start is {start!r:.40}, not a character offset", record)
    if context[start : start + len(text)] != text:
        raise bad(path, f"the answer {text!r:.60} is not at answer_start={start}", record)
    return text


def _asked(
    title: str,
    context: str,
    question: Any,
    answers: tuple[str, ...],
    seen: Counter[str],
    path: Path,
    record: str,
) -> Asked:
    text = as_text(question, path, record, "the question")
    first = question_id(title, context, text, 0)
    before = seen[first]
    seen[first] += 1
    own = question_id(title, context, text, before) if before else first
    return Asked(own, text.strip(), tuple(dict.fromkeys(answers)))
