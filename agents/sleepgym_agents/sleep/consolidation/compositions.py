"""Compositions: questions in which a description stands for a name, answered as under the name.

"Where does the mentor of Ada live?" needs two facts. Where they were read on different days, no
text of either day answers it: dreams about the texts seldom ask it, and the expert that knows who
the mentor is was never taught where that person lives. Here such questions are put together from
what the model asks and answers by itself:

1. *Frames*: questions about a single name, without it ("Where does _ live?"). Names that were asked
   the same are of one kind, and what was asked of one can be asked of the other.
2. *Descriptions*: what mentions one name and stands where a frame has its own ("the mentor of _").
3. *Links*: the base model that has the day and the recalled episodes open says whom a description
   of a name means ("Who is the mentor of Ada?"); those count whose answer is another known name,
   both of the kinds that the description was used with.
4. *Compositions*: what is known of the one that is meant, today's news first, asked with the
   description in place of the name.

Answers need not be read from any text: the facts of the one that is meant may be known from the
weights alone. Composing questions of single-hop ones is how multi-hop data sets are made (MuSiQue,
Trivedi et al. 2022); the model itself does here what annotators and rules do there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

from sleepgym import Document
from sleepgym.core.rng import derive_rng
from sleepgym_agents.experts.routing import ExpertId
from sleepgym_agents.sleep.consolidation.consolidation_data import ConsolidationData
from sleepgym_agents.sleep.consolidation.question_forms import (
    SLOT,
    Descriptions,
    Frames,
    find_descriptions,
    find_frames,
    kindred,
    mentions_only,
)
from sleepgym_agents.sleep.consolidation.replay import (
    TRANSFERRED_CONFIDENCE,
    drop_outdated,
    plain_texts,
)
from sleepgym_agents.sleep.sleep_context import SleepContext
from sleepgym_agents.training.qa_generation import ITEM_TOKENS, Pair

WHO = f"Who is {SLOT}?"
LINK_CONFIDENCE = 0.8  # least of an answer that names whom a description means


class Link(NamedTuple):
    """A description that means an entity.

    Attributes:
        name: The name in the description.
        description: It, with the name in it.
        meant: The entity's name.
    """

    name: str
    description: str
    meant: str


def compose_questions(
    context: SleepContext,
    expert_id: ExpertId,
    data: ConsolidationData,
    dreamt: Collection[Pair],
    most: int,
) -> tuple[list[Pair], set[Pair]]:
    """Questions with answers that need two facts, one of them about an entity of the day.

    Args:
        context: The night.
        expert_id: The night's expert. It is off where older knowledge is asked for: having learned
            the day, it mixes that up.
        data: Its training set.
        dreamt: Questions and answers of the night's dreams.
        most: How many are kept, evenly drawn from links and answers.

    Returns:
        They, and those of the dreams that answer such a question, or one about the entity that
        is meant, otherwise.
    """
    lm, router = context.lm, context.memory.router
    if not router.by_entity or not data.entities:
        return [], set()
    read = lm.prompter.document
    texts = [*map(read, map(Document, dict.fromkeys(data.episodes.values()))), *context.parts]
    own = plain_texts(lm, data.entities)
    names = {*own, *data.episodes, *plain_texts(lm, context.memory.entities_in(texts))}
    news = [example.pair for example in data.dreams]
    known = [*news, *(example.pair for example in data.recollections)]
    usual = {question for question, _ in [*known, *dreamt]}
    idle = {example.pair[0] for example in data.rehearsals}
    frames = find_frames(usual, names)
    for title, asked in find_frames(idle, data.made_up).items():
        frames[title] = frames.get(title, set()) | asked
    descriptions = find_descriptions(usual | idle, frames, {*names, *data.made_up})
    links = find_links(context, descriptions, frames, own, names, texts)
    described = sorted({link.meant for link in links})
    foreign = {
        frame.replace(SLOT, name)
        for name in described
        for frame in kindred(name, frames)
        if not any(form in frame for form in descriptions)
    }
    undone = {
        pair: pair[0].replace(link.description, link.meant)
        for pair in dreamt
        for link in links
        if link.description in pair[0]
    }
    asked = sorted((foreign | {*undone.values()}) - {question for question, _ in known})
    with context.memory.masked(expert_id):
        known += answer_surely(context, asked, described, news)
    answers = dict(reversed(known))  # the first ones count
    undone |= {pair: pair[0] for pair in dreamt if pair[0] in answers}
    wrong = {pair for pair, one in undone.items() if answers.get(one, pair[1]) != pair[1]}
    usual -= {question for question, _ in wrong}
    groups: dict[tuple[str, str, str], list[Pair]] = defaultdict(list)
    for link in links:
        for question, answer in answers.items():
            if mentions_only(link.meant, question, names) and answer != link.name:
                composed = question.replace(link.meant, link.description)
                composed = composed[:1].upper() + composed[1:]
                if composed not in usual:
                    groups[link.name, link.meant, answer].append((composed, answer))
    drawn = draw_evenly(groups, most, derive_rng(context.derive_seed("compositions")))
    return drawn, wrong


def find_links(
    context: SleepContext,
    descriptions: Descriptions,
    frames: Frames,
    own: Collection[str],
    names: Collection[str],
    texts: Sequence[Sequence[int]],
) -> list[Link]:
    """Whom descriptions of the day's entities mean, by the base model that reads.

    Args:
        context: The night.
        descriptions: Their forms.
        frames: By name; they show which names are of a kind.
        own: Names of the day's entities.
        names: All that can be meant.
        texts: Token ids of the texts that are open.
    """
    kinds = {name: kindred(name, frames) for name in names}
    tried = []
    for form, (users, _) in sorted(descriptions.items()):
        asked = set().union(*(frames.get(user, set()) for user in users))
        tried += [(n, form.replace(SLOT, n)) for n in sorted(own) if kinds[n] & asked]
    questions = [WHO.replace(SLOT, description) for _, description in tried]
    with context.memory.bare():
        answers = context.answer(questions, ITEM_TOKENS, texts)
        meant = [
            (Link(name, description, answer), question)
            for (name, description), question, answer in zip(tried, questions, answers, strict=True)
            if answer in names
            and answer not in description
            and kinds[answer] & descriptions[description.replace(name, SLOT)][1]
        ]
        scored = context.score([(question, link.meant) for link, question in meant], texts)
    sure = zip(meant, scored, strict=True)
    return [link for (link, _), example in sure if example.confidence >= LINK_CONFIDENCE]


def answer_surely(
    context: SleepContext, asked: Sequence[str], names: Sequence[str], news: Sequence[Pair]
) -> list[Pair]:
    """What the model answers surely about entities, where the day does not say otherwise.

    Args:
        context: The night.
        asked: Questions.
        names: Of the entities.
        news: Questions and answers about the day.
    """
    if not asked or not context.affords(len(asked) * ITEM_TOKENS):
        return []
    answers = context.answer(asked, ITEM_TOKENS)
    scored = context.score([(q, a) for q, a in zip(asked, answers, strict=True) if a])
    sure = [example for example in scored if example.confidence >= TRANSFERRED_CONFIDENCE]
    return [example.pair for example in drop_outdated(context, sure, names, news)]


def draw_evenly(
    groups: dict[tuple[str, str, str], list[Pair]], most: int, rng: np.random.Generator
) -> list[Pair]:
    """At most so many members of groups, taken from all of them in turn, each in random order."""
    mixed = []
    for key in sorted(groups):
        members = sorted(set(groups[key]))
        mixed.append([members[i] for i in rng.permutation(len(members))])
    mixed = [mixed[i] for i in rng.permutation(len(mixed))]
    turns = max(map(len, mixed), default=0)
    drawn = [members[turn] for turn in range(turns) for members in mixed if turn < len(members)]
    return drawn[:most]
