"""What a night consolidates: lessons about the day and about what the day brought back to mind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Interval

from sleepgym import Document, Night
from sleepgym.errors import BadSetting
from sleepgym_agents.continuum import ExpertMemory
from sleepgym_agents.dreamer import Dreamer, dreaming_with
from sleepgym_agents.dreams import Pair, dream
from sleepgym_agents.lessons import Lesson, teach
from sleepgym_agents.model import LanguageModel, common_prefix
from sleepgym_agents.name_router import Names
from sleepgym_agents.names import Name, find_names, split_words
from sleepgym_agents.recollection import (
    ITEM_TOKENS,
    TITLE_TOKENS,
    answer_oneself,
    ask_oneself,
    invent_titles,
)
from sleepgym_agents.scoring import score_continuations
from sleepgym_agents.stories import Stories, known_names, related, story_lessons, tell_stories

STORY_CHAINS = 3  # dreams about each story
STORY_COMPANY = 2  # other stories read before it


@dataclass(frozen=True)
class MaterialSettings:
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
    dream_tokens: Annotated[int, Ge(8)] = 80
    confidence: Annotated[float, Interval(ge=0, le=1)] = 0.5
    name_nats: Annotated[float, Ge(0)] = 3.5
    rehearsals: Annotated[int, Ge(0)] = 64
    recollections: Annotated[int, Ge(0)] = 16
    recollection_confidence: Annotated[float, Interval(ge=0, le=1)] = 0.8
    story_tokens: Annotated[int, Ge(0)] = 192
    story_confidence: Annotated[float, Interval(ge=0, le=1)] = 0.9
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
            alone = [[parts[i % len(parts)]] for i in range(settings.chains // 2)]
            scenes = [*alone, *[parts] * (settings.chains - len(alone))]
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


def recollect(
    memory: ExpertMemory,
    names: Sequence[Name],
    lessons: Sequence[Lesson],
    stories: Stories,
    parts: Sequence[Sequence[int]],
    settings: MaterialSettings,
    night: Night,
) -> list[Lesson]:
    """What is known of the day's names, from their stories and unread.

    Args:
        memory: The evening's self.
        names: Of the day.
        lessons: About the day.
        stories: Of names that are met again.
        parts: Token ids of the day.
        settings: How much.
        night: Its budget and seed.
    """
    router = memory.router
    if not isinstance(router, Names) or not settings.recollections:
        return []
    decode = memory.lm.prompter.tokenizer.decode
    texts = [decode(name).strip() for name in names]
    found = []
    if stories:
        pairs = dream_of(memory, stories, settings, night)
        pairs = [pair for pair in pairs if any(text in pair[0] for text in texts)]
        read = [*(memory.lm.prompter.document(Document(x)) for x in stories.values()), *parts]
        with memory.without(*memory.unlocked):
            taught = teach(memory.lm, pairs, [i for part in read for i in part])
        found = [lesson for lesson in taught if lesson.confidence >= settings.confidence]
    news = answers_about(texts, (lesson.pair for lesson in lessons))
    pairs = {lesson.pair for lesson in found}
    unread = recall(memory, names, news, parts, settings, night)
    return [*found, *(lesson for lesson in unread if lesson.pair not in pairs)]


def answers_about(names: Sequence[str], pairs: Iterable[Pair]) -> dict[str, set[str]]:
    """A name -> the answers to questions that hold it."""
    found: dict[str, set[str]] = {}
    for question, answer in pairs:
        for name in names:
            if name in question:
                found.setdefault(name, set()).add(answer)
    return found


def tell_related(
    memory: ExpertMemory, names: Sequence[Name], settings: MaterialSettings, night: Night
) -> Stories:
    """The stories of names, and of known names in these stories."""
    size, sure = settings.story_tokens, settings.story_confidence
    stories = tell_stories(memory, names, size, sure, night)
    texts = [memory.lm.prompter.encode(story) for story in stories.values()]
    others = [name for name in known_names(memory, texts) if name not in names]
    return {**tell_stories(memory, others, size, sure, night), **stories}


def dream_of(
    memory: ExpertMemory, stories: Stories, settings: MaterialSettings, night: Night
) -> list[Pair]:
    """Questions and answers about stories, each read by the bare self after those it touches on."""
    document = memory.lm.prompter.document
    scenes = []
    for story in dict.fromkeys(stories.values()):
        before = [other for other in related(story, stories) if other != story][:STORY_COMPANY]
        scenes += [[document(Document(text)) for text in (*before, story)]] * STORY_CHAINS
    if not memory.lm.affords(night, generated=len(scenes) * settings.dream_tokens):
        return []
    seed = night.derive_seed("stories")
    with memory.without(*memory.unlocked):
        written = dream(memory.lm, scenes, tokens=settings.dream_tokens, seed=seed)
    return sorted({pair for chain in written for pair in chain})


def recall(
    memory: ExpertMemory,
    names: Sequence[Name],
    told: Mapping[str, set[str]],
    parts: Sequence[Sequence[int]],
    settings: MaterialSettings,
    night: Night,
) -> list[Lesson]:
    """What the self is sure of about some names, unless the day says otherwise.

    A recollection is outdated where the day's text, read by the bare self, answers its question
    differently, with something that was dreamt about that name tonight. Without this last
    condition every question that the day does not answer would count as one: a model that must
    answer picks something from what it reads.
    """
    lm, count = memory.lm, settings.recollections
    if not lm.affords(night, generated=3 * len(names) * count * ITEM_TOKENS):
        return []
    decode = lm.prompter.tokenizer.decode
    texts = [decode(name).strip() for name in names]
    dreamt = ask_oneself(lm, names, count, night.derive_seed("recollections"))
    asked = sorted({question for question, _ in dreamt})
    asked = [question for question in asked if any(text in question for text in texts)]
    pairs = [(q, a) for q, a in zip(asked, answer_oneself(lm, asked), strict=True) if a]
    taught = teach(lm, pairs)
    sure = [lesson for lesson in taught if lesson.confidence >= settings.recollection_confidence]
    with memory.without(*memory.unlocked):
        read = answer_oneself(lm, [lesson.pair[0] for lesson in sure], parts)
    kept = []
    for lesson, new in zip(sure, read, strict=True):
        question, old = lesson.pair
        news = {a for text, answers in told.items() if text in question for a in answers}
        if old == new or new not in news:
            kept.append(lesson)
    return kept
