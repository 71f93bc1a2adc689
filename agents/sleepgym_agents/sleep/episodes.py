"""Stories: what was read, learned by heart under the names in it, and told again when one is met.

A name is a cue: asked nothing but the name, the experts that know it tell the texts that held it.
Told texts are read again beside the news, so that the next night can consolidate both together.
This is the replay of episodes that complementary learning systems ascribe to sleep (McClelland,
McNaughton and O'Reilly 1995); the texts lie in the weights of the experts, nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sleepgym import Document, Night
from sleepgym_agents.experts.entity_names import EntityName
from sleepgym_agents.experts.entity_router import EntityRouter
from sleepgym_agents.experts.expert_memory import ExpertMemory
from sleepgym_agents.lm.generation import generate
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.stores.text_store import sentences
from sleepgym_agents.training.distillation import (
    DistillationExample,
    score_with_teacher,
    verbatim_example,
)

Episodes = dict[str, str]  # a name -> what is known by heart about it, the newest last


def recall_episodes(
    memory: ExpertMemory,
    names: Iterable[EntityName],
    tokens: int,
    confidence: float,
    night: Night,
) -> Episodes:
    """Let the memory tell what it knows by heart about names.

    Args:
        memory: Experts that know a name speak.
        names: Token ids.
        tokens: Longest story; 0 is none.
        confidence: Least probability of a token, in the geometric mean; less sure stories are lost.
        night: Its budget.

    Returns:
        Stories of the names that have one.
    """
    lm = memory.lm
    cues = cue_texts(lm, names)
    if not cues or not tokens or not lm.affords(night, generated=len(cues) * tokens):
        return {}
    written = generate(lm, [lm.prompter.prompt(cue) for cue in cues.values()], tokens)
    told = [lm.prompter.answer_text(ids) for ids in written]
    pairs = [(cue, text) for cue, text in zip(cues.values(), told, strict=True)]
    found: Episodes = {}
    for name, example in zip(cues, score_with_teacher(lm, pairs), strict=True):
        sure = example.likelihoods[example.asked - 1 :].mean().exp()
        if example.pair[1] and float(sure) >= confidence:
            found[name] = example.pair[1]
    return found


def episode_examples(
    lm: LanguageModel,
    names: Iterable[EntityName],
    documents: Sequence[Document],
    known: Mapping[str, str],
    tokens: int,
) -> list[DistillationExample]:
    """Lessons that teach every name's story: what was known, then the news.

    Args:
        lm: The language model.
        names: Token ids.
        documents: The day's texts.
        known: Stories as they were.
        tokens: Longest story; of a longer one the oldest sentences are forgotten. 0 is none.
    """
    examples = []
    for name, cue in cue_texts(lm, names).items():
        news = [s for d in documents if name in f"{d.title} {d.text}" for s in sentences(d.text)]
        own = [*(s for s in sentences(known.get(name, "")) if s not in news), *news]
        while own:
            example = verbatim_example(lm, (cue, " ".join(own)))
            if len(example.ids) - example.asked <= tokens:
                examples.append(example)
                break
            own = own[1:]
    return examples


def cue_texts(lm: LanguageModel, names: Iterable[EntityName]) -> dict[str, str]:
    """Names as plain text -> as the router knows them; of two spellings the one within a text."""
    texts = sorted((lm.prompter.tokenizer.decode(name) for name in names), key=len)
    return dict(sorted((text.strip(), text) for text in texts if text.strip()))


def related_episodes(text: str, episodes: Episodes) -> list[str]:
    """The stories of names in a text, none that is part of another."""
    own = {episode for name, episode in episodes.items() if name in text}
    return sorted(
        episode for episode in own if not any(episode in other for other in own - {episode})
    )


def known_entities(memory: ExpertMemory, parts: Sequence[Sequence[int]]) -> list[EntityName]:
    """Names in token ids that some expert answers for."""
    router = memory.router
    if not isinstance(router, EntityRouter):
        return []
    return sorted({name for ids in parts for name in router.mentioned(ids)})
