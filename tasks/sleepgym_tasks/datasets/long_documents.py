"""Long documents with questions: LongHealth and QASPER as published.

- LongHealth (L. Adams et al. 2024, arXiv:2401.14490): ``benchmark_v5.json``, an object patient id
  -> ``{"name", "birthday", "diagnosis", "texts": {id: text}, "questions": [{"question",
  "answer_a" ... "answer_e", "correct"}]}``; ``correct`` is the text of the right answer (or its
  letter).
- QASPER (P. Dasigi et al., NAACL 2021, arXiv:2105.03011): ``qasper-dev-v0.3.json``, an object paper
  id -> ``{"title", "abstract", "full_text": [{"section_name", "paragraphs"}], "qas": [{"question",
  "answers": [{"answer": {"unanswerable", "extractive_spans", "yes_no", "free_form_answer"}}]}]}``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sleepgym_tasks.data.parsing import as_fields, as_list, as_text, bad, read_json
from sleepgym_tasks.worlds.chronicles import Asked, LongDocument

LETTERS = "abcde"


def parse_longhealth(path: Path) -> tuple[LongDocument, ...]:
    """The patients of a file, in file order.

    Raises:
        BadData: If a record is malformed, or its right answer is none of its five.
    """
    documents = []
    for name, patient in _by_id(path).items():
        fields = ("name", "birthday", "texts", "questions")
        who, born, texts, questions = as_fields(patient, fields, path, name)
        who = as_text(who, path, name, "name").strip()
        born = as_text(born, path, name, "birthday").strip()
        if not isinstance(texts, dict) or not texts:
            raise bad(path, "texts is not an object of texts", name)
        parts = tuple(
            (who, as_text(text, path, f"{name}.texts.{k}", "it")) for k, text in texts.items()
        )
        asked = []
        for number, question in enumerate(as_list(questions, path, name, "questions")):
            place = f"{name}.questions[{number}]"
            keys = ("question", "correct", *(f"answer_{letter}" for letter in LETTERS))
            text, correct, *choices = (
                as_text(value, path, place, key).strip()
                for key, value in zip(keys, as_fields(question, keys, path, place), strict=True)
            )
            letter = correct.lower().removeprefix("answer_")
            if correct not in choices and letter in LETTERS:
                correct = choices[LETTERS.index(letter)]
            if correct not in choices:
                raise bad(path, f"correct {correct!r:.60} is none of its answers", place)
            if len(set(choices)) == 1:
                raise bad(path, "its five answers are the same", place)
            title = f"{who}, born {born}: {text}"
            asked.append(Asked(title, (correct,), tuple(dict.fromkeys(choices)), "choice"))
        documents.append(LongDocument(name, parts, tuple(asked)))
    return tuple(documents)


def parse_qasper(path: Path) -> tuple[LongDocument, ...]:
    """The papers of a file that have questions, in file order.

    Raises:
        BadData: If a record is malformed, or a question has no answer.
    """
    documents = []
    for name, paper in _by_id(path).items():
        fields = ("title", "abstract", "full_text", "qas")
        title, abstract, sections, qas = as_fields(paper, fields, path, name)
        title = as_text(title, path, name, "title").strip()
        parts = [(f"{title}: Abstract", abstract)] if isinstance(abstract, str) and abstract else []
        if not isinstance(sections, list):
            raise bad(path, "full_text is not a list", name)
        for number, section in enumerate(sections):
            place = f"{name}.full_text[{number}]"
            heading, paragraphs = as_fields(section, ("section_name", "paragraphs"), path, place)
            if not isinstance(paragraphs, list) or not all(isinstance(p, str) for p in paragraphs):
                raise bad(path, "paragraphs is not a list of texts", place)
            text = "\n".join(p for p in paragraphs if p.strip())
            if text:
                parts.append((f"{title}: {heading}" if heading else title, text))
        if not parts:
            raise bad(path, "neither the abstract nor full_text holds a text", name)
        if not isinstance(qas, list):
            raise bad(path, "qas is not a list", name)
        asked = []
        for number, entry in enumerate(qas):
            place = f"{name}.qas[{number}]"
            question, answers = as_fields(entry, ("question", "answers"), path, place)
            question = as_text(question, path, place, "question").strip()
            golds = [
                _qasper_answer(answer, path, f"{place}.answers[{n}]")
                for n, answer in enumerate(as_list(answers, path, place, "answers"))
            ]
            texts = tuple(dict.fromkeys(text for _, text in golds))
            asked.append(Asked(f"{title}: {question}", texts, (), golds[0][0]))
        if asked:
            documents.append(LongDocument(name, tuple(parts), tuple(asked)))
    return tuple(documents)


def _by_id(path: Path) -> dict[str, Any]:
    content = read_json(path)
    if not isinstance(content, dict) or not content:
        raise bad(path, "not an object of documents by id, as it is published")
    return content


def _qasper_answer(value: Any, path: Path, record: str) -> tuple[str, str]:
    """The kind and text of an annotator's answer, as QASPER's evaluation reads it."""
    (answer,) = as_fields(value, ("answer",), path, record)
    names = ("unanswerable", "extractive_spans", "yes_no", "free_form_answer")
    unanswerable, spans, yes_no, free = as_fields(answer, names, path, record)
    if unanswerable:
        return "unanswerable", "Unanswerable"
    if spans:
        texts = [as_text(one, path, record, "a span") for one in as_list(spans, path, record)]
        return "extractive", ", ".join(texts)
    if free:
        return "abstractive", as_text(free, path, record, "free_form_answer")
    if isinstance(yes_no, bool):
        return "boolean", "Yes" if yes_no else "No"
    raise bad(
        path, "none of unanswerable, extractive_spans, free_form_answer, yes_no is set", record
    )
