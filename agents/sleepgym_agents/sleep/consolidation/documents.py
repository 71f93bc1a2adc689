"""Learn a day: its texts, or what was practised without any."""

from __future__ import annotations

from collections.abc import Sequence

from sleepgym_agents.experts.content_answers import TEXT_PART
from sleepgym_agents.experts.content_router import ContentRouter
from sleepgym_agents.experts.routing import ExpertId
from sleepgym_agents.sleep.consolidation.consolidation_data import build_consolidation_data
from sleepgym_agents.sleep.consolidation.practised import (
    consolidate_practice,
    learn_region,
    night_expert,
)
from sleepgym_agents.sleep.consolidation.text_routes import questions_by_text
from sleepgym_agents.sleep.sleep_context import SleepContext
from sleepgym_agents.training.distillation import DistillationExample


def consolidate_day(context: SleepContext) -> dict[str, float]:
    """Learn what the day held, as the budget allows.

    Args:
        context: The night; its settings are
            :class:`sleepgym_agents.sleep.seeding.SeedingSettings`.

    Returns:
        What to log.
    """
    if not context.parts:
        return {"nothing_learned": 1.0}
    if not affords_expert(context):
        return {"stopped_by_budget": 1.0}
    if context.memory.router.by_content and not context.documents:
        return consolidate_practice(context)
    return consolidate_documents(context)


def affords_expert(context: SleepContext) -> bool:
    """Whether the budget allows another expert, and to write the night's samples."""
    memory, config = context.memory, context.config
    parameters = memory.parameters
    if config.expansion or not parameters:
        parameters += memory.expert_parameters
    tokens = config.samples * config.dream_tokens
    return context.night.allows(
        night_generated_tokens=tokens,
        night_flops=2 * context.lm.parameters * tokens,
        added_parameters=parameters,
        state_bytes=2 * parameters,
    )


def consolidate_documents(context: SleepContext) -> dict[str, float]:
    """Build the night's training set and run the stages on it.

    An expert that learned nothing is locked again.
    """
    memory = context.memory
    data = build_consolidation_data(context)
    log = data.counts()
    if not data.dreams:
        return {**log, "nothing_learned": 1.0}
    fresh, expert_id, _ = night_expert(context)
    memory.assign_entities(expert_id, data.entities, [x.ids[: x.asked] for x in data.examples])
    with memory.active(expert_id if data.by_content else None):
        for stage in context.stages:
            log |= stage(context, expert_id, data)
    if fresh and memory.is_blank(expert_id):
        memory.reset(expert_id)
        log["nothing_learned"] = 1.0
    elif data.by_content:
        learn_texts(context, expert_id, data.dreams)
    return log


def learn_texts(
    context: SleepContext, expert_id: ExpertId, dreams: Sequence[DistillationExample]
) -> None:
    """Make the questions about each text a class of an expert."""
    router = context.memory.router
    assert isinstance(router, ContentRouter)
    if not router.answers:
        router.gaussians.part = TEXT_PART
    for questions in questions_by_text(context, dreams):
        learn_region(context, expert_id, questions)
