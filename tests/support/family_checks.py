"""What the tests of every family ask of a stream."""

from __future__ import annotations

import sleepgym
from sleepgym.core.types import Phase


def make(env_id, data=None, seed=0, preset=None, **settings):
    """The environment after a reset, and its stream."""
    env = sleepgym.make_env(env_id, preset=preset, data=data, **settings)
    env.reset(seed=seed)
    return env, env.stream


def gold_scores_one(env):
    """Every accepted answer of every item scores 1.0."""
    for item_id, answers in env.stream.key.items():
        for answer in answers:
            assert env.family.score_item(item_id, answer, answer) == 1.0, answer
            assert env.family.score_item(item_id, "", answer) < 1.0, answer


def no_leaks(env, allowed=()):
    """Closed-book exams show no material, no id; free answers are in no question of the exam.

    Args:
        env: After a reset.
        allowed: Kinds whose questions may hold their answer (an input that equals its output).
    """
    observation, _ = env.reset(seed=env.stream.seed)
    mornings = 0
    for step in env.steps:
        if step.phase is Phase.EXAM and step.closed_book:
            mornings += 1
            assert observation["documents"] == observation["titles"] == ()
            assert observation["feedback"] == ()
            for text, choices, item in zip(
                observation["questions"], observation["choices"], step.items, strict=True
            ):
                assert item.id not in text
                if choices:
                    assert set(env.stream.key[item.id]) <= set(choices)
                elif item.kind not in allowed:
                    for gold in env.stream.key[item.id]:
                        assert gold.lower() not in text.lower(), (item, gold)
        observation = env.step([""] * len(step.items))[0]
    assert mornings == len(env.stream.days) + 1


def settings_refused(env_id, error, match, data=None, **settings):
    """A configuration is refused with one line."""
    import pytest

    with pytest.raises(error, match=match) as raised:
        make(env_id, data, **settings)
    assert "\n" not in str(raised.value)
