"""What a night consolidates: lessons about the day and about what the day brought back to mind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge

from sleepgym import Document, Night
from sleepgym.core.errors import BadSetting
from sleepgym_agents.experts.entity_names import Name, find_names, split_words
from sleepgym_agents.experts.expert_memory import ExpertMemory
from sleepgym_agents.lm.model import LanguageModel, common_prefix
from sleepgym_agents.lm.scoring import score_continuations
from sleepgym_agents.sleep.dreamer import Dreamer, dreaming_with
from sleepgym_agents.sleep.episodes import Stories, known_names, story_lessons
from sleepgym_agents.sleep.recall import RecallSettings, recollect, tell_related
from sleepgym_agents.sleep.recollection import (
    ITEM_TOKENS,
    TITLE_TOKENS,
    ask_oneself,
    invent_titles,
)
from sleepgym_agents.training.distillation import Lesson, teach
from sleepgym_agents.training.qa_generation import Pair, alone_and_together, dream


@dataclass(frozen=True)
class MaterialSettings(RecallSettings):
    """How the night's material is made.

    Attributes:
        chains: Dreams sampled from the teacher, each a chain of questions and answers; half of them
            about the whole day, half about one text of it.
        dream_tokens: Longest chain.
        confidence: Least probability of an answer under its teacher; others are dropped.
        name_nats: How much more likely the day makes each word of a name.
        rehearsals: Questions sampled from the bare self: what common words are, and what routers
            that never fall silent must not change.
        recollections: Questions sampled about each name of the day.
        recollection_confidence: Least probability of a recollected answer; others are dropped.
        story_tokens: Longest story that is learned by heart under a name; 0 is none.
        story_confidence: Least probability of a story's token in the mean; others are not believed.
        teachers: Further models that read the day and teach, by name; they share the vocabulary.
        dreamer: Folder of a dreamer that ``sleepgym train-dreamer`` trained on the same base model;
            it writes the self's dreams. Empty: the self dreams as it is.
    """

    chains: Annotated[int, Ge(1)] = 48
    name_nats: Annotated[float, Ge(0)] = 3.5
    rehearsals: Annotated[int, Ge(0)] = 64
    teachers: tuple[str, ...] = ()
    dreamer: str = ""


@dataclass(frozen=True)
class Material:
    """What a night consolidates.

    Attributes:
        dreams: Lessons about the day, by the self that has it in context.
        recollections: Lessons about what is known of the day's names from elsewhere.
        stories: What is known by heart of names that are met again.
        recitals: Lessons that teach the stories of all names of the day.
        rehearsals: Lessons about nothing in particular, by the self.
        names: Token ids of the names that the day is about.
        dreamt: How many different dreams there were before any was dropped.
    """

    dreams: list[Lesson]
    recollections: list[Lesson]
    stories: Stories
    recitals: list[Lesson]
    rehearsals: list[Lesson]
    names: list[Name]
    dreamt: int

    @property
    def lessons(self) -> list[Lesson]:
        """All that is to be known about the day's names."""
        return [*self.dreams, *self.recollections, *self.recitals]


def gather(
    memory: ExpertMemory,
    parts: Sequence[Sequence[int]],
    documents: Sequence[Document],
    practised: Sequence[Pair],
    settings: MaterialSettings,
    night: Night,
    teachers: Sequence[LanguageModel] = (),
    dreamer: Dreamer | None = None,
) -> Material:
    """Dream about the day, tell its names, and recollect what is known of them.

    The day is read by the bare self: an older expert that believes something else must not talk
    it out of the news.

    Args:
        memory: The evening's self.
        parts: Token ids of the day's documents and demonstrations.
        documents: The documents among them.
        practised: Questions of the day with their right answers.
        settings: How much of each.
        night: Seeds the sampling.
        teachers: Other models that read the day.
        dreamer: Writes the dreams of the self; what they teach is the self's own belief.

    Raises:
        BadSetting: If a teacher's vocabulary is not the student's.
    """
    context = [i for part in parts for i in part]
    taught: list[Lesson] = []
    with memory.without(*memory.unlocked):
        for number, teacher in enumerate((memory.lm, *teachers)):
            _require_same_vocabulary(memory.lm, teacher, settings.teachers)
            if not teacher.affords(night, generated=settings.chains * settings.dream_tokens):
                break
            seed = night.derive_seed("dreams", number)
            scenes = alone_and_together(parts, settings.chains)
            with dreaming_with(teacher, None if number else dreamer):
                written = dream(teacher, scenes, tokens=settings.dream_tokens, seed=seed)
            pairs = sorted({pair for chain in written for pair in chain} | set(practised))
            taught += teach(teacher, pairs, context)
        rehearsed = rehearse(memory, settings.rehearsals, night)
        lessons = [lesson for lesson in taught if lesson.confidence >= settings.confidence]
        names = tell_names(memory, lessons, context, rehearsed, settings.name_nats)
    size = settings.story_tokens
    stories = tell_related(memory, known_names(memory, parts), settings, night)
    known = recollect(memory, names, lessons, stories, parts, settings, night)
    dreamt = {lesson.pair[0] for lesson in lessons}
    return Material(
        dreams=lessons,
        recollections=[lesson for lesson in known if lesson.pair[0] not in dreamt],
        stories=stories,
        recitals=story_lessons(memory.lm, names, documents, stories, size) if size else [],
        rehearsals=rehearsed,
        names=names,
        dreamt=len({lesson.pair for lesson in taught}),
    )


def _require_same_vocabulary(
    student: LanguageModel, teacher: LanguageModel, names: Sequence[str]
) -> None:
    if teacher.prompter.tokenizer.get_vocab() != student.prompter.tokenizer.get_vocab():
        raise BadSetting(
            f"teachers={','.join(names)}: teacher and student need the same vocabulary, "
            f"not {len(teacher.prompter.tokenizer)} and {len(student.prompter.tokenizer)} tokens"
        )


def rehearse(memory: ExpertMemory, count: int, night: Night) -> list[Lesson]:
    """Lessons that the self writes from nothing, about titles of its own invention."""
    if not memory.lm.affords(night, generated=count * (TITLE_TOKENS + ITEM_TOKENS)):
        return []
    titles = invent_titles(memory.lm, count, night.derive_seed("titles"))
    return teach(memory.lm, ask_oneself(memory.lm, titles, 1, night.derive_seed("rehearsal")))


def tell_names(
    memory: ExpertMemory,
    lessons: Sequence[Lesson],
    context: Sequence[int],
    rehearsed: Sequence[Lesson],
    nats: float,
) -> list[Name]:
    """The names in what was dreamt: words of the day that no rehearsal uses.

    Args:
        memory: The evening's self, its experts silent.
        lessons: About the day, with the day's likelihoods.
        context: The day's token ids.
        rehearsed: What the self says when it speaks of nothing in particular.
        nats: See :class:`MaterialSettings`.
    """
    lm = memory.lm
    prompter = lm.prompter
    bare = score_continuations(
        lm,
        [[*prompter.start, *lesson.ids[:1]] for lesson in lessons],
        [lesson.ids[1:] for lesson in lessons],
    )
    one, other = prompter.question("x"), prompter.question("y")
    begin = max(1, common_prefix([one, other]))  # what stands before the text, and after it
    frame = common_prefix([one[::-1], other[::-1]])
    texts, gaps = [], []
    for lesson, alone in zip(lessons, bare, strict=True):
        told = lesson.likelihoods.tolist()
        gap = [a - b for a, b in zip(told, alone.log_probabilities, strict=True)]
        texts.append(lesson.ids[begin : lesson.asked - frame])
        gaps.append(gap[begin - 1 : lesson.asked - frame - 1])
    tokenizer = prompter.tokenizer
    common = {
        word
        for lesson in rehearsed
        for word in split_words(lesson.ids[begin : lesson.asked - frame], tokenizer)
    }
    return find_names(texts, gaps, tokenizer, nats, context, common)
