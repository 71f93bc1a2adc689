"""How attributes are said and asked: the table of attributes, and the words around them.

The LAST passage, question and reversed template of every attribute is held out: pretraining
never uses it, and the kind `unseen` uses nothing else. `{s}` is the subject, `{v}` the value.
"""

from dataclasses import dataclass

from sleepgym_tasks.worlds.language.phrases_companies import COMPANIES
from sleepgym_tasks.worlds.language.phrases_people import PEOPLE
from sleepgym_tasks.worlds.language.phrases_towns import TOWNS

ENTITY_KINDS = ("person", "company", "town")


@dataclass(frozen=True, slots=True, eq=False)
class Attribute:
    """One thing that can be told of an entity.

    Attributes:
        name: Unique name, such as `person.job`.
        owner: Kind of the subject: person, company or town.
        value: Kind of the value: an entity kind, `river`, `nickname` or a key of `VALUES`.
        passages: Sentence templates; the last is held out.
        questions: Question templates; the last is held out.
        reverses: Templates that ask for the subject; the last is held out.
        nouns: Noun phrases for the value ("the mentor of {s}"), where the value is an entity.
    """

    name: str
    owner: str
    value: str
    passages: tuple[str, ...]
    questions: tuple[str, ...]
    reverses: tuple[str, ...]
    nouns: tuple[str, ...]

    @property
    def links(self) -> bool:
        """Whether the value is itself an entity that more can be told about."""
        return self.value in ENTITY_KINDS


def _table() -> dict[str, Attribute]:
    table = {}
    for owner, rows in (("person", PEOPLE), ("company", COMPANIES), ("town", TOWNS)):
        for name, value, passages, questions, reverses, nouns in rows:
            full = f"{owner}.{name}"
            table[full] = Attribute(full, owner, value, passages, questions, reverses, nouns)
    return table


ATTRIBUTES = _table()
BY_OWNER = {
    kind: tuple(a for a in ATTRIBUTES.values() if a.owner == kind and a.value != "nickname")
    for kind in ENTITY_KINDS
}
NICKNAMES = {kind: ATTRIBUTES[f"{kind}.nickname"] for kind in ENTITY_KINDS}

NEWS = (
    "By now,",
    "These days,",
    "Since then things have changed:",
    "According to the latest news,",
    "As of this week,",
    "It is no longer as it was:",
)
ASIDES = ("It is said that", "As many know,", "By all accounts,", "People say that", "In fact,")
OPENERS = ("Do you know:", "Tell me,", "Remember,", "Please answer:", "Quick question:")


def begin(sentence: str) -> str:
    """Give a sentence its capital."""
    return sentence[0].upper() + sentence[1:]


def follow(prefix: str, sentence: str, template: str) -> str:
    """Put words in front of a sentence; its own capital goes unless it starts with a name."""
    starts_with_name = template.startswith(("{s}", "{v}"))
    return f"{prefix} {sentence if starts_with_name else sentence[0].lower() + sentence[1:]}"
