"""Rules for task families."""

from __future__ import annotations

from math import factorial, prod

from sleepgym.core.env import ContinualEnv, assemble
from sleepgym.core.errors import SleepGymError
from sleepgym.core.family import TaskFamily
from sleepgym.core.types import Stream
from sleepgym.runs.workers import make_pool

MANY_ORDERS = 1000  # of a stream's questions: three drawn at random hardly ever hold two alike
FEW_SEEDS = 20  # that are alike by chance once in 2 ** 19 times, if there are two orders


def passes_gymnasium(family: TaskFamily) -> str | None:
    """The environment passes Gymnasium's check_env without a warning."""
    import warnings

    from gymnasium.utils.env_checker import check_env

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_env(ContinualEnv(family), skip_render_check=True)
    return str(caught[0].message) if caught else None


def streams_repeat(family: TaskFamily) -> str | None:
    """The same seed gives the same bytes, in another process too."""
    here = family.stream(11).full_hash()
    if family.stream(11).full_hash() != here:
        return "two streams of one seed differ"
    with make_pool(1) as pool:
        there = pool.submit(_full_hash, family).result()
    return None if there == here else "another process made another stream"


def seeds_matter(family: TaskFamily) -> str | None:
    """Different seeds give different streams."""
    if len({family.stream(seed).content_hash for seed in (1, 2, 3)}) == 3:
        return None
    orders = _orders(family.stream(1))
    if orders >= MANY_ORDERS:
        return "two seeds of 1, 2 and 3 gave the same stream"
    if family.data and orders == 1:
        return None  # one's own material, a question a day: nothing is left to draw
    seeds = range(1, FEW_SEEDS + 1)  # two may draw one order, so many cannot
    if len({family.stream(seed).content_hash for seed in seeds}) > 1:
        return None
    return f"seeds 1 to {FEW_SEEDS} gave the same stream"


def gold_scores_one(family: TaskFamily) -> str | None:
    """Every accepted answer scores 1.0 against itself, and an empty one less."""
    for item_id, answers in family.stream(11).key.items():
        for answer in answers:
            gold, empty = (family.score_item(item_id, text, answer) for text in (answer, ""))
            if gold != 1.0:
                return f"{item_id}: {answer!r} scores {gold}"
            if not 0.0 <= empty < 1.0:
                return f"{item_id}: an empty answer scores {empty}"
    return None


def items_are_sound(family: TaskFamily) -> str | None:
    """Item ids are unique, days are in order, every item has its day and an answer."""
    stream = family.stream(11)
    if [day.number for day in stream.days] != list(range(1, len(stream.days) + 1)):
        return "days are not numbered 1, 2, 3, ..."
    ids: set[str] = set()
    groups = [(0, stream.base)]
    groups += [(d.number, sum(d.practice, ()) + d.exam) for d in stream.days]
    for number, items in groups:
        for item in items:
            if item.id in ids:
                return f"the id {item.id!r} occurs twice"
            if item.day != number:
                return f"{item.id!r} of day {number} says it is of day {item.day}"
            if not stream.key.get(item.id):
                return f"{item.id!r} has no answer"
            ids.add(item.id)
    return None


def presets_resolve(family: TaskFamily) -> str | None:
    """Every preset names existing settings with valid values."""
    for name, settings in type(family).presets.items():
        try:
            assemble(type(family), f"preset {name}", settings, family.data)
        except SleepGymError as error:
            return f"preset {name}: {error}"
    return None


TASK_RULES = (
    streams_repeat,
    seeds_matter,
    gold_scores_one,
    items_are_sound,
    presets_resolve,
    passes_gymnasium,
)


def _orders(stream: Stream) -> int:
    """In how many orders a stream's exams can ask their questions, each day by itself."""
    return prod(factorial(len(asked)) for asked in (stream.base, *(d.exam for d in stream.days)))


def _full_hash(family: TaskFamily) -> str:
    return family.stream(11).full_hash()
