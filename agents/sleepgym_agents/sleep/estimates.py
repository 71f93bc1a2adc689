"""What the nights of the agents that sleep cost, foretold from their settings."""

from __future__ import annotations

from typing import Any

from sleepgym.core.cost import DISTINCT, Cost, Scale
from sleepgym_agents.training.qa_generation import ITEM_TOKENS, TITLE_TOKENS


def estimate_nights(config: Any, scale: Scale) -> Cost:
    """All nights of a stream: the material, then the stages that these settings have.

    Args:
        config: Settings of ``seeding``, ``dreaming`` or ``sleep``.
        scale: Of the stream.
    """
    total = _material(config, scale)
    can_dream = hasattr(config, "dreams")
    if getattr(config, "seeding", not can_dream):
        total += Cost(trained=config.epochs * _items(config, scale))
    if getattr(config, "dreaming", can_dream):
        total += _dreaming(config, scale)
    return total


def _material(config: Any, scale: Scale) -> Cost:
    """Q&A about the day and about nothing in particular, with and without the day's context."""
    rehearsed = scale.days * config.rehearsals * (TITLE_TOKENS + ITEM_TOKENS)
    samples = config.samples * (1 if config.dream_form == "questions" else 1.5)
    written = scale.days * samples * config.dream_tokens + rehearsed
    read = scale.day_tokens + 2 * _items(config, scale) + rehearsed
    return Cost(read, written)


def _items(config: Any, scale: Scale) -> float:
    """Tokens of what is learned: the Q&A that is kept, and the day's texts, verbatim.

    Without documents hardly any generated Q&A is kept: what was practised is learned.
    """
    if not scale.documents:
        return scale.day_tokens
    return DISTINCT * scale.days * config.samples * config.dream_tokens + 2 * scale.day_tokens


def _dreaming(config: Any, scale: Scale) -> Cost:
    """Dreams written, scored, weighed by gradient, tried on a quiz, and learned."""
    written = scale.days * config.dreams * config.dream_tokens
    tried = scale.days * min(config.dreams, config.kept_by_importance + config.kept_at_random)
    quiz = 2 * tried * config.quiz_items * scale.pair_tokens  # before and after
    trained = config.copy_steps * tried * config.dream_tokens
    trained += written if config.gradient_selection else 0
    trained += config.dream_epochs * _items(config, scale)
    return Cost(written + quiz, written, trained)
