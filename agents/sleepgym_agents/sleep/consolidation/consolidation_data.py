"""What a night learns: questions and answers about the day, and about its entities."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from annotated_types import Ge

from sleepgym import Document
from sleepgym_agents.experts.entity_names import (
    EntityName,
    find_entity_names,
    question_frame,
    split_words,
)
from sleepgym_agents.experts.routing import ExpertId
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.lm.scoring import score_continuations
from sleepgym_agents.sleep.consolidation.episodes import (
    Episodes,
    episode_examples,
    recall_related_episodes,
)
from sleepgym_agents.sleep.consolidation.question_forms import find_frames
from sleepgym_agents.sleep.consolidation.replay import ReplaySettings, plain_texts, recollect
from sleepgym_agents.sleep.consolidation.text_routes import choose_way
from sleepgym_agents.sleep.paper_parts import writing_dreams
from sleepgym_agents.sleep.sleep_context import SleepContext
from sleepgym_agents.stores.text_store import sentences
from sleepgym_agents.training.distillation import DistillationExample, text_examples
from sleepgym_agents.training.qa_generation import (
    ITEM_TOKENS,
    TITLE_TOKENS,
    DreamForm,
    Pair,
    dream_counts,
    single_and_joint_contexts,
)

EPISODE_REPEATS = 2  # of an episode in one pass over the examples


@dataclass(frozen=True)
class ConsolidationSettings(ReplaySettings):
    """How the night's training set is made.

    Attributes:
        samples: Samples of questions and answers from the teacher; half of them about the whole
            day, half about one of its texts.
        min_entity_gain_nats: How much more likely, at least, the day makes each word of an
            entity's name. Of `smollm2-reader` invented names gain 10 to 40, words such as
            "landmark" up to 7.
        rehearsals: Questions sampled without context, about titles that the model makes up: none
            where it makes up none (`smollm2-reader`). They show which words are common, and what
            routers that are never off must not change.
        dream_focus: Whether the samples are about one document each, of which they read one
            sentence once more, all sentences in turn; else half of them are about the whole day.
        dream_form: What else the teacher writes of every document, to be learned word by word as
            documents: ``implications`` or ``rewritings``; ``questions`` is nothing else.
        dreamer: Folder of a dreamer that ``sleepgym train-dreamer`` trained on the same base model;
            it writes the dreams. Empty: the model itself does.
    """

    renamed: ClassVar[Mapping[str, str | None]] = {
        "chains": "samples",
        "name_nats": "min_entity_gain_nats",
        "teachers": None,
    }

    samples: Annotated[int, Ge(1)] = 48
    min_entity_gain_nats: Annotated[float, Ge(0)] = 3.5
    rehearsals: Annotated[int, Ge(0)] = 64
    dream_focus: bool = False
    dream_form: DreamForm = "questions"
    dreamer: str = ""


@dataclass(frozen=True)
class ConsolidationData:
    """The training set of a night.

    Attributes:
        dreams: Examples about the day, by the base model that has it in context.
        recollections: Examples about what is known of the day's entities from elsewhere.
        episodes: Recalled episodes of entities that the day mentions again.
        episode_items: Verbatim examples of the episodes of all entities of the day.
        rehearsals: Examples about nothing in particular, by the base model.
        entities: Token ids of the names of the day's entities.
        dreamt: How many different dreams there were before any was dropped.
        written: How many samples were written, parsed, and have answers from the text; and which
            shares of held-back questions names and content lead to the night's texts.
        held_back: What the dream stage tries, in place of dreams about the day's texts.
        statements: Verbatim examples of what follows from the day's documents, or says the same.
        by_content: Whether the day's texts are routed by content; they have no ``entities`` then.
        made_up: The titles that the rehearsals are about.
        forms: What was asked about the day's entities and about these titles, without the names.
    """

    dreams: list[DistillationExample]
    recollections: list[DistillationExample]
    episodes: Episodes
    episode_items: list[DistillationExample]
    rehearsals: list[DistillationExample]
    entities: list[EntityName]
    dreamt: int
    written: Mapping[str, float] = field(default_factory=dict)
    held_back: list[list[DistillationExample]] = field(default_factory=list)
    statements: list[DistillationExample] = field(default_factory=list)
    by_content: bool = False
    made_up: Sequence[str] = ()
    forms: Collection[str] = ()

    @property
    def examples(self) -> list[DistillationExample]:
        """All that is to be known about the day's entities."""
        return [*self.dreams, *self.recollections, *self.episode_items]

    def counts(self) -> dict[str, float]:
        """Sizes of its parts, for a night's log."""
        return {
            "dreams": float(self.dreamt),
            "dreams_kept": float(len(self.dreams)),
            **self.written,
            **({"statements": float(len(self.statements))} if self.statements else {}),
            "names": float(len(self.entities)),
            "recollections": float(len(self.recollections)),
            "stories": float(len(self.episodes)),
            "recitals": float(len(self.episode_items)),
        }


Stage = Callable[[SleepContext, ExpertId, ConsolidationData], dict[str, float]]


def build_consolidation_data(context: SleepContext) -> ConsolidationData:
    """Write questions and answers about the day, find its entities, recall what is known of them.

    The base model reads the day without experts: an older expert must not contradict the news.

    Args:
        context: The night; its settings are :class:`ConsolidationSettings`.
    """
    lm, config = context.lm, context.config
    with context.memory.bare():
        dreamt, written = write_examples(context)
        statements = write_statements(context)
        titles = make_up_titles(context)
        rehearsals = sample_rehearsal_qa(context, titles)
        dreams = [example for example in dreamt if example.confidence >= config.confidence]
        day, nats = context.context_ids, config.min_entity_gain_nats
        entities = []
        if not context.memory.router.documents:
            entities = detect_entities(lm, dreams, day, rehearsals, nats)
        by_content, led = choose_way(context, dreams, entities)
        entities = [] if by_content else entities
    known = context.memory.entities_in(context.parts)
    episodes = recall_related_episodes(context, known)
    made_up = [lm.prompter.tokenizer.decode(title).strip() for title in titles]
    idle = set().union(*find_frames((x.pair[0] for x in rehearsals), made_up).values())
    recollections = recollect(context, entities, dreams, episodes, idle)
    questions = {example.pair[0] for example in dreams}
    size = config.episode_tokens
    items = episode_examples(context, entities, episodes, size, context.documents) if size else []
    return ConsolidationData(
        dreams=dreams,
        recollections=[example for example in recollections if example.pair[0] not in questions],
        episodes=episodes,
        episode_items=items,
        rehearsals=rehearsals,
        entities=entities,
        dreamt=len({example.pair for example in dreamt}),
        written={**written, **led},
        statements=statements,
        by_content=by_content,
        made_up=made_up,
        forms=idle.union(*find_frames(questions, plain_texts(lm, entities)).values()),
    )


def write_statements(context: SleepContext) -> list[DistillationExample]:
    """Implications or rewritings of the day's documents, as documents under the same titles.

    As many samples as there are of questions about single texts; none where ``dream_form`` asks
    for questions alone, or where the budget does not allow them.
    """
    config, documents, encode = context.config, context.documents, context.lm.prompter.document
    count = max(1, config.samples // 2)
    if config.dream_form == "questions" or not documents:
        return []
    if not context.affords(count * config.dream_tokens):
        return []
    read = [documents[number % len(documents)] for number in range(count)]
    written = context.asked.write_texts(
        [encode(document) for document in read],
        config.dream_form,
        tokens=config.dream_tokens,
        seed=context.derive_seed("statements"),
    )
    said = dict.fromkeys(
        (document.title, line)
        for document, lines in zip(read, written, strict=True)
        for line in lines
    )
    parts = [encode(Document(line, title)) for title, line in said]
    return text_examples(context.lm, parts, config.sequence_tokens)


def write_examples(
    context: SleepContext,
) -> tuple[list[DistillationExample], dict[str, float]]:
    """Questions and answers about the day, those practised among them, with teacher targets.

    None where the budget does not allow to write them. The counts of
    :func:`sleepgym_agents.training.qa_generation.dream_counts` come with them.
    """
    if context.config.dream_focus and context.documents:
        return write_focused_examples(context)
    contexts = single_and_joint_contexts(context.parts, context.config.samples)
    with writing_dreams(context):
        written = context.write_qa(contexts, "dreams", 0)
    if not written:
        return [], {}
    pairs = {pair for sample in written for pair in sample} | set(context.practised)
    return context.score(sorted(pairs), context.parts), _counts(context, written)


def write_focused_examples(
    context: SleepContext,
) -> tuple[list[DistillationExample], dict[str, float]]:
    """The same about each document on its own, all its sentences in turn.

    Samples about a whole text ask about the same few facts of it again and again. Here each reads
    one sentence of its text once more; the text alone is open where answers are read and scored.
    """
    document = context.lm.prompter.document
    texts, focused = [], []
    for number in range(context.config.samples):
        read = context.documents[number % len(context.documents)]
        split = sentences(read.text) or [read.text]
        one = Document(split[number // len(context.documents) % len(split)], read.title)
        texts.append([document(read)])
        focused.append([document(read), document(one)])
    with writing_dreams(context):
        written = context.write_qa(focused, "dreams", 0, opened=texts)
    if not written:
        return [], {}
    pairs_about: dict[tuple[int, ...], set[Pair]] = {}
    for [text], sample in zip(texts, written, strict=True):
        pairs_about.setdefault(tuple(text), set()).update(sample)
    examples = context.score(sorted(set(context.practised)), context.parts)
    seen = {example.pair for example in examples}
    for text, pairs in pairs_about.items():
        examples += context.score(sorted(pairs - seen), [text])
        seen |= pairs
    return examples, _counts(context, written)


def _counts(context: SleepContext, written: Sequence[Sequence[Pair]]) -> dict[str, float]:
    return dream_counts(written, context.lm.prompter.tokenizer.decode(context.context_ids))


def make_up_titles(context: SleepContext) -> list[list[int]]:
    """Titles that the model makes up, as token ids; none where the budget has no rehearsals."""
    count = context.config.rehearsals
    if not context.affords(count * (TITLE_TOKENS + ITEM_TOKENS)):
        return []
    return context.asked.write_titles(count, context.derive_seed("titles"))


def sample_rehearsal_qa(
    context: SleepContext, titles: Sequence[Sequence[int]]
) -> list[DistillationExample]:
    """Questions and answers that the model writes without context, about made-up titles."""
    seed = context.derive_seed("rehearsal")
    return context.score(context.asked.write_qa_about(titles, 1, seed))


def detect_entities(
    lm: LanguageModel,
    examples: Sequence[DistillationExample],
    context_ids: Sequence[int],
    rehearsals: Sequence[DistillationExample],
    nats: float,
) -> list[EntityName]:
    """The entities in what was written about the day: words of it that no rehearsal uses.

    Args:
        lm: The language model, its experts off.
        examples: About the day, with their likelihoods given the day.
        context_ids: Token ids of the day.
        rehearsals: What the model writes without context.
        nats: ``min_entity_gain_nats`` of :class:`ConsolidationSettings`.
    """
    prompter = lm.prompter
    bare = score_continuations(
        lm,
        [[*prompter.start, *example.ids[:1]] for example in examples],
        [example.ids[1:] for example in examples],
    )
    begin, frame = question_frame(prompter)
    begin = max(1, begin)  # the first token has no likelihood
    texts, gaps = [], []
    for example, unread in zip(examples, bare, strict=True):
        read = example.likelihoods.tolist()
        gap = [a - b for a, b in zip(read, unread.log_probabilities, strict=True)]
        texts.append(example.ids[begin : example.asked - frame])
        gaps.append(gap[begin - 1 : example.asked - frame - 1])
    tokenizer = prompter.tokenizer
    common = {
        word
        for example in rehearsals
        for word in split_words(example.ids[begin : example.asked - frame], tokenizer)
    }
    return find_entity_names(texts, gaps, tokenizer, nats, context_ids, common)
