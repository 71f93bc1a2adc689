"""Parts of the paper that the ablation does not show to matter, behind one seam.

The imitation reward, the choice of dreams by their gradient and the random expert show no effect on
ten streams of Almanac nor on SQuAD, and are off by default (docs/agents/sleep.md). A night without
them has no branch but those in this module and in
:mod:`sleepgym_agents.sleep.consolidation.replay`.

========================================  ===============================  ========================
Part ("Language Models Need Sleep")       Switched off by                  Code
========================================  ===============================  ========================
Learning to Imitate, its reward (3.2)     ``distillation_weight=1``, the   ``sleep.imitation``
                                          default (the paper's is .8)
what is learned on own samples (3.2)      ``on_policy_every=0``            ``sleep.imitation``
its semantic reward (3.2)                 ``semantic_weight=0``            ``sleep.imitation``
dreams chosen by their gradient (3.3)     ``gradient_selection=false``,    ``sleep.dream_rewards``
                                          the default
one random expert while dreaming (3.3)    ``random_expert=false``, the     here
                                          default
outer loop that trains a dreamer (3.3)    ``dreamer=`` (default)           ``outer_loops.dreamer``
routers by hidden state (3.2)             ``router=auto`` (default)        ``experts.state_routers``
recollections (departure 4 of seeding)    ``recollections=0``              ``sleep.consolidation``
========================================  ===============================  ========================
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from sleepgym_agents.experts.routing import ExpertId
from sleepgym_agents.sleep.dream_rewards import Dream, importance
from sleepgym_agents.sleep.imitation import Imitation
from sleepgym_agents.sleep.sleep_context import SleepContext
from sleepgym_agents.training.dreamer import dreamer_adapter


def on_policy_term(
    context: SleepContext, expert_id: ExpertId, rng: np.random.Generator
) -> Imitation | None:
    """What the loss of a distillation also holds; None where imitation is switched off."""
    return Imitation(context, expert_id, rng) if context.config.on_policy_every else None


@contextmanager
def writing_dreams(
    context: SleepContext,
    experts: Sequence[ExpertId] = (),
    rng: np.random.Generator | None = None,
) -> Iterator[None]:
    """Within this context the base model writes dreams, with its dreamer if it has one.

    Args:
        context: The night.
        experts: One of these, drawn at random, is active wherever any would be.
        rng: Draws the expert.
    """
    memory = context.memory
    with memory.bare(), dreamer_adapter(context.lm, context.dreamer):
        if rng is None or not experts:
            yield
            return
        with memory.force_active(experts[int(rng.integers(len(experts)))]):
            yield


def rank_dreams(
    context: SleepContext, expert_id: ExpertId, dreams: Sequence[Dream], order: Sequence[int]
) -> list[int]:
    """The order in which dreams are tried: the ``kept_by_importance`` with the largest gradient.

    Args:
        context: The night; its settings are
            :class:`sleepgym_agents.sleep.dream_sampling.SamplingSettings`.
        expert_id: The expert that is to learn.
        dreams: What may be tried.
        order: Their indices in random order; kept where dreams are not chosen by gradient.
    """
    if not context.config.gradient_selection:
        return list(order)
    scores = importance(context.memory, expert_id, dreams)
    best = sorted(order, key=lambda i: -scores[i])[: context.config.kept_by_importance]
    return best + [i for i in order if i not in best]
