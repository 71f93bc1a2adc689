"""Levels: experts of one level are consolidated into a slower one of the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sleepgym_agents.experts.routing import ExpertId
from sleepgym_agents.sleep.consolidation.consolidation_data import EPISODE_REPEATS
from sleepgym_agents.sleep.consolidation.episodes import (
    Episodes,
    episode_examples,
    is_sure,
    recall_related_episodes,
    related_episodes,
)
from sleepgym_agents.sleep.consolidation.merge_lessons import ask_experts, regenerate_qa
from sleepgym_agents.sleep.consolidation.merged_weights import fit_expert, observed
from sleepgym_agents.sleep.consolidation.practised import answered
from sleepgym_agents.sleep.expert_distillation import distil_into_expert
from sleepgym_agents.sleep.sleep_context import SleepContext
from sleepgym_agents.training.distillation import DistillationExample
from sleepgym_agents.training.optimise import learned
from sleepgym_agents.training.qa_generation import Pair

HELD_BACK = 4  # every so many-th question that an episode answers is held back
MERGE_LOSS = 0.1  # share of these questions, and of episodes, that a merge may lose
MERGE_ROUNDS = 2  # of training before a merge is given up
SHARES = ("_before", "_after", "_unexplained")  # ends of the names of shares in a log
HOPELESS = 0.2  # share of these questions that no round may lose, for another to be tried
RATE_SHARE = 0.5  # of a night's learning rate: the first weights are not random
EPOCHS_SHARE = 0.5  # of a night's passes: there are many questions
LAST_SHARE = 0.25  # of both, when what was held back is taught too


@dataclass(frozen=True)
class MergeCheck:
    """What a merged expert must know as well as its parts did.

    Attributes:
        quiz: Questions that it does not learn before it passes.
        episodes: Verbatim examples that it learns: later nights and merges read them again.
    """

    quiz: Sequence[DistillationExample]
    episodes: Sequence[DistillationExample]

    def shares(self, context: SleepContext) -> dict[str, float]:
        """Shares of the quiz that are answered, and of episodes that are known verbatim, as now."""
        scored = context.score([episode.pair for episode in self.episodes])
        sure = sum(is_sure(context, episode) for episode in scored)
        return {
            "quiz": answered(context, self.quiz),
            "episodes": sure / max(len(self.episodes), 1),
        }


def merge_due_levels(context: SleepContext) -> dict[str, float]:
    """Merge the levels whose window ends with this night; see the setting ``windows``.

    A window's experts are merged into one; where merges failed there are those of several, the
    oldest first. Only entities can be asked for: an expert that answers for classes stays, and so
    do all where the router does not go by entities.

    Args:
        context: The night; its settings are
            :class:`sleepgym_agents.sleep.seeding.SeedingSettings`.

    Returns:
        What to log: sums of counts over merges, means of shares.
    """
    memory, windows = context.memory, context.config.windows
    logs: list[dict[str, float]] = []
    for level, window in enumerate(windows):
        own = [expert_id for expert_id in memory.unlocked if expert_id[0] == level]
        if context.night.number % window or not own:
            continue
        size = window // (1, *windows)[level]
        parts = memory.router.known_by_entity(own)
        groups = [parts[at : at + size] for at in range(0, len(parts), size)]
        logs += [merge_experts(context, group) for group in groups] or [{"nothing_merged": 1.0}]
    log: dict[str, float] = {}
    for name in dict.fromkeys(name for one in logs for name in one):
        values = [one[name] for one in logs if name in one]
        log[name] = sum(values) / (len(values) if name.endswith(SHARES) else 1)
    return log


def merge_experts(context: SleepContext, parts: Sequence[ExpertId]) -> dict[str, float]:
    """Consolidate experts of a level into one new expert of the next, and reset them.

    The new expert begins with those inner units of its parts that explain them best, and is taught
    by them: by what they answer to questions about the episodes that they recall, by their answers
    to their own questions, and by the episodes. Every fourth question that an episode answers is
    held back. Where the new expert answers fewer of these than its parts, or knows fewer episodes,
    the merge is rolled back.
    """
    memory, (level, slot) = context.memory, parts[0]
    entities = memory.router.entities_of(parts)
    episodes = recall_related_episodes(context, entities)
    read = regenerate_qa(context, entities, episodes, level, slot)
    if not read:
        return {"nothing_merged": 1.0}
    examples = ask_experts(context, entities, read)
    quiz = held_back(context, examples, episodes)
    held = {example.pair for example in quiz}
    lessons = [example for example in examples if example.pair not in held]
    verbatim = episode_examples(context, entities, episodes, context.config.episode_tokens)
    lessons += verbatim * EPISODE_REPEATS
    check = MergeCheck(quiz, verbatim)
    before = check.shares(context)
    merged = memory.unlock(level + 1)
    memory.assign_entities(merged, entities, [x.ids[: x.asked] for x in lessons])
    with observed(memory, parts) as layers:
        context.score([example.pair for example in lessons])
    unexplained = fit_expert(memory, merged, layers)
    with memory.masked(*parts):
        log, after = train_merged(context, merged, lessons, check, before)
    if not learned(log) or "stopped_by_budget" in log:
        memory.reset(merged)
        return {"nothing_merged": 1.0}
    known = {
        "merge_quiz": float(len(quiz)),
        "merge_episodes": float(len(verbatim)),
        **{f"merge_{name}_before": share for name, share in before.items()},
        **{f"merge_{name}_after": share for name, share in after.items()},
        "merge_unexplained": unexplained,
        "merge_lessons": float(len(lessons)),
        "merge_steps": log["steps"],
    }
    if lost(before, after) > MERGE_LOSS:
        memory.reset(merged)
        return {**known, "nothing_merged": 1.0, "merge_rolled_back": 1.0}
    for part in parts:
        memory.reset(part)
    return {**known, "merged": float(len(parts))}


def train_merged(
    context: SleepContext,
    merged: ExpertId,
    lessons: Sequence[DistillationExample],
    check: MergeCheck,
    before: Mapping[str, float],
) -> tuple[dict[str, float], dict[str, float]]:
    """Train a merged expert, round by round, until it passes its check or has no hope to.

    One that passed learns what was held back as well: the questions of the check are no others'.

    Args:
        context: The night.
        merged: The expert; its parts are off.
        lessons: What its parts know.
        check: What it must know as well as they.
        before: The shares of it that they know.

    Returns:
        The log of the last round, with the number of all ``steps``; the shares that the expert
        knows.
    """
    log, after, steps, passed = {}, dict(before), 0.0, False
    for attempt in range(MERGE_ROUNDS):
        log = teach(context, merged, lessons, str(attempt), RATE_SHARE, EPOCHS_SHARE)
        steps += log["steps"]
        after = check.shares(context)
        hopeless = before["quiz"] - after["quiz"] > HOPELESS
        ended = not learned(log) or "stopped_by_budget" in log
        passed = not ended and lost(before, after) <= MERGE_LOSS
        if ended or hopeless or passed:
            break
    if passed:
        everything = [*lessons, *check.quiz]
        log = teach(context, merged, everything, "last", LAST_SHARE, LAST_SHARE)
        steps += log["steps"]
    return {**log, "steps": steps}, after


def teach(
    context: SleepContext,
    merged: ExpertId,
    lessons: Sequence[DistillationExample],
    name: str,
    rate_share: float,
    epochs_share: float,
) -> dict[str, float]:
    """Train a merged expert with shares of the night's learning rate and passes."""
    (level, slot), config = merged, context.config
    gentle = context.with_settings(
        on_policy_every=0,
        learning_rate=rate_share * config.learning_rate,
        epochs=max(1, round(epochs_share * config.epochs)),
    )
    return distil_into_expert(gentle, merged, lessons, f"merge {level - 1} {slot} {name}")


def lost(before: Mapping[str, float], after: Mapping[str, float]) -> float:
    """By how much the share fell that fell most."""
    return max(before[name] - after[name] for name in before)


def held_back(
    context: SleepContext, examples: Sequence[DistillationExample], episodes: Episodes
) -> list[DistillationExample]:
    """The questions that check a merge: every so many-th of those that episodes answer too.

    What is held back is not taught. So only what something else teaches tells retention from
    guessing: the experts are as sure of what they made up as of what they read.

    Args:
        context: The night.
        examples: What the experts answer.
        episodes: What they recall.
    """
    least = context.config.recollection_confidence
    known = [x for x in examples if x.confidence >= least and is_told(x.pair, episodes)]
    return known[::HELD_BACK] if len(known) > HELD_BACK else []


def is_told(pair: Pair, episodes: Episodes) -> bool:
    """Whether an answer is in the episodes of what its question, or one of these, mentions."""
    question, answer = pair
    direct = related_episodes(question, episodes)
    texts = [*direct, *(other for text in direct for other in related_episodes(text, episodes))]
    return answer not in question and any(answer in text for text in texts)
