"""One's own documents and questions: ``documents.jsonl`` or text files, and ``questions.jsonl``.

What agents may be shown before the first day stands in ``exemplars.jsonl``.

Every record is checked before any is used, so that :func:`problems` can name each bad one; a folder
with one bad record loads nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from sleepgym.core.errors import BadData
from sleepgym_tasks.data.parsing import as_text, bad, parse_object, read_lines, read_text

DOCUMENTS, QUESTIONS, EXEMPLARS = "documents.jsonl", "questions.jsonl", "exemplars.jsonl"
HOLDS = f"{QUESTIONS} and either {DOCUMENTS} or text files (*.txt, *.md)"
_DOCUMENT_FIELDS = ("day", "title", "text")
_EXEMPLAR_FIELDS = ("title", "text", "questions")
_ELSEWHERE = "exemplars show nothing that days hold"
_QUESTION_FIELDS = (
    "id",
    "day",
    "question",
    "answers",
    "choices",
    "kind",
    "practice",
    "until",
)


class Read(NamedTuple):
    """A document to read.

    Attributes:
        where: File and record, for messages.
        day: From 1.
        title: May be empty.
        text: The text.
    """

    where: tuple[Path, str]
    day: int
    title: str
    text: str


class Asked(NamedTuple):
    """A question.

    Attributes:
        where: File and record, for messages.
        id: Unique in the file.
        day: The day that teaches the answer; 0 for what was known before.
        text: The question.
        answers: The accepted answers, the first of which is shown after practice.
        choices: The allowed answers; empty where the answer is free text.
        kind: A word that accuracies are grouped by.
        practice: Whether it is asked in PRACTICE, with feedback, and not in exams.
        until: The last night after which it is asked; None for ever.
    """

    where: tuple[Path, str]
    id: str
    day: int
    text: str
    answers: tuple[str, ...]
    choices: tuple[str, ...]
    kind: str
    practice: bool
    until: int | None


class Shown(NamedTuple):
    """An exemplar.

    Attributes:
        where: File and record, for messages.
        title: Of its document; may be empty.
        text: Of its document.
        pairs: Questions about it, each with its answer.
    """

    where: tuple[Path, str]
    title: str
    text: str
    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class OwnData:
    """Sound documents and questions, by file order.

    Attributes:
        documents: What is read.
        questions: What is asked.
        days: The last day.
        exemplars: What may be shown before the first day.
    """

    documents: tuple[Read, ...]
    questions: tuple[Asked, ...]
    days: int
    exemplars: tuple[Shown, ...] = ()


def load(folder: Path) -> OwnData:
    """The documents and questions of a folder.

    Raises:
        BadData: If any record is bad: the first of them, and how many more there are.
    """
    documents, questions, exemplars, found = _read(folder)
    if found:
        more = f" (and {len(found) - 1} more: sleepgym data check {folder})" if found[1:] else ""
        raise BadData(f"{found[0]}{more}")
    last = max((record.day for record in (*documents, *questions)), default=0)
    return OwnData(tuple(documents), tuple(questions), last, tuple(exemplars))


def problems(path: Path) -> list[str]:
    """What is wrong with a folder, or with one of its files: a line for each bad record.

    Args:
        path: The folder; or one of its files, which is checked with what stands beside it; or any
            other JSONL file, whose first record tells whether it holds documents, questions or
            exemplars.
    """
    names = (DOCUMENTS, QUESTIONS)
    if path.name in names and all((path.parent / name).is_file() for name in names):
        path = path.parent
    if path.is_dir():
        return _read(path)[3]
    found: list[str] = []
    _records(path, _parser(path), found)
    return found


def _parser(path: Path) -> Callable[..., Any]:
    """What parses the records of a file, by the first of them, or by its name."""
    try:
        record, line = next(read_lines(path))
        fields = parse_object(line, path, record)
    except BadData:
        return {DOCUMENTS: _document, EXEMPLARS: _exemplar}.get(path.name, _question)
    if "questions" in fields:
        return _exemplar
    return _document if "text" in fields and "question" not in fields else _question


def _read(folder: Path) -> tuple[list[Read], list[Asked], list[Shown], list[str]]:
    found: list[str] = []
    files = sorted(p for p in folder.iterdir() if p.suffix in (".txt", ".md") and p.is_file())
    if (folder / DOCUMENTS).is_file():
        documents = _records(folder / DOCUMENTS, _document, found)
    else:
        documents = _text_files(files, found)
    if (folder / QUESTIONS).is_file():
        questions = _records(folder / QUESTIONS, _question, found)
    else:
        found.append(f"{folder}: no {QUESTIONS} in it (a folder of data holds {HOLDS})")
        return documents, [], [], found
    exemplars: list[Shown] = []
    if (folder / EXEMPLARS).is_file():
        exemplars = _records(folder / EXEMPLARS, _exemplar, found)
    seen: dict[tuple[int, str, str], str] = {}
    for record in documents:
        _once(seen, (record.day, record.title, record.text), record.where, "the same text", found)
    if not found:
        found += [*_fit(documents, questions), *_outside(exemplars, documents, questions)]
    if not found and not documents and not any(asked.practice for asked in questions):
        found.append(f"{folder}: no document and no practice question: there is nothing to learn")
    return documents, questions, exemplars, found


def _fit(documents: list[Read], questions: list[Asked]) -> Iterator[str]:
    """What is wrong with days, once every record is sound."""
    taught = {record.day for record in documents} | {q.day for q in questions if q.practice}
    last = max(taught, default=0)
    for asked in questions:
        if asked.day > last:
            yield _say(asked.where, f"day {asked.day} is later than the last day, {last}")
        elif asked.day and asked.day not in taught:
            yield _say(asked.where, f"day {asked.day} has neither a document nor practice")
    examined = {asked.day for asked in questions if not asked.practice}
    for before, day in pairwise(sorted({0, *taught})):
        first = next(r.where for r in (*documents, *questions) if r.day == day)
        if day > before + 1:
            yield _say(first, f"day {before + 1} is missing: days run from 1 without a gap")
        if day not in examined:
            yield _say(first, f"day {day} has no question for its exam")


def _outside(
    exemplars: list[Shown], documents: list[Read], questions: list[Asked]
) -> Iterator[str]:
    """Which exemplars show what is read or asked."""
    read, asked = {record.text for record in documents}, {record.text for record in questions}
    for shown in exemplars:
        if shown.text in read:
            yield _say(shown.where, f"its text is read too: {_ELSEWHERE}")
        for question, _ in shown.pairs:
            if question in asked:
                yield _say(shown.where, f"{question!r:.60} is asked too: {_ELSEWHERE}")


def _records(path: Path, parse: Callable[..., Any], found: list[str]) -> list[Any]:
    """The sound records of a JSONL file; what is wrong with the others goes into ``found``."""
    records = []
    seen: dict[Any, str] = {}
    try:
        for record, line in read_lines(path):
            try:
                parsed = parse(parse_object(line, path, record), path, record)
            except BadData as error:
                found.append(str(error))
                continue
            records.append(parsed)
            if isinstance(parsed, Asked):
                _once(seen, parsed.id, parsed.where, f"the id {parsed.id!r}", found)
                same = (parsed.day, parsed.text, parsed.choices)
                _once(seen, same, parsed.where, "the same question of the same day", found)
    except BadData as error:
        found.append(str(error))
    return records


def _once(
    seen: dict[Any, str], value: Any, where: tuple[Path, str], what: str, found: list[str]
) -> None:
    if value in seen:
        found.append(_say(where, f"{what} occurs before, on {seen[value]}"))
    seen.setdefault(value, where[1])


def _say(where: tuple[Path, str], what: str) -> str:
    return str(bad(where[0], what, where[1]))


def _document(fields: dict[str, Any], path: Path, record: str) -> Read:
    _known(fields, _DOCUMENT_FIELDS, path, record)
    day = _number(fields.get("day"), 1, "day", path, record)
    title = _title(fields, path, record)
    return Read((path, record), day, title, as_text(fields.get("text"), path, record, "text"))


def _exemplar(fields: dict[str, Any], path: Path, record: str) -> Shown:
    _known(fields, _EXEMPLAR_FIELDS, path, record)
    asked = fields.get("questions")
    if not isinstance(asked, list) or not asked:
        raise bad(path, "questions is not a list of [question, answer] pairs", record)
    pairs = []
    for pair in asked:
        if not isinstance(pair, list) or len(pair) != 2:
            raise bad(path, f"{pair!r:.60} in questions is no [question, answer] pair", record)
        question, answer = (as_text(text, path, record, "one of questions") for text in pair)
        pairs.append((question, answer))
    title = _title(fields, path, record)
    text = as_text(fields.get("text"), path, record, "text")
    return Shown((path, record), title, text, tuple(pairs))


def _title(fields: dict[str, Any], path: Path, record: str) -> str:
    title = fields.get("title", "")
    return title if title == "" else as_text(title, path, record, "title")


def _question(fields: dict[str, Any], path: Path, record: str) -> Asked:
    _known(fields, _QUESTION_FIELDS, path, record)
    day = _number(fields.get("day"), 0, "day", path, record)
    text = as_text(fields.get("question"), path, record, "question")
    given = fields.get("answers")
    answers = _texts([given] if isinstance(given, str) else given, "answers", path, record)
    choices = ()
    if fields.get("choices") is not None:
        choices = _texts(fields["choices"], "choices", path, record)
        if len(choices) < 2:
            raise bad(path, "choices holds one choice, not two or more", record)
        for answer in answers:
            if answer not in choices:
                raise bad(path, f"the answer {answer!r:.60} is not among choices", record)
        if len(set(answers)) == len(choices):
            raise bad(path, "every choice is a right answer", record)
    practice = fields.get("practice", False)
    if not isinstance(practice, bool):
        raise bad(path, f"practice is {practice!r:.40}, not true or false", record)
    if practice and not day:
        raise bad(
            path, "practice needs a day of 1 or more (day 0 is what was known before)", record
        )
    until = fields.get("until")
    if until is not None:
        _number(until, day, "until", path, record)
    kind = as_text(fields.get("kind", "direct"), path, record, "kind")
    own = fields.get("id", record)
    as_text(own, path, record, "id")
    return Asked((path, record), own, day, text, answers, choices, kind, practice, until)


def _known(fields: dict[str, Any], names: tuple[str, ...], path: Path, record: str) -> None:
    for name in fields:
        if name not in names:
            raise bad(path, f"unknown field {name!r:.40}: there are {', '.join(names)}", record)


def _number(value: Any, least: int, what: str, path: Path, record: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        found = "missing" if value is None else f"{value!r:.40}"
        raise bad(path, f"{what} is {found}, not a whole number from {least} on", record)
    return value


def _texts(value: Any, what: str, path: Path, record: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        found = "missing" if value is None else f"{value!r:.40}"
        raise bad(path, f"{what} is {found}, not a list of texts", record)
    texts = tuple(as_text(one, path, record, f"one of {what}") for one in value)
    for text in texts:
        if text != text.strip():
            raise bad(path, f"{text!r:.60} in {what} has white space at its ends", record)
    if len(set(texts)) < len(texts):
        raise bad(path, f"{what} holds a text twice", record)
    return texts


def _text_files(files: list[Path], found: list[str]) -> list[Read]:
    """Files whose names begin with a number are read on that day; else one a day, by name."""
    numbers = [re.match(r"\d+", file.stem) for file in files]
    if any(numbers) and not all(numbers):
        file = files[numbers.index(None)]
        found.append(f"{file}: its name does not begin with its day, and those of others do")
        return []
    documents = []
    for place, (file, number) in enumerate(zip(files, numbers, strict=True), start=1):
        day = int(number[0]) if number else place
        title = re.sub(r"[-_\s]+", " ", file.stem[number.end() if number else 0 :]).strip()
        try:
            if day < 1:
                raise bad(file, "its name begins with day 0: days run from 1")
            text = as_text(read_text(file), file, "", "the text")
            documents.append(Read((file, ""), day, title, text.strip()))
        except BadData as error:
            found.append(str(error))
    return documents
