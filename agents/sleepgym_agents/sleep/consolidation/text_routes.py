"""Names or content: which way leads questions about a day's documents to what learned them.

Names are exact, and cost nothing where the questions hold them. On real text many questions hold
none, and one name belongs to several days. Then the states of a question tell more: each text is a
class, a Gaussian over the states of the questions dreamt about it. The router ``auto`` finds out on
the first night that has documents: dreamt questions that it held back are routed both ways, and the
better way is kept. Later nights follow: of days learned by names no states are kept, which content
would have to be told apart from.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch

from sleepgym_agents.experts.content_answers import TEXT_PART, question_states
from sleepgym_agents.experts.content_router import ContentRouter
from sleepgym_agents.experts.entity_names import EntityName
from sleepgym_agents.experts.routing import ExpertId
from sleepgym_agents.sleep.sleep_context import SleepContext
from sleepgym_agents.stores.text_store import shared_words
from sleepgym_agents.training.distillation import DistillationExample

REGION_QUESTIONS = 64  # about a text, that tell the router what it is about
HELD_BACK = 4  # every so many-th dreamt question is held back
TONIGHT: ExpertId = (-1, -1)  # stands for the expert that is not yet unlocked


def choose_way(
    context: SleepContext, dreams: Sequence[DistillationExample], entities: Sequence[EntityName]
) -> tuple[bool, dict[str, float]]:
    """Whether the night's texts are to be routed by content, and what to log.

    Decided by the setting, unless that is ``auto``; then by the first night. That takes names where
    content is not better by a standard error.

    Args:
        context: The night; its settings are
            :class:`sleepgym_agents.experts.expert_memory.MemorySettings`.
        dreams: About the day.
        entities: The names that were found in them.
    """
    router = context.memory.router
    if not isinstance(router, ContentRouter) or context.config.router != "auto":
        return router.documents, {}
    if router.table or router.gaussians.part == TEXT_PART:
        return not router.table, {}
    texts = questions_by_text(context, dreams)
    held = [own[::HELD_BACK] for own in texts]
    if not texts:
        return False, {}
    by_names = _led_by_names(context, entities, [question for own in held for question in own])
    by_content = _led_by_content(context, texts)
    margin = (0.5 / sum(map(len, held))) ** 0.5  # of the difference of two shares
    return by_content > by_names + margin, {"led_by_names": by_names, "led_by_content": by_content}


def _led_by_names(
    context: SleepContext, entities: Sequence[EntityName], questions: Sequence[str]
) -> float:
    """The share of questions that names lead to tonight's expert."""
    trial = copy.deepcopy(context.memory.router)
    assert isinstance(trial, ContentRouter)
    trial.unlock(TONIGHT)
    trial.assign(TONIGHT, entities)
    prompter, found = context.lm.prompter, 0
    for question in questions:
        ids = torch.tensor([[*prompter.start, *prompter.question(question)]])
        _, state = trial.route(ids, torch.zeros(*ids.shape, 1), None)
        at = int(state.active[0]) if state else -1
        active = trial.expert_sets.sets[at] if at >= 0 else ()
        found += TONIGHT in active
    return found / len(questions)


def _led_by_content(context: SleepContext, texts: Sequence[Sequence[str]]) -> float:
    """The share of held-back questions that are nearest to their own text, of all texts so far."""
    router, right, asked = context.memory.router, 0, 0
    assert isinstance(router, ContentRouter)
    gaussians = copy.deepcopy(router.gaussians)
    gaussians.part = gaussians.part if router.answers else TEXT_PART
    states = [question_states(context.memory, own, gaussians.part) for own in texts]
    for label, own in enumerate(states, start=len(router.answers)):
        for at, state in enumerate(own):
            if at % HELD_BACK or len(own) == 1:
                gaussians.add(label, state)
    others = [at for at, answer in enumerate(router.answers) if answer]
    for label, own in enumerate(states, start=len(router.answers)):
        distances = gaussians.distances(own[::HELD_BACK])
        distances[:, others] = torch.inf
        right += int((distances.argmin(1) == label).sum())
        asked += len(distances)
    return right / asked


def questions_by_text(
    context: SleepContext, dreams: Sequence[DistillationExample]
) -> list[list[str]]:
    """At most :data:`REGION_QUESTIONS` questions about each of the day's documents, then practice.

    A dream is about the document that was open for it; where all were, about the one that has most
    of its words.
    """
    texts = [f"{document.title} {document.text}" for document in context.documents]
    opened = {tuple(context.lm.prompter.document(d)): i for i, d in enumerate(context.documents)}
    practised = set(context.practised)
    about: dict[int, list[str]] = {}
    for example in dreams:
        at = opened.get(example.context, len(texts))
        if at == len(texts) and example.pair not in practised and texts:
            shared = shared_words(" ".join(example.pair), texts)
            at = shared.index(max(shared))
        about.setdefault(at, []).append(example.pair[0])
    return [own[:: -(-len(own) // REGION_QUESTIONS)] for _, own in sorted(about.items())]
