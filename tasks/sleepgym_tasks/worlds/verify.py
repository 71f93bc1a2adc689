"""Is a question with its answer, written by a model about passages, true?"""

from collections.abc import Iterable

from sleepgym_tasks.worlds.language.phrases import OPENERS, begin
from sleepgym_tasks.worlds.ledger import Fact


def truths(facts: Iterable[Fact]) -> dict[str, set[str]]:
    """Return every question that the facts answer, in every phrasing, with its answers.

    Args:
        facts: What the passages say, oldest first: a later fact replaces an older one of the same
            subject and attribute.
    """
    current = {(fact.subject, fact.attribute): fact for fact in facts}
    named: dict[str, list[tuple[str, bool]]] = {}
    for fact in current.values():
        surfaces = named.setdefault(fact.subject, [(fact.subject, True)])
        if fact.spec.value == "nickname":
            surfaces.append((fact.value, False))
        if fact.spec.links:
            links = named.setdefault(fact.value, [(fact.value, True)])
            links += [(noun.format(s=fact.subject), False) for noun in fact.spec.nouns]
    table: dict[str, set[str]] = {}
    for fact in current.values():
        for surface, _ in named[fact.subject]:
            for template in fact.spec.questions:
                question = begin(template.format(s=surface))
                table.setdefault(question, set()).add(fact.value)
        for template in fact.spec.reverses:
            question = begin(template.format(v=fact.value))
            table.setdefault(question, set()).add(fact.subject)
    return table


def judge(question: str, answer: str, known: dict[str, set[str]]) -> str:
    """Say whether a written item is `true`, `false`, or a question that is `foreign`.

    Args:
        question: The question's text, with or without an empty opening phrase.
        answer: The answer's text.
        known: What `truths` returned for the passages.
    """
    question, answer = question.strip(), answer.strip()
    for opener in OPENERS:
        if question.startswith(opener):
            question = begin(question.removeprefix(opener).strip())
    if question not in known:
        return "foreign"
    return "true" if answer in known[question] else "false"
