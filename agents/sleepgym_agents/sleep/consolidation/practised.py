"""Nights about practice without documents: rules that questions name, and classes of questions.

The memory finds out by itself what kind of practice a day held:

* Questions that name what they are about, each one of a few words that the bare model does not
  expect: the demonstrations of one rule are dreamt about together, apart from the others'. The
  model that has them in context writes new inputs and answers them under several orders of the
  demonstrations; answers that agree are learned by the night's expert, which the name activates.
* Questions with answers from a small set: each answer is a class, a Gaussian over hidden states. An
  expert learns them only where the model with the day in context answers held-back questions better
  than the Gaussians do.
* Any others are one class, whose questions the night's expert answers.

What a night learned is checked on dreams that it held back. A night that fails is rolled back.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch

from sleepgym.core.rng import derive_rng
from sleepgym_agents.experts.content_answers import question_states
from sleepgym_agents.experts.content_router import ContentRouter
from sleepgym_agents.experts.entity_names import question_frame
from sleepgym_agents.experts.practice_groups import PracticeGroup, consistent, named_groups
from sleepgym_agents.experts.routing import ExpertId
from sleepgym_agents.lm.generation import generate
from sleepgym_agents.lm.scoring import score_continuations
from sleepgym_agents.sleep.consolidation.consolidation_data import ConsolidationData
from sleepgym_agents.sleep.sleep_context import SleepContext
from sleepgym_agents.training.distillation import DistillationExample
from sleepgym_agents.training.qa_generation import Pair

INPUT_TOKENS = 48  # longest input that is dreamt
MOST_GROUPS = 4  # that get a night's full number of samples each; more share it
ORDERS = 3  # of the demonstrations, under which a dreamt input is answered
HELD_BACK = 4  # every so many-th dream, or practised question of a class, is held back
QUIZ_ITEMS = 24  # most practised questions that are held back
SPREAD = 1.5  # a question may be so much farther from a class than the farthest held-back one


def consolidate_practice(context: SleepContext) -> dict[str, float]:
    """Learn from a day of practice without documents.

    Args:
        context: The night; its settings are
            :class:`sleepgym_agents.sleep.seeding.SeedingSettings`.

    Returns:
        What to log.
    """
    pairs = consistent(context.practised)
    log = {
        "practised": float(len(pairs)),
        "contradictory": float(len(set(context.practised)) - len(pairs)),
    }
    if not pairs:
        return {**log, "nothing_learned": 1.0}
    groups = named_groups(context.memory, pairs, context.config.min_entity_gain_nats)
    few = 2 * len({answer for _, answer in pairs}) <= len(pairs)
    if few and len(groups) < 2:  # a word that every question holds tells nothing apart
        return {**log, **learn_classes(context, pairs)}
    return {**log, **learn_rules(context, groups or [PracticeGroup((), pairs)])}


def learn_rules(context: SleepContext, groups: Sequence[PracticeGroup]) -> dict[str, float]:
    """Dream about each group, and learn what agrees; a group without a name becomes a class."""
    memory, router = context.memory, context.memory.router
    assert isinstance(router, ContentRouter)
    data, quiz = build_practice_data(context, groups)
    log = {**data.counts(), "groups": float(len(groups))}
    if not data.dreams:
        return {**log, "nothing_learned": 1.0}
    named = all(group.name for group in groups)
    before = answered(context, quiz)
    fresh, expert_id, weights = night_expert(context)
    table = router.table
    memory.assign_entities(expert_id, data.entities, ())
    with memory.active(None if named else expert_id):
        for stage in context.stages:
            log |= stage(context, expert_id, data)
        after = answered(context, quiz)
    log |= {"quiz_before": before, "quiz_after": after}
    if memory.is_blank(expert_id) or after <= before:
        router.table = table
        roll_back(context, expert_id, None if fresh else weights)
        return {**log, "rolled_back": 1.0}
    if not named:
        learn_region(context, expert_id, [q for group in groups for q, _ in group.pairs])
    return log


def learn_region(context: SleepContext, expert_id: ExpertId, questions: Sequence[str]) -> None:
    """Make questions with answers of their own one class of an expert."""
    memory, router = context.memory, context.memory.router
    assert isinstance(router, ContentRouter)
    states = question_states(memory, questions)
    held = torch.arange(len(states)) % HELD_BACK == 0
    trial = copy.deepcopy(router)
    label = trial.learn(expert_id, "", states[~held] if len(states) > 1 else states, 0.0)
    radius = SPREAD * float(trial.gaussians.distances(states[held])[:, label].max())
    router.learn(expert_id, "", states, radius)


def learn_classes(context: SleepContext, pairs: Sequence[Pair]) -> dict[str, float]:
    """Learn a Gaussian for each answer; and an expert, where it would answer better.

    A night whose held-back questions fall to classes no better than by chance learns nothing.
    """
    memory, router = context.memory, context.memory.router
    assert isinstance(router, ContentRouter)
    trial = copy.deepcopy(router)
    trial.learn_tokens()
    states = question_states(memory, [q for q, _ in pairs], tokens=trial.knows_tokens)
    answers = [answer for _, answer in pairs]
    held = held_back(context, pairs)
    rest = [i for i in range(len(pairs)) if i not in held]
    for answer in dict.fromkeys(answers):
        own = [i for i in rest if answers[i] == answer]
        trial.learn(None, answer, states[own], 0.0)
    classes = len(set(answers))
    log = {"classes": float(classes), "held_back": float(len(held))}
    everything = [at for at, answer in enumerate(trial.answers) if answer]
    nearest = trial.nearest(states[held], everything).tolist() if held else []
    right = [trial.answers[at] == answers[i] for at, i in zip(nearest, held, strict=True)]
    by_class = sum(right) / len(right) if right else 1.0
    log["quiz_by_class"] = by_class
    if not states.isfinite().all() or (classes > 1 and by_class <= 1 / classes):
        return {**log, "nothing_learned": 1.0}
    owner = None
    if held and classes > 1:
        labels = tuple(trial.answers[at] for at in everything)
        parts = _within_window(context, pairs, rest)
        log["quiz_in_context"] = chosen(context, [pairs[i] for i in held], labels, parts)
        margin = (0.5 / len(held)) ** 0.5  # a standard error of the difference of two shares
        if log["quiz_in_context"] > by_class + margin:
            kept = [pairs[i] for i in rest], [pairs[i] for i in held]
            owner, learned = _learn_labels(context, *kept, labels, by_class)
            log |= learned
    router.learn_tokens()
    for answer in dict.fromkeys(answers):
        own = [i for i in range(len(pairs)) if answers[i] == answer]
        router.learn(owner, answer, states[own], 0.0)
    return log


def _learn_labels(
    context: SleepContext,
    pairs: Sequence[Pair],
    quiz: Sequence[Pair],
    labels: tuple[str, ...],
    least: float,
) -> tuple[ExpertId | None, dict[str, float]]:
    """An expert that answers the quiz better than ``least``, and a log; None where none does."""
    memory = context.memory
    parts = _within_window(context, pairs, range(len(pairs)))
    with memory.bare():
        examples = context.score(pairs, parts)
        dreams = [[example] for example in context.score(quiz, parts)]
    data = ConsolidationData(examples, [], {}, [], [], [], len(examples), held_back=dreams)
    fresh, expert_id, weights = night_expert(context)
    log = data.counts()
    with memory.active(expert_id):
        for stage in context.stages:
            log |= stage(context, expert_id, data)
        log["quiz_after"] = chosen(context, quiz, labels)
    if memory.is_blank(expert_id) or log["quiz_after"] <= least:
        roll_back(context, expert_id, None if fresh else weights)
        return None, {**log, "rolled_back": 1.0}
    return expert_id, log


def held_back(context: SleepContext, pairs: Sequence[Pair]) -> list[int]:
    """A quarter of each answer's questions, drawn at random: of two one, of a single one none.

    At most :data:`QUIZ_ITEMS` are left of many answers.
    """
    rng = derive_rng(context.derive_seed("held back"))
    rows: dict[str, list[int]] = {}
    for i in rng.permutation(len(pairs)).tolist():
        rows.setdefault(pairs[i][1], []).append(i)
    shares = (own[: max(len(own) // HELD_BACK, int(len(own) > 1))] for own in rows.values())
    return sorted([i for share in shares for i in share][:QUIZ_ITEMS])


def chosen(
    context: SleepContext,
    pairs: Sequence[Pair],
    labels: tuple[str, ...],
    parts: Sequence[Sequence[int]] = (),
) -> float:
    """Share of questions for which the model chooses the right label, with ``parts`` in context.

    The same ``parts`` stand before every question, so that they are read once.
    """
    prompts = [context.lm.prompter.prompt(question, parts) for question, _ in pairs]
    found = context.asked.choose(prompts, [labels] * len(pairs))
    right = [label == answer for label, (_, answer) in zip(found, pairs, strict=True)]
    return sum(right) / len(right)


def answered(context: SleepContext, quiz: Sequence[DistillationExample]) -> float:
    """Share of a quiz that greedy decoding answers without context."""
    prompts = [[*context.lm.prompter.start, *item.ids[: item.asked]] for item in quiz]
    scored = score_continuations(context.lm, prompts, [item.ids[item.asked :] for item in quiz])
    return sum(one.exact for one in scored) / max(len(quiz), 1)


def night_expert(context: SleepContext) -> tuple[bool, ExpertId, list[torch.Tensor]]:
    """The expert that learns tonight: whether it is fresh, its id, and its weights by now."""
    memory = context.memory
    fresh = context.config.expansion or not memory.unlocked
    expert_id = memory.unlock() if fresh else memory.unlocked[0]
    weights = [p.detach().clone() for e in memory.experts(expert_id) for p in e.parameters()]
    return fresh, expert_id, weights


def roll_back(
    context: SleepContext, expert_id: ExpertId, weights: Sequence[torch.Tensor] | None
) -> None:
    """Lock tonight's expert again; one that is older gets back its weights."""
    if weights is None:
        context.memory.reset(expert_id)
        return
    parameters = [p for e in context.memory.experts(expert_id) for p in e.parameters()]
    for parameter, weight in zip(parameters, weights, strict=True):
        parameter.data.copy_(weight)


def build_practice_data(
    context: SleepContext, groups: Sequence[PracticeGroup]
) -> tuple[ConsolidationData, list[DistillationExample]]:
    """Dreams about each group: some to learn, some held back for the dream stage and for a quiz.

    Where too few agree to hold any back, the quiz is of what is learned.
    """
    config = context.config
    count = max(1, config.samples * min(len(groups), MOST_GROUPS) // len(groups))
    learned: list[DistillationExample] = []
    held: list[DistillationExample] = []
    quiz: list[DistillationExample] = []
    dreamt = 0
    with context.memory.bare():
        for number, group in enumerate(groups):
            rng = derive_rng(context.derive_seed("practice", number))
            orders = [
                _within_window(context, group.pairs, rng.permutation(len(group.pairs)).tolist())
                for _ in range(ORDERS)
            ]
            questions = dream_questions(context, group, orders, count, number)
            questions += recombined(context, group, count, rng, questions)
            dreamt += len(questions)
            dreams = agreed(context, group, questions, orders)
            learned += context.score(group.pairs, orders[0])
            held += dreams[:: 2 * HELD_BACK]
            quiz += dreams[HELD_BACK :: 2 * HELD_BACK]
            learned += [x for i, x in enumerate(dreams) if i % HELD_BACK]
    data = ConsolidationData(
        dreams=learned,
        recollections=[],
        episodes={},
        episode_items=[],
        rehearsals=[],
        entities=[group.name for group in groups if group.name],
        dreamt=dreamt,
        held_back=[[example] for example in held],
    )
    return data, quiz or learned


def dream_questions(
    context: SleepContext,
    group: PracticeGroup,
    orders: Sequence[Sequence[Sequence[int]]],
    count: int,
    number: int,
) -> list[str]:
    """New inputs that the model writes after a group's demonstrations, each once, sorted.

    Args:
        context: The night.
        group: Its name begins every input.
        orders: The demonstrations as token ids, in several orders.
        count: Inputs that are sampled.
        number: Of the group.
    """
    lm, prompter = context.lm, context.lm.prompter
    if not context.affords(count * INPUT_TOKENS):
        return []
    one, (begin, frame) = prompter.question("x"), question_frame(prompter)
    opened = list(one[:begin])
    if group.name:
        ids, size = prompter.question(group.pairs[0][0]), len(group.name)
        end = next(i for i in range(len(ids)) if tuple(ids[i : i + size]) == group.name) + size
        opened = ids[:end]
    prompts = [
        [*prompter.opening, *(i for part in orders[k % len(orders)] for i in part), *opened]
        for k in range(count)
    ]
    seed = context.derive_seed("inputs", number)
    written = generate(lm, prompts, INPUT_TOKENS, temperature=1.0, seed=seed, stop_at_answer=False)
    closes = prompter.tokenizer.decode(one[len(one) - frame :]).strip()
    texts = [prompter.tokenizer.decode([*opened[begin:], *ids]) for ids in written]
    known = {question for question, _ in group.pairs}
    asked = {text.partition(closes)[0].strip() for text in texts if closes and closes in text}
    return sorted(question for question in asked - known if question)


def recombined(
    context: SleepContext,
    group: PracticeGroup,
    count: int,
    rng: np.random.Generator,
    known: Sequence[str],
) -> list[str]:
    """New inputs made of the words of a group's inputs, each once, sorted.

    An input is as long as one that was practised; its words are drawn from all of them.

    Args:
        context: The night.
        group: Its name begins every input; without one, or where it stands elsewhere, none is made.
        count: Inputs that are drawn.
        rng: Draws them.
        known: Inputs that are there already.
    """
    name = context.lm.prompter.tokenizer.decode(group.name)
    inputs = [question for question, _ in group.pairs]
    if not name or not all(question.startswith(name) for question in inputs):
        return []
    words = [question.removeprefix(name).split() for question in inputs]
    vocabulary = sorted({word for own in words for word in own})
    sizes = [len(own) for own in words]
    drawn = (rng.choice(vocabulary, sizes[i]) for i in rng.integers(len(sizes), size=count))
    return sorted({" ".join([name, *own]) for own in drawn}.difference(inputs, known))


def agreed(
    context: SleepContext,
    group: PracticeGroup,
    questions: Sequence[str],
    orders: Sequence[Sequence[Sequence[int]]],
) -> list[DistillationExample]:
    """Questions that the model answers alike under all orders of the demonstrations, and surely."""
    config, prompter = context.config, context.lm.prompter
    longest = max(len(prompter.answer(answer)) for _, answer in group.pairs)
    tokens = min(2 * longest, config.max_answer_tokens)
    if not questions or not context.affords(len(orders) * len(questions) * tokens):
        return []
    replies = zip(*(context.answer(questions, tokens, parts) for parts in orders), strict=True)
    pairs = [
        (question, found[0])
        for question, found in zip(questions, replies, strict=True)
        if found[0] and len(set(found)) == 1
    ]
    examples = context.score(pairs, orders[0])
    sure = [example for example in examples if example.confidence >= config.confidence]
    rng = derive_rng(context.derive_seed("agreed", *group.name))
    return [sure[i] for i in rng.permutation(len(sure))]


def _within_window(
    context: SleepContext, pairs: Sequence[Pair], order: Sequence[int]
) -> list[list[int]]:
    """Demonstrations as token ids in an order, as many of the last ones as the window holds."""
    lm = context.lm
    limit = min(context.config.context_tokens, lm.max_tokens // 2)
    parts = [lm.prompter.demonstration(*pairs[i]) for i in order]
    while parts and sum(map(len, parts)) > limit:
        parts.pop(0)
    return parts
