"""What a night consolidates: lessons about the day and about what the day brought back to mind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge

from sleepgym import Document, Night
from sleepgym.core.errors import BadSetting
from sleepgym_agents.experts.entity_names import EntityName, find_entity_names, split_words
from sleepgym_agents.experts.expert_memory import ExpertMemory
from sleepgym_agents.lm.model import LanguageModel, common_prefix
from sleepgym_agents.lm.scoring import score_continuations
from sleepgym_agents.sleep.dreamer import Dreamer, dreaming_with
from sleepgym_agents.sleep.episodes import Episodes, episode_examples, known_entities
from sleepgym_agents.sleep.recall import (
    RecallSettings,
    recall_known_answers,
    recall_related_episodes,
)
from sleepgym_agents.sleep.recollection import (
    ITEM_TOKENS,
    TITLE_TOKENS,
    sample_qa_about,
    sample_titles,
)
from sleepgym_agents.training.distillation import DistillationExample, score_with_teacher
from sleepgym_agents.training.qa_generation import Pair, generate_qa, single_and_joint_contexts


@dataclass(frozen=True)
class ConsolidationSettings(RecallSettings):
    """How the night's material is made.

    Attributes:
        samples: Dreams sampled from the teacher, each a chain of questions and answers; half of
            them about the whole day, half about one text of it.
        min_entity_gain_nats: How much more likely the day makes each word of a name.
        rehearsals: Questions sampled from the bare self: what common words are, and what routers
            that never fall silent must not change.
        teachers: Further models that read the day and teach, by name; they share the vocabulary.
        dreamer: Folder of a dreamer that ``sleepgym train-dreamer`` trained on the same base model;
            it writes the self's dreams. Empty: the self dreams as it is.
    """

    renamed: ClassVar[Mapping[str, str | None]] = {
        "chains": "samples",
        "name_nats": "min_entity_gain_nats",
        "teachers": None,
    }

    samples: Annotated[int, Ge(1)] = 48
    min_entity_gain_nats: Annotated[float, Ge(0)] = 3.5
    rehearsals: Annotated[int, Ge(0)] = 64
    teachers: tuple[str, ...] = ()
    dreamer: str = ""


@dataclass(frozen=True)
class ConsolidationData:
    """What a night consolidates.

    Attributes:
        dreams: Lessons about the day, by the self that has it in context.
        recollections: Lessons about what is known of the day's names from elsewhere.
        episodes: What is known by heart of names that are met again.
        episode_items: Lessons that teach the stories of all names of the day.
        rehearsals: Lessons about nothing in particular, by the self.
        names: Token ids of the names that the day is about.
        dreamt: How many different dreams there were before any was dropped.
    """

    dreams: list[DistillationExample]
    recollections: list[DistillationExample]
    episodes: Episodes
    episode_items: list[DistillationExample]
    rehearsals: list[DistillationExample]
    names: list[EntityName]
    dreamt: int

    @property
    def examples(self) -> list[DistillationExample]:
        """All that is to be known about the day's names."""
        return [*self.dreams, *self.recollections, *self.episode_items]


def build_consolidation_data(
    memory: ExpertMemory,
    parts: Sequence[Sequence[int]],
    documents: Sequence[Document],
    practised: Sequence[Pair],
    settings: ConsolidationSettings,
    night: Night,
    teachers: Sequence[LanguageModel] = (),
    dreamer: Dreamer | None = None,
) -> ConsolidationData:
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
    taught: list[DistillationExample] = []
    with memory.masked(*memory.unlocked):
        for number, teacher in enumerate((memory.lm, *teachers)):
            _require_same_vocabulary(memory.lm, teacher, settings.teachers)
            if not teacher.affords(night, generated=settings.samples * settings.dream_tokens):
                break
            seed = night.derive_seed("dreams", number)
            contexts = single_and_joint_contexts(parts, settings.samples)
            with dreaming_with(teacher, None if number else dreamer):
                written = generate_qa(teacher, contexts, tokens=settings.dream_tokens, seed=seed)
            pairs = sorted({pair for sample in written for pair in sample} | set(practised))
            taught += score_with_teacher(teacher, pairs, context)
        rehearsed = sample_rehearsal_qa(memory, settings.rehearsals, night)
        examples = [example for example in taught if example.confidence >= settings.confidence]
        names = detect_entities(memory, examples, context, rehearsed, settings.min_entity_gain_nats)
    size = settings.episode_tokens
    episodes = recall_related_episodes(memory, known_entities(memory, parts), settings, night)
    known = recall_known_answers(memory, names, examples, episodes, parts, settings, night)
    dreamt = {example.pair[0] for example in examples}
    return ConsolidationData(
        dreams=examples,
        recollections=[example for example in known if example.pair[0] not in dreamt],
        episodes=episodes,
        episode_items=episode_examples(memory.lm, names, documents, episodes, size) if size else [],
        rehearsals=rehearsed,
        names=names,
        dreamt=len({example.pair for example in taught}),
    )


def _require_same_vocabulary(
    student: LanguageModel, teacher: LanguageModel, names: Sequence[str]
) -> None:
    if teacher.prompter.tokenizer.get_vocab() != student.prompter.tokenizer.get_vocab():
        raise BadSetting(
            f"teachers={','.join(names)}: teacher and student need the same vocabulary, "
            f"not {len(teacher.prompter.tokenizer)} and {len(student.prompter.tokenizer)} tokens"
        )


def sample_rehearsal_qa(
    memory: ExpertMemory, count: int, night: Night
) -> list[DistillationExample]:
    """Lessons that the self writes from nothing, about titles of its own invention."""
    if not memory.lm.affords(night, generated=count * (TITLE_TOKENS + ITEM_TOKENS)):
        return []
    titles = sample_titles(memory.lm, count, night.derive_seed("titles"))
    return score_with_teacher(
        memory.lm, sample_qa_about(memory.lm, titles, 1, night.derive_seed("rehearsal"))
    )


def detect_entities(
    memory: ExpertMemory,
    examples: Sequence[DistillationExample],
    context: Sequence[int],
    rehearsed: Sequence[DistillationExample],
    nats: float,
) -> list[EntityName]:
    """The names in what was dreamt: words of the day that no rehearsal uses.

    Args:
        memory: The evening's self, its experts silent.
        examples: About the day, with the day's likelihoods.
        context: The day's token ids.
        rehearsed: What the self says when it speaks of nothing in particular.
        nats: See :class:`ConsolidationSettings`.
    """
    lm = memory.lm
    prompter = lm.prompter
    bare = score_continuations(
        lm,
        [[*prompter.start, *example.ids[:1]] for example in examples],
        [example.ids[1:] for example in examples],
    )
    one, other = prompter.question("x"), prompter.question("y")
    begin = max(1, common_prefix([one, other]))  # what stands before the text, and after it
    frame = common_prefix([one[::-1], other[::-1]])
    texts, gaps = [], []
    for example, alone in zip(examples, bare, strict=True):
        told = example.likelihoods.tolist()
        gap = [a - b for a, b in zip(told, alone.log_probabilities, strict=True)]
        texts.append(example.ids[begin : example.asked - frame])
        gaps.append(gap[begin - 1 : example.asked - frame - 1])
    tokenizer = prompter.tokenizer
    common = {
        word
        for example in rehearsed
        for word in split_words(example.ids[begin : example.asked - frame], tokenizer)
    }
    return find_entity_names(texts, gaps, tokenizer, nats, context, common)
