"""Levels: experts of one level are consolidated into a slower one of the next."""

from __future__ import annotations

from collections.abc import Sequence

from sleepgym import Document
from sleepgym_agents.experts.entity_names import EntityName
from sleepgym_agents.experts.routing import ExpertId
from sleepgym_agents.sleep.consolidation.consolidation_data import EPISODE_REPEATS
from sleepgym_agents.sleep.consolidation.episodes import (
    Episodes,
    episode_examples,
    recall_episodes,
)
from sleepgym_agents.sleep.consolidation.merged_weights import fit_expert, observed
from sleepgym_agents.sleep.consolidation.practised import answered
from sleepgym_agents.sleep.consolidation.replay import recall_answers
from sleepgym_agents.sleep.expert_distillation import distil_into_expert
from sleepgym_agents.sleep.sleep_context import SleepContext
from sleepgym_agents.training.distillation import DistillationExample
from sleepgym_agents.training.optimise import learned
from sleepgym_agents.training.qa_generation import ITEM_TOKENS, single_and_joint_contexts

EPISODES_TOGETHER = 6  # that are read together when a level is merged
HELD_BACK = 8  # every so many-th question is held back when a level is merged
MERGE_LOSS = 0.03  # share of these questions that a merge may lose
MERGE_ROUNDS = 3  # of training before a merge is given up
HOPELESS = 0.2  # share of these questions that a first round may lose, for another to be tried
EPOCHS_SHARE = 0.5  # of a night's passes over its examples: those of a round
RATE_SHARE = 0.5  # of a night's learning rate: the first weights are not random


def merge_due_levels(context: SleepContext) -> dict[str, float]:
    """Merge the levels whose window ends with this night; see the setting ``windows``.

    Args:
        context: The night; its settings are
            :class:`sleepgym_agents.sleep.seeding.SeedingSettings`.

    Returns:
        What to log.
    """
    log: dict[str, float] = {}
    for level, window in enumerate(context.config.windows):
        if context.night.number % window == 0:
            log |= merge_level(context, level)
    return log


def merge_level(context: SleepContext, level: int) -> dict[str, float]:
    """Consolidate all experts of a level into one new expert of the next, and reset them.

    The new expert is taught by the level's own: by what they answer to questions about the episodes
    that they recall, and to their own questions. Every eighth question is held back: where the new
    expert, after two rounds of training, answers fewer of these than they did, the merge is rolled
    back. Only entities can be asked for: routers that do not go by entities merge nothing.
    """
    memory, size = context.memory, context.config.episode_tokens
    expert_ids = [expert_id for expert_id in memory.unlocked if expert_id[0] == level]
    if not expert_ids:
        return {}
    entities = memory.router.entities_of(expert_ids)
    episodes = recall_episodes(context, entities)
    read = regenerate_qa(context, episodes, level)
    if not read:
        return {"nothing_merged": 1.0}
    examples = ask_experts(context, entities, read)
    quiz = examples[::HELD_BACK] if len(examples) > HELD_BACK else []
    lessons = [example for i, example in enumerate(examples) if i % HELD_BACK or not quiz]
    lessons += episode_examples(context, entities, episodes, size) * EPISODE_REPEATS
    before = answered(context, quiz)
    expert_id = memory.unlock(level + 1)
    memory.assign_entities(expert_id, entities, [x.ids[: x.asked] for x in lessons])
    with observed(memory, expert_ids) as layers:
        context.score([example.pair for example in lessons])
    unexplained = fit_expert(memory, expert_id, layers)
    with memory.masked(*expert_ids):
        log, after = train_merged(context, expert_id, lessons, quiz, before)
    if not learned(log) or "stopped_by_budget" in log:
        memory.reset(expert_id)
        return {"nothing_merged": 1.0}
    checked = {
        "merge_quiz": float(len(quiz)),
        "merge_quiz_before": before,
        "merge_quiz_after": after,
        "merge_unexplained": unexplained,
        "merge_steps": log["steps"],
    }
    if after < before - MERGE_LOSS:
        memory.reset(expert_id)
        return {**checked, "nothing_merged": 1.0, "merge_rolled_back": 1.0}
    for faster in expert_ids:
        memory.reset(faster)
    return {**checked, "merged": float(len(expert_ids)), "merge_lessons": float(len(lessons))}


def train_merged(
    context: SleepContext,
    expert_id: ExpertId,
    lessons: Sequence[DistillationExample],
    quiz: Sequence[DistillationExample],
    before: float,
) -> tuple[dict[str, float], float]:
    """Train a merged expert, round by round, until it passes its check or has no hope to.

    Args:
        context: The night.
        expert_id: The merged expert; its parts are off.
        lessons: What its parts know.
        quiz: Held-back questions.
        before: Share of them that its parts answer.

    Returns:
        The log of the last round, with the number of all ``steps``; the share of the quiz that the
        expert answers.
    """
    config, level = context.config, expert_id[0] - 1
    gentle = context.with_settings(
        on_policy_every=0,
        epochs=max(1, round(EPOCHS_SHARE * config.epochs)),
        learning_rate=RATE_SHARE * config.learning_rate,
    )
    log, after, steps = {}, 0.0, 0.0
    for attempt in range(MERGE_ROUNDS):
        name = f"merge {level} {attempt}" if attempt else f"merge {level}"
        log = distil_into_expert(gentle, expert_id, lessons, name)
        steps += log["steps"]
        after = answered(context, quiz)
        if not learned(log) or "stopped_by_budget" in log:
            break
        if after >= before - MERGE_LOSS or after < before - HOPELESS:
            break
    return {**log, "steps": steps}, after


def ask_experts(
    context: SleepContext,
    entities: Sequence[EntityName],
    read: Sequence[DistillationExample],
) -> list[DistillationExample]:
    """What the experts answer to questions, where they are sure; otherwise what was read.

    Args:
        context: The night.
        entities: What the experts are asked about besides.
        read: Questions with the answers of the model that reads the experts' episodes.
    """
    questions = sorted({example.pair[0] for example in read})
    answers = context.answer(questions, ITEM_TOKENS)
    own = context.score([(q, a) for q, a in zip(questions, answers, strict=True) if a])
    sure = {x.pair[0]: x for x in own if x.confidence >= context.config.recollection_confidence}
    pairs = [example.pair for example in read]
    found = {example.pair: example for example in recall_answers(context, entities, pairs)}
    for example in read:
        best = sure.get(example.pair[0], example)
        found[best.pair] = best
    return [found[pair] for pair in sorted(found)]


def regenerate_qa(
    context: SleepContext, episodes: Episodes, level: int
) -> list[DistillationExample]:
    """Questions and answers about recalled episodes, some read together, as about a day's texts."""
    lm, config = context.lm, context.config
    read = [lm.prompter.document(Document(text)) for text in dict.fromkeys(episodes.values())]
    examples = []
    for at in range(0, len(read), EPISODES_TOGETHER):
        parts = read[at : at + EPISODES_TOGETHER]
        contexts = single_and_joint_contexts(parts, config.samples)
        with context.memory.bare():
            written = context.write_qa(contexts, "merge", level, at)
            pairs = sorted({pair for sample in written for pair in sample})
            examples += context.score(pairs, parts)
    return [example for example in examples if example.confidence >= config.confidence]
