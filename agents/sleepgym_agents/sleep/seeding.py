"""Knowledge Seeding: the day is distilled into a newly unlocked expert."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from sleepgym_agents.baselines.in_context import InContextSettings
from sleepgym_agents.experts.expert_memory import MemorySettings
from sleepgym_agents.experts.routing import ExpertId
from sleepgym_agents.sleep.consolidation.consolidation_data import (
    EPISODE_REPEATS,
    ConsolidationData,
    ConsolidationSettings,
    Stage,
)
from sleepgym_agents.sleep.expert_distillation import DistillationSettings, distil_into_expert
from sleepgym_agents.sleep.sleep_context import SleepContext
from sleepgym_agents.sleep.sleeping_agent import SleepingAgent
from sleepgym_agents.training.distillation import text_examples


@dataclass(frozen=True)
class SeedingSettings(
    DistillationSettings, ConsolidationSettings, MemorySettings, InContextSettings
):
    """Settings of :class:`Seeding`.

    Attributes:
        expansion: Learn into a newly unlocked expert every night; otherwise into the first one.
        source: What the expert learns: the teacher's ``dreams``, or the raw ``text`` as a control.
        read_with_experts: Whether experts are active while the day's text is open. They add what
            the text leaves out; but an expert that a known name turns on may answer against it.
    """

    expansion: bool = True
    source: Literal["dreams", "text"] = "dreams"
    read_with_experts: bool = True


def distil_day(
    context: SleepContext, expert_id: ExpertId, data: ConsolidationData
) -> dict[str, float]:
    """The seeding stage: distil the night's training set into an expert.

    Args:
        context: The night; its settings are :class:`SeedingSettings`.
        expert_id: The expert that learns.
        data: The night's training set.

    Returns:
        What to log.
    """
    config = context.config
    if config.source == "text":
        texts = text_examples(context.lm, context.parts, config.sequence_tokens)
        off_policy = context.with_settings(on_policy_every=0)
        return distil_into_expert(off_policy, expert_id, texts, "text")
    examples = [*data.examples, *data.statements, *data.episode_items * (EPISODE_REPEATS - 1)]
    if config.router in ("always", "gate"):
        examples += data.rehearsals
    return distil_into_expert(context, expert_id, examples, "seeding")


class Seeding(SleepingAgent):
    """Reads in context by day; at night distils what it read into a newly unlocked expert.

    Knowledge Seeding of "Language Models Need Sleep" (arXiv:2606.03979, section 3.2). The teacher
    is the model with the day in context, the student the same model with one more expert and
    without the day. Questions and answers are sampled from the teacher. The saved state holds the
    experts and the entities that are routed to them, nothing of the base model and no text.

    Logs: ``dreams`` different questions sampled and ``dreams_kept`` of them, ``names`` of entities
    of the day, ``recollections`` of what was known of them, ``stories`` (episodes) recalled and
    ``recitals`` (verbatim examples) learned, optimiser ``steps``, ``loss``, ``imitation_reward``,
    and counts of experts and their parameters. Of practice without documents: questions
    ``practised`` and how many were ``contradictory``, ``groups`` that questions name or ``classes``
    of answers, shares of a quiz of held-back dreams that were right (``quiz_before`` and
    ``quiz_after``; ``quiz_by_class`` and ``quiz_in_context`` for classes), and whether the night
    was ``rolled_back``. Of documents under ``router=auto``: shares of held-back dreams that are
    ``led_by_names`` to the night's expert alone, and ``led_by_content`` to their own text. Of
    levels: experts ``merged`` into one, on how many ``merge_lessons`` and in how many
    ``merge_steps``; the share of what they add that its first weights leave ``merge_unexplained``;
    of a ``merge_quiz`` of held-back questions the shares that were answered
    (``merge_quiz_before``, ``merge_quiz_after``), and whether it was ``merge_rolled_back``.

    Departures:
        1. Those of :mod:`sleepgym_agents.experts.expert`.
        2. The router is not trained: it goes by the entities of the night, found by how much the
           day adds to the likelihood of their names (see ``router`` for others). A day of practice
           without documents is learned by its content: rules by the names in their questions,
           classes by Gaussians over hidden states and tokens
           (:mod:`sleepgym_agents.sleep.consolidation.practised`).
        3. The teacher reads the day with its older experts off.
        4. Beside the day, the night consolidates what was known of entities that are mentioned
           again, so that the newest expert is no worse about them than the older ones.
        5. On-policy distillation and imitation share their samples, and are taken every few steps.
           The imitation reward is off by default: the ablation shows no gain by it.
        6. The expert also learns the day's texts verbatim, each under the entities in it
           (:mod:`sleepgym_agents.sleep.consolidation.episodes`): later nights, and slower levels,
           read them again.
        7. Of practised questions whose answers are classes no expert is unlocked where the class
           Gaussians answer held-back ones as well as the model that has the day in context. A night
           of practice that fails on dreams that it held back is rolled back.
        8. An expert of a slower level begins with those inner units of its parts that explain them
           best (:mod:`sleepgym_agents.sleep.consolidation.merged_weights`), and learns what they
           answer (:mod:`sleepgym_agents.sleep.consolidation.levels`). A merge that fails on
           questions that it held back is rolled back.
    """

    Config: ClassVar[type] = SeedingSettings
    title: ClassVar[str] = "Knowledge Seeding"
    sources: ClassVar[str] = "Language Models Need Sleep, arXiv:2606.03979, section 3.2"
    checked: ClassVar[str] = (
        "divergences and their gradients equal TRL's `generalized_jsd_loss` "
        "(`tests/agents/training/test_distillation.py`); the policy gradient equals TRL's GRPO "
        "(`tests/agents/sleep/test_imitation.py`); no figure of the paper"
    )
    search_space: ClassVar[Mapping[str, Sequence[Any]]] = {
        "learning_rate": [5e-3, 1e-2, 2e-2],
        "epochs": [6, 8, 12],
        "batch_size": [1, 2, 4],
        "items_per_sequence": [1, 3, 6],
        "first_layer": [0.0, 0.34, 0.5],
        "recollections": [0, 16, 64],
    }
    stages: tuple[Stage, ...] = (distil_day,)
