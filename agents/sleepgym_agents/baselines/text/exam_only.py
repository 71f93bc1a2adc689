"""The agent that has nothing but the exam in front of it: what an exam gives away by itself."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np

from sleepgym import Agent, Question

NAME = r"(?:the )?(?:[A-Z][a-z]+ )?[A-Z][a-z]+"
TRADES = "Mills|Works|Guild|Traders|Brothers|Foundry|Press|Stores|Supplies|Partners|Yard|Workshop"
ASKING = (
    "In Who Whom Whose Which What Where When Of By As At From To With On Beside For The Through"
)
# A relation: words that tell it, kind of subject, kind of value, words that ask for the subject.
RELATIONS = (
    (
        "nickname",
        r"nickname|\bcalls?\b|called|known",
        "",
        "nickname",
        r"(known|called|call|of) the",
    ),
    (
        "mentor",
        r"mentor|taught|teach|learn",
        "person",
        "person",
        r"(by|from) N\?|did N teach|Whose",
    ),
    ("founder", r"found|start|owe", "company", "person", ""),
    ("mayor", r"mayor|govern|elect", "town", "person", ""),
    ("supplier", r"suppl|parts?\b", "company", "company", r"(by|from|is|does) N( supply)?\?"),
    ("rival", r"rival|compet|fear|fought", "company", "company", r"(is|with|fears) N\?|fought N"),
    ("twin", r"twin", "town", "town", r"(with|is|to) N\?|chose N"),
    ("seat", r"seat|based|head office|run\b", "company", "town", ""),
    ("employer", r"employ|salary|work for|works for|Where does N work", "person", "company", ""),
    ("home", r"\blives?\b|home|house", "person", "town", ""),
    ("river", r"river|\blie\b|Beside|beside", "town", "river", r"the (river )?N"),
)
# What a closed list might say: one word of each, as good as any other.
GUESSES = {
    r"\bjob|work as|trade": "miller",
    r"hobby|fun|weekend|fond": "chess",
    r"animal|pet\b": "horse",
    r"instrument|on stage": "flute",
    r"food|eat\b|dinner": "rice",
    r"language|fluent": "Latin",
    r"material|mostly work|Heaps": "wool",
    r"product|make|sell|turn out": "boats",
    r"emblem|sign|door\b|stands for": "lion",
    r"colour": "green",
    r"landmark|visitors|famous|stands in": "bridge",
    r"craft|live by|grow rich|grew rich": "milling",
    r"month|fair": "May",
    r"tree": "pine",
    r"bird": "heron",
}
VOTES_OF_OTHERS = 0.3


class Parsed(NamedTuple):
    """A question about a name.

    Attributes:
        relation: A name in ``RELATIONS``, else empty.
        name: The name that is mentioned, else empty.
        wanted: Kind of the answer: person, company, town, river, nickname; empty elsewhere.
        backwards: Whether the value is given and the subject wanted.
        hops: Whether the name is not itself the subject but leads to it.
    """

    relation: str = ""
    name: str = ""
    wanted: str = ""
    backwards: bool = False
    hops: bool = False


class ExamOnly(Agent):
    """Reads and keeps nothing; answers an exam by what its other questions give away.

    A question about an invented name is answered by the name that another question of the same exam
    gives as the value of the same relation asked backwards, else by the name of the right kind that
    the exam mentions most; a closed list by one of its words. A choice is picked by the words that
    its label shares with the question, among those that only some questions offer, else among the
    last of a list in order of arrival. An invented rule is taken for a common one. What this agent
    scores beyond itself asked one question at a time is what an exam's questions tell about each
    other.
    """

    title: ClassVar[str] = "Exam only"

    def answer(self, questions: Sequence[Question]) -> list[str]:
        """What the exam says about itself."""
        parsed = [parse(question.text) for question in questions]
        chosen = iter(choose([q for q in questions if q.choices]))
        return [
            next(chosen) if question.choices else name_or_guess(i, question.text, parsed)
            for i, question in enumerate(questions)
        ]

    def save(self, path: Path) -> None:
        """Nothing was learned: write nothing."""

    def load(self, path: Path) -> None:
        """There is nothing to read."""


def kind_of(name: str) -> str:
    """The kind of thing that a name of an invented world belongs to."""
    if name.startswith("the "):
        return "nickname"
    if " " not in name:
        return "town"
    return "company" if re.search(rf" ({TRADES})$", name) else "person"


def parse(text: str) -> Parsed:
    """The relation, the name and the direction of a question, by its words."""
    words = re.sub(rf"^({'|'.join(ASKING.split())})\b", lambda m: m[0].lower(), text)
    names = re.findall(NAME, words)
    if not names:
        return Parsed()
    name = names[-1]
    if name.startswith("the ") and " " not in name[4:]:
        name = name[4:]
    kind, plain = kind_of(name), text.replace(name, "N")
    hop = re.search(r"the [a-z ]+ (of N\b|that N is|where N|who \w+ N|that \w+ N)", plain)
    outer = plain.replace(hop[0], "it") if hop and plain[hop.end() :] != "?" else plain
    for relation, tells, owner, value, asks_back in RELATIONS:
        if not re.search(tells, outer):
            continue
        if relation == "nickname":
            owner = _asked_kind(text)
        hops = outer != plain or (hop is not None and relation not in hop[0])
        if owner == value or value == "river":
            backwards = not hops and bool(re.search(asks_back, plain)) and kind == value
        else:
            backwards = not hops and kind == value
        return Parsed(relation, name, owner if backwards else value, backwards, hops)
    return Parsed("", name)


def name_or_guess(place: int, text: str, parsed: Sequence[Parsed]) -> str:
    """A name that the rest of the exam suggests, or the closed list's usual word."""
    question = parsed[place]
    if rule := re.fullmatch(r"\w+: (.+)", text):
        return _apply_common_rule(rule[1])
    if not question.wanted:
        return next((word for tells, word in GUESSES.items() if re.search(tells, text)), "1850")
    votes: Counter[str] = Counter()
    for other in parsed:
        if other.name and other.name not in text and kind_of(other.name) == question.wanted:
            converse = other.relation == question.relation and other.backwards != question.backwards
            votes[other.name] += 100 if converse and not other.hops else 1
    return votes.most_common(1)[0][0] if votes else ""


def choose(questions: Sequence[Question]) -> list[str]:
    """For each question the choice whose words it shares, of those that its exam leaves open.

    A choice that only some questions offer is the next day's; where all questions offer the same
    list and it is not alphabetical, the newest classes stand last. Questions alike in wording vote
    together.
    """
    if not questions:
        return []
    offers = {question.choices for question in questions}
    fewest = set(min(offers, key=len))
    by_day = len(questions) > 1 and len(offers) == 1 and sorted(*offers) != [*next(iter(offers))]
    labels = sorted({choice for question in questions for choice in question.choices})
    shared = _shared_stems([question.text for question in questions], labels)
    answers = []
    for question, row in zip(questions, shared, strict=True):
        extra = [choice for choice in question.choices if choice not in fewest]
        newest = question.choices[-max(1, len(questions) // 4) :] if by_day else question.choices
        scores = {choice: row[labels.index(choice)] for choice in reversed(extra or newest)}
        answers.append(max(scores, key=scores.__getitem__))
    return answers


def _shared_stems(texts: Sequence[str], labels: Sequence[str]) -> np.ndarray:
    """How many words a text shares with a label, rare ones first: (texts, labels), float64."""
    asked, named = list(map(_stems, texts)), list(map(_stems, labels))
    in_labels = Counter(stem for stems in named for stem in stems)
    in_texts = Counter(stem for stems in asked for stem in stems)
    shared = np.array(
        [
            [sum(1 / in_labels[s] for s in label & text) / len(label) ** 0.5 for label in named]
            for text in asked
        ]
    )
    shared /= np.maximum(shared.sum(1, keepdims=True), 1e-3)
    place = {stem: i for i, stem in enumerate(in_texts)}
    vectors = np.zeros((len(texts), len(place)))
    for row, stems in zip(vectors, asked, strict=True):
        for stem in stems:
            row[place[stem]] = np.log1p(len(texts) / in_texts[stem])
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    alike = (vectors @ vectors.T) ** 2
    np.fill_diagonal(alike, 0)
    alike /= np.maximum(alike.sum(1, keepdims=True), 1e-9)
    return shared + VOTES_OF_OTHERS * alike @ shared


def _stems(text: str) -> set[str]:
    return {word[:4] for word in re.findall(r"[a-z]+", text.lower())}


def _apply_common_rule(text: str) -> str:
    """What invented rules do most often: a string's last item doubled; a list so and reversed."""
    if "-" in text:
        return f"{text}-{text.rpartition('-')[2]}"
    items = text.split()
    return " ".join([*items[-1:], *items[::-1]])


def _asked_kind(text: str) -> str:
    for kind in ("company", "town"):
        if kind in text:
            return kind
    return "person"
