"""Almanac: days of passages about invented people, companies and towns.

Every name is made up from the seed, so no model can have met it; the base world that some passages
return to is the one the embedded model was born with. Because a third of the passages return to
entities of earlier days, change facts, or call somebody by a nickname, a table of names in front of
frozen adapters does not answer everything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Annotated, Any, ClassVar, Literal, get_args

from annotated_types import Ge, Interval

from sleepgym.core.errors import BadSetting
from sleepgym.core.family import TaskFamily
from sleepgym.core.types import Experience, Stream
from sleepgym_tasks.data.grades import GRADES
from sleepgym_tasks.data.shots import ShotSettings, introduced, shown_day, spread
from sleepgym_tasks.worlds.almanac.disclosure import Disclosure
from sleepgym_tasks.worlds.almanac.hard_questions import HardKind
from sleepgym_tasks.worlds.almanac.writer import Writer

_INSTRUCTION = "Answer each question with a name or a few words, and nothing else."
_SHOT_SEED = 60_001  # of the exemplars' world: chosen on tuning seeds (docs/prompts.md)
_SHOT_PASSAGES, _SHOT_QUESTIONS = 4, 36  # of an exemplar
Share = Annotated[float, Interval(ge=0, le=1)]
Kind = Literal[
    "direct",
    "paraphrase",
    "unseen",
    "reversed",
    "two-hop",
    "two-hop-days",
    "alias",
    "updated",
    "override",
]


@dataclass(frozen=True)
class AlmanacConfig(ShotSettings):
    """Settings of :class:`Almanac`.

    Attributes:
        days: Days of the stream.
        passages: Passages a day.
        facts_min: Fewest facts of a passage.
        facts_max: Most facts of a passage.
        questions: Questions a day, shared evenly among the kinds that the day allows.
        kinds: Kinds that a day asks, in turn; one that is named twice gets two shares. Version 1
            knows five more: deletion, cascade, absence, as-of and implicit.
        base_questions: Questions about the base world, asked every morning.
        returns: Share of passages about an entity met before, or of the base world.
        from_base: Share of the returns that go to the base world.
        updates: Share of facts about a returning entity that change an older fact.
        ties: Share of linked values (home, mentor, ...) that name an entity met before.
        aliases: Share of passages that give a nickname to their entity, or use the one it has.
        descriptions: Share of passages that name a linked entity only by the link.
        unseen_passages: Share of sentences in phrasings that pretraining never used.
        metric: ``exact`` or ``f1`` after SQuAD's normalisation, or ``contained`` anywhere in the
            answer.
    """

    days: Annotated[int, Ge(1)] = 8
    passages: Annotated[int, Ge(1)] = 4
    facts_min: Annotated[int, Ge(1)] = 4
    facts_max: Annotated[int, Ge(1)] = 6
    questions: Annotated[int, Ge(1)] = 24
    kinds: tuple[Kind | HardKind, ...] = get_args(Kind)
    base_questions: Annotated[int, Ge(0)] = 50
    returns: Share = 0.35
    from_base: Share = 0.35
    updates: Share = 0.4
    ties: Share = 0.4
    aliases: Share = 0.2
    descriptions: Share = 0.1
    unseen_passages: Share = 0.1
    metric: Literal["exact", "f1", "contained"] = "exact"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.facts_max < self.facts_min:
            raise ValueError(f"facts_max={self.facts_max} is below facts_min={self.facts_min}")


class Almanac(TaskFamily):
    """Read a few passages a day; answer questions about them, in the evening and ever after.

    Question kinds: ``direct``; ``paraphrase`` (another wording); ``unseen`` (a wording that
    pretraining never used); ``reversed`` (given the value, who?); ``two-hop`` (both facts told the
    same day); ``two-hop-days`` (the facts were told on different days: no single day answers it);
    ``alias`` (the entity under its other name); ``updated`` (the newest fact wins); ``override``
    (today's fact contradicts the base world); ``locality`` (old facts of an entity that a later
    passage changes in another respect; told facts count to their day, base facts to day 0);
    ``base`` (the world the embedded model was born with).

    An item is asked only while its answer is true and its question unambiguous. The answer is
    graded by exact match unless ``metric`` says otherwise. Exemplars are days of another world, the
    same for every seed. The preset ``disjoint`` is the easy stream where every entity lives on
    one day; ``long`` is 64 days with spaced exams.
    """

    Config = AlmanacConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {},
        "disjoint": {"returns": 0.0, "ties": 0.0, "aliases": 0.0, "descriptions": 0.0},
        "long": {"days": 64, "exams": "spaced"},
    }

    config: AlmanacConfig

    def stream(self, seed: int) -> Stream:
        """The stream of this configuration and seed.

        Raises:
            BadSetting: If ``kinds`` names one of version 1.
        """
        later = [kind for kind in self.config.kinds if kind in get_args(HardKind)]
        if later:
            raise BadSetting(f"kinds={later[0]} of Almanac-v0: only sleepgym/Almanac-v1 asks it")
        return self._introduced(Writer(self.config, seed).stream(), lambda: None)

    def score(self, answer: str, target: str) -> float:
        """The grade by ``metric``."""
        return GRADES[self.config.metric](answer, target)

    def _introduced(self, stream: Stream, disclosure: Callable[[], Disclosure | None]) -> Stream:
        """The stream with days of another world as exemplars, the same whatever the seed."""
        config = self.config
        days = AlmanacConfig(
            days=max(1, config.shots),
            passages=_SHOT_PASSAGES,
            questions=_SHOT_QUESTIONS,
            kinds=config.kinds,
            base_questions=0,
            returns=0.0,
        )

        def other(seed: int) -> Stream:
            return Writer(days, seed, disclosure()).stream()

        def show(world: Stream, number: int) -> Experience:
            return spread(shown_day(world, number, _SHOT_QUESTIONS))

        return introduced(stream, config, _INSTRUCTION, other, count(_SHOT_SEED), show)


class AlmanacV1(Almanac):
    """Almanac whose exams do not answer themselves.

    Texts, kinds and settings are those of version 0. A name that one question mentions is the
    answer of no other question of the stream, and the link of a two-hop question or the nickname
    behind an alias is asked by no other, so that an agent that kept nothing learns nothing from
    reading an exam from end to end.

    Five further ``kinds`` (the preset ``hard``): ``deletion`` (a later day says that a fact is no
    longer true; items ``deleted``, right answer "not known", and ``kept``, of facts that still
    hold), ``absence`` (``absent``: never told; ``present``), ``cascade`` (what an older link leads
    to, where today changed the entity it points to), ``as-of`` (what was true on a day that the
    question names, asked for ever; texts then name their day) and ``implicit`` (a need that a fact
    meets, in none of its words). "Not known" is right for as many new questions as it is wrong.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        **Almanac.presets,
        "hard": {
            "passages": 8,
            "questions": 36,
            "kinds": ("direct", "updated", *get_args(HardKind)),
            "returns": 0.6,
            "updates": 0.6,
            "ties": 0.6,
        },
    }

    def stream(self, seed: int) -> Stream:
        """The stream of this configuration and seed."""
        return self._introduced(Writer(self.config, seed, Disclosure()).stream(), Disclosure)
