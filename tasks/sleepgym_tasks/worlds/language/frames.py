"""Plain frames around an attribute's noun, which pretraining mixes with the attribute's templates.

They teach that "A is the mentor of B" and "The mentor of B is A" say the same of any noun. Where
the value is an entity they also teach who does what to whom: "B is the pupil of A", "A trained B".
A frame that would spell a held-out template is left out.
"""

import functools
import re
from collections.abc import Iterator

from sleepgym_tasks.worlds.language.phrases import ATTRIBUTES

NOUNS = {
    "person.home": "home town",
    "person.employer": "employer",
    "person.mentor": "mentor",
    "person.job": "job",
    "person.hobby": "hobby",
    "person.pet": "pet",
    "person.instrument": "instrument",
    "person.dish": "favourite food",
    "person.language": "language",
    "person.year": "birth year",
    "person.nickname": "nickname",
    "company.seat": "seat",
    "company.founder": "founder",
    "company.supplier": "supplier",
    "company.rival": "rival",
    "company.product": "product",
    "company.emblem": "emblem",
    "company.colour": "colour",
    "company.material": "material",
    "company.year": "first year",
    "company.nickname": "nickname",
    "town.mayor": "mayor",
    "town.river": "river",
    "town.twin": "twin town",
    "town.landmark": "landmark",
    "town.craft": "craft",
    "town.fair": "fair month",
    "town.tree": "tree",
    "town.bird": "bird",
    "town.year": "charter year",
    "town.nickname": "nickname",
}
FRAMES = {
    "passages": (
        "The {n} of {s} is {v}.",
        "{v} is the {n} of {s}.",
        "{v} is {n} of {s}.",
        "{s} has {v} as {n}.",
        "{s} has {v} as its {n}.",
        "For {s} the {n} is {v}.",
        "The {n} that {s} has is {v}.",
        "{v} is the {n} that {s} has.",
        "As {n}, {s} has {v}.",
        "{s} chose {v} as {n}.",
        "{s} has {v} for a {n}.",
    ),
    "questions": (
        "What is the {n} of {s}?",
        "Which {n} does {s} have?",
        "The {n} of {s} is what?",
        "What {n} does {s} have?",
        "Of {s}, what is the {n}?",
        "What does {s} have as {n}?",
        "Name the {n} of {s}?",
    ),
    "reverses": (
        "Whose {n} is {v}?",
        "Of whom is {v} the {n}?",
        "{v} is the {n} of whom?",
        "Which {o} has {v} as {n}?",
        "Who has {v} as {n}?",
        "For which {o} is {v} the {n}?",
        "The {n} of which {o} is {v}?",
    ),
}
INVERSES = {
    "person.home": "resident",
    "person.employer": "worker",
    "person.mentor": "pupil",
    "company.supplier": "customer",
    "company.rival": "challenger",
}
VERBS = {  # base form, past form, and the slot of the one who acts
    "person.home": (("inhabit", "inhabited", "{s}"),),
    "person.employer": (("hire", "hired", "{v}"), ("pay", "paid", "{v}")),
    "person.mentor": (("train", "trained", "{v}"), ("coach", "coached", "{v}")),
    "company.seat": (("host", "hosted", "{v}"),),
    "company.founder": (("create", "created", "{v}"), ("launch", "launched", "{v}")),
    "company.supplier": (("equip", "equipped", "{v}"), ("serve", "served", "{v}")),
    "company.rival": (("oppose", "opposed", "{s}"), ("challenge", "challenged", "{s}")),
    "town.mayor": (("rule", "ruled", "{v}"), ("head", "headed", "{v}")),
    "town.twin": (("befriend", "befriended", "{s}"),),
}
TOLD = ("{a} {ed} {p}.", "{p} was {ed} by {a}.", "It was {a} that {ed} {p}.")
ASK_ACTOR = (
    "Who {ed} {p}?",
    "Which {k} {ed} {p}?",
    "By whom was {p} {ed}?",
    "{p} was {ed} by whom?",
)
ASK_OTHER = ("Whom did {a} {do}?", "Which {k} did {a} {do}?", "Which {k} was {ed} by {a}?")
SWAP = {"{s}": "{v}", "{v}": "{s}"}
ARTICLES = frozenset(("a", "an", "the", "its"))


def _bare(template: str) -> tuple[str, ...]:
    words = template.lower().rstrip(".?").replace(",", "").split()
    return tuple(word for word in words if word not in ARTICLES)


@functools.cache
def _held_out(attribute: str) -> frozenset[tuple[str, ...]]:
    spec = ATTRIBUTES[attribute]
    return frozenset(_bare(g[-1]) for g in (spec.passages, spec.questions, spec.reverses))


def is_held_out(attribute: str, template: str) -> bool:
    """Say whether a template is a held-out one of the attribute, articles aside."""
    return _bare(template) in _held_out(attribute)


def _inverse(attribute: str, group: str) -> Iterator[str]:
    """Yield the noun frames of the inverse noun: value and subject change places."""
    asked = {"passages": "passages", "questions": "reverses", "reverses": "questions"}[group]
    for frame in FRAMES[asked] if attribute in INVERSES else ():
        frame = frame.replace("{n}", INVERSES[attribute])
        frame = frame.replace("{o}", ATTRIBUTES[attribute].value)
        yield re.sub(r"\{[sv]\}", lambda slot: SWAP[slot[0]], frame)


def _active(attribute: str, group: str) -> Iterator[str]:
    """Yield the verb frames."""
    spec = ATTRIBUTES[attribute]
    for base, past, actor in VERBS.get(attribute, ()):
        wanted = "{v}" if group == "questions" else "{s}"
        frames = ASK_ACTOR if actor == wanted else ASK_OTHER
        kind = spec.value if group == "questions" else spec.owner
        for frame in TOLD if group == "passages" else frames:
            frame = frame.replace("{do}", base).replace("{ed}", past).replace("{k}", kind)
            yield frame.replace("{a}", actor).replace("{p}", SWAP[actor])


@functools.cache
def framed(attribute: str, group: str) -> tuple[str, ...]:
    """Return the frames of an attribute as templates; `group` is a key of `FRAMES`."""
    owner = ATTRIBUTES[attribute].owner
    filled = [
        frame.replace("{n}", NOUNS[attribute]).replace("{o}", owner) for frame in FRAMES[group]
    ]
    filled += (*_inverse(attribute, group), *_active(attribute, group))
    return tuple(template for template in filled if not is_held_out(attribute, template))
