"""Episodes: the day's texts, learned verbatim under the entities in them, and recalled later.

An entity's name is a cue: prompted with nothing but the name, the experts that know it write the
texts that mention it. Recalled texts are read again beside the day's own, so that a night
consolidates both together. This is the replay of episodes that complementary learning systems
ascribe to sleep (McClelland, McNaughton and O'Reilly 1995); the texts are stored in the weights of
the experts, nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Interval

from sleepgym import Document, Settings
from sleepgym_agents.experts.entity_names import EntityName
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.sleep.sleep_context import SleepContext
from sleepgym_agents.stores.text_store import sentences
from sleepgym_agents.training.distillation import DistillationExample

Episodes = dict[str, str]  # an entity's name -> the text recalled about it, newest sentences last


@dataclass(frozen=True)
class EpisodeSettings(Settings):
    """How episodes are learned and recalled.

    Attributes:
        episode_tokens: Longest episode that is learned verbatim under an entity; 0 is none.
        episode_confidence: Smallest geometric mean of the token probabilities of a recalled
            episode; others are dropped.
    """

    renamed: ClassVar[Mapping[str, str | None]] = {
        "story_tokens": "episode_tokens",
        "story_confidence": "episode_confidence",
    }

    episode_tokens: Annotated[int, Ge(0)] = 192
    episode_confidence: Annotated[float, Interval(ge=0, le=1)] = 0.9


def recall_episodes(context: SleepContext, entities: Iterable[EntityName]) -> Episodes:
    """The texts that the experts know verbatim about entities.

    Args:
        context: The night; its settings are :class:`EpisodeSettings`.
        entities: Token ids of their names.

    Returns:
        Episodes of the entities that have one; none where the budget does not allow it.
    """
    tokens = context.config.episode_tokens
    cues = cue_texts(context.lm, entities)
    if not cues or not tokens or not context.affords(len(cues) * tokens):
        return {}
    cued = list(cues.values())
    pairs = list(zip(cued, context.answer(cued, tokens), strict=True))
    found: Episodes = {}
    for name, example in zip(cues, context.score(pairs), strict=True):
        if example.pair[1] and is_sure(context, example):
            found[name] = example.pair[1]
    return found


def is_sure(context: SleepContext, episode: DistillationExample) -> bool:
    """Whether a model that scored an episode is sure enough of it to recall it."""
    confidence = float(episode.likelihoods[episode.asked - 1 :].mean().exp())
    return confidence >= context.config.episode_confidence


def recall_related_episodes(context: SleepContext, entities: Sequence[EntityName]) -> Episodes:
    """The episodes of entities, and of the known entities that these episodes mention."""
    episodes = recall_episodes(context, entities)
    texts = [context.lm.prompter.encode(episode) for episode in episodes.values()]
    others = [x for x in context.memory.entities_in(texts) if x not in entities]
    return {**recall_episodes(context, others), **episodes}


def episode_examples(
    context: SleepContext,
    entities: Iterable[EntityName],
    known: Mapping[str, str],
    tokens: int,
    documents: Sequence[Document] = (),
) -> list[DistillationExample]:
    """Verbatim examples that teach each entity's episode: what was known, then the day's news.

    Args:
        context: The night.
        entities: Token ids of their names.
        known: Episodes as they were recalled.
        tokens: Longest episode; of a longer one the oldest sentences are left out. 0 is none.
        documents: The day's texts.
    """
    examples = []
    for name, cue in cue_texts(context.lm, entities).items():
        news = [s for d in documents if name in f"{d.title} {d.text}" for s in sentences(d.text)]
        own = [*(s for s in sentences(known.get(name, "")) if s not in news), *news]
        while own:
            example = context.recite((cue, " ".join(own)))
            if len(example.ids) - example.asked <= tokens:
                examples.append(example)
                break
            own = own[1:]
    return examples


def cue_texts(lm: LanguageModel, entities: Iterable[EntityName]) -> dict[str, str]:
    """Names as plain text -> as the router has them; of two spellings the one within a text."""
    texts = sorted((lm.prompter.tokenizer.decode(entity) for entity in entities), key=len)
    return dict(sorted((text.strip(), text) for text in texts if text.strip()))


def related_episodes(text: str, episodes: Episodes) -> list[str]:
    """The episodes of entities that a text mentions, without those that are part of another."""
    own = {episode for name, episode in episodes.items() if name in text}
    return sorted(
        episode for episode in own if not any(episode in other for other in own - {episode})
    )
