"""What the nights of the agents that sleep cost, foretold from their settings."""

from __future__ import annotations

from typing import Any

from sleepgym.core.cost import DISTINCT, Cost, Scale
from sleepgym_agents.sleep.consolidation.practised import INPUT_TOKENS, ORDERS
from sleepgym_agents.sleep.sleep_context import ANSWER_TOKENS
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
    if not scale.documents:
        return _practice(config, scale)
    rehearsed = scale.days * config.rehearsals * (TITLE_TOKENS + ITEM_TOKENS)
    samples = config.samples * (1 if config.dream_form == "questions" else 1.5)
    written = scale.days * samples * config.dream_tokens + rehearsed
    read = scale.day_tokens + 2 * _items(config, scale) + rehearsed
    if config.dream_answers == "read":  # every question once more, with the text open
        asked = scale.days * config.samples * config.dream_tokens / max(1.0, scale.pair_tokens)
        read += scale.day_tokens + asked * scale.question_tokens
        written += asked * min(ANSWER_TOKENS, scale.pair_tokens - scale.question_tokens)
    return Cost(read, written)


def _practice(config: Any, scale: Scale) -> Cost:
    """New inputs after the day's demonstrations in several orders, answered after each of them.

    As many as there are where every rule has its samples. Practice of classes, which writes
    nothing, costs less: a stream does not tell the two apart beforehand.
    """
    inputs = scale.days * config.samples
    answered = ORDERS * inputs * (scale.pair_tokens - scale.question_tokens)
    read = 2 * ORDERS * scale.day_tokens + (ORDERS + 1) * inputs * scale.pair_tokens
    return Cost(read, inputs * min(INPUT_TOKENS, scale.pair_tokens) + answered)


def _items(config: Any, scale: Scale) -> float:
    """Tokens of what is learned: the Q&A that is kept, and the day's texts, verbatim.

    Without documents it is what was practised, and hardly any of what was generated.
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
    trained += config.dream_epochs * scale.days * config.compositions * scale.pair_tokens
    return Cost(written + quiz, written, trained)
