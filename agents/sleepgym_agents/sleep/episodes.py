"""Stories: what was read, learned by heart under the names in it, and told again when one is met.

A name is a cue: asked nothing but the name, the experts that know it tell the texts that held it.
Told texts are read again beside the news, so that the next night can consolidate both together.
This is the replay of episodes that complementary learning systems ascribe to sleep (McClelland,
McNaughton and O'Reilly 1995); the texts lie in the weights of the experts, nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sleepgym import Document, Night
from sleepgym_agents.experts.entity_names import Name
from sleepgym_agents.experts.entity_router import Names
from sleepgym_agents.experts.expert_memory import ExpertMemory
from sleepgym_agents.lm.generation import generate
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.stores.text_store import sentences
from sleepgym_agents.training.distillation import Lesson, recital, teach

Stories = dict[str, str]  # a name -> what is known by heart about it, the newest last


def tell_stories(
    memory: ExpertMemory,
    names: Iterable[Name],
    tokens: int,
    confidence: float,
    night: Night,
) -> Stories:
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
    found: Stories = {}
    for name, lesson in zip(cues, teach(lm, pairs), strict=True):
        sure = lesson.likelihoods[lesson.asked - 1 :].mean().exp()
        if lesson.pair[1] and float(sure) >= confidence:
            found[name] = lesson.pair[1]
    return found


def story_lessons(
    lm: LanguageModel,
    names: Iterable[Name],
    documents: Sequence[Document],
    known: Mapping[str, str],
    tokens: int,
) -> list[Lesson]:
    """Lessons that teach every name's story: what was known, then the news.

    Args:
        lm: The language model.
        names: Token ids.
        documents: The day's texts.
        known: Stories as they were.
        tokens: Longest story; of a longer one the oldest sentences are forgotten. 0 is none.
    """
    lessons = []
    for name, cue in cue_texts(lm, names).items():
        news = [s for d in documents if name in f"{d.title} {d.text}" for s in sentences(d.text)]
        own = [*(s for s in sentences(known.get(name, "")) if s not in news), *news]
        while own:
            lesson = recital(lm, (cue, " ".join(own)))
            if len(lesson.ids) - lesson.asked <= tokens:
                lessons.append(lesson)
                break
            own = own[1:]
    return lessons


def cue_texts(lm: LanguageModel, names: Iterable[Name]) -> dict[str, str]:
    """Names as plain text -> as the router knows them; of two spellings the one within a text."""
    texts = sorted((lm.prompter.tokenizer.decode(name) for name in names), key=len)
    return dict(sorted((text.strip(), text) for text in texts if text.strip()))


def related(text: str, stories: Stories) -> list[str]:
    """The stories of names in a text, none that is part of another."""
    own = {story for name, story in stories.items() if name in text}
    return sorted(story for story in own if not any(story in other for other in own - {story}))


def known_names(memory: ExpertMemory, parts: Sequence[Sequence[int]]) -> list[Name]:
    """Names in token ids that some expert answers for."""
    router = memory.router
    if not isinstance(router, Names):
        return []
    return sorted({name for ids in parts for name in router.mentioned(ids)})
