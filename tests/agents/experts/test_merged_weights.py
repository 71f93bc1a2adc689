from types import SimpleNamespace

import torch

from expert_models import asked, logits, two_experts
from sleepgym_agents.experts.expert import Expert
from sleepgym_agents.sleep.consolidation.merged_weights import (
    RIDGE,
    Regression,
    fit_expert,
    observed,
)

WIDTH, RANK = 16, 6


def experts(count):
    made = []
    for seed in range(count):
        generator = torch.Generator().manual_seed(seed)
        made.append(Expert(WIDTH, RANK, generator))
        made[-1].down.copy_(torch.randn(WIDTH, RANK, generator=generator))
    return made


def states(seed, count=400):
    """States of one entity: around a mean of their own."""
    generator = torch.Generator().manual_seed(seed)
    mean = 2 * torch.randn(WIDTH, generator=generator)
    return mean + 0.3 * torch.randn(count, WIDTH, generator=generator)


def test_units_that_add_nothing_are_those_that_are_left_out():
    (expert,) = experts(1)
    expert.down[:, [1, 4]] = 0
    regression = Regression([expert])
    regression.add(states(0), expert(states(0)))
    left, _, unexplained = regression.solve(4)
    assert left == [0, 2, 3, 5]
    assert unexplained < 1e-5
    assert regression.solve(3)[2] > unexplained


def test_one_expert_does_what_each_of_two_did_where_it_was_on_alone():
    parts = experts(2)
    regression = Regression(parts)
    for seed, part in enumerate(parts):
        regression.add(states(seed), part(states(seed)))
    left, weights, unexplained = regression.solve(2 * RANK)
    assert left == list(range(2 * RANK))
    both = regression.square
    added = torch.cat([part.inner(states(0)) for part in parts], 1) @ weights.float()
    stacked = sum(part(states(0)) for part in parts)
    alone = parts[0](states(0))
    assert (added - alone).square().sum() < 0.1 * (stacked - alone).square().sum()
    assert 0 <= unexplained < 0.05
    fewer = regression.solve(RANK)[2]
    assert unexplained < fewer < 1
    assert regression.square == both


def test_a_merged_expert_starts_as_its_parts_where_they_are_on():
    memory = two_experts("names")
    lm, ids = memory.lm, list(memory.unlocked)
    prompts = asked(lm)
    before = [logits(lm, prompt) for prompt in prompts]
    with observed(memory, ids) as layers:
        seen = [logits(lm, prompt) for prompt in prompts]
    assert all(torch.equal(a, b) for a, b in zip(before, seen, strict=True))
    counted = [regression.square for regression in layers]
    logits(lm, prompts[0])
    assert [regression.square for regression in layers] == counted
    merged = memory.unlock()
    memory.assign_entities(merged, memory.router.entities_of(ids), ())
    with memory.masked(*ids):
        blank = [logits(lm, prompt) for prompt in prompts]
        unexplained = fit_expert(memory, merged, layers)
        after = [logits(lm, prompt) for prompt in prompts]
    assert 0 <= unexplained < 1

    def far(found):
        return sum(float((a - b).square().sum()) for a, b in zip(before, found, strict=True))

    assert far(after) < 0.7 * far(blank)


def test_each_time_the_unit_is_left_out_without_which_the_others_fit_best():
    parts = experts(2)
    for part in parts:
        part.gate[0], part.up[0] = (
            0,
            0,
        )  # adds nothing anywhere: the penalty keeps its weight finite
    regression = Regression(parts)
    for seed, part in enumerate(parts):
        regression.add(states(seed), part(states(seed)))
    penalty = RIDGE * regression.inner.diagonal().mean()

    def fitted(left):
        inner, cross = regression.inner[left][:, left], regression.cross[left]
        weights = torch.linalg.solve(inner + penalty * torch.eye(len(left)).double(), cross)
        return weights, -float((weights * cross).sum())  # of the objective, up to a constant

    best = list(range(2 * RANK))
    for size in range(2 * RANK - 1, 4, -1):
        best = min(
            ([i for i in best if i != out] for out in best), key=lambda left: fitted(left)[1]
        )
        left, weights, _ = regression.solve(size)
        if size < 2 * RANK - 2:  # the two empty units cost the same
            assert left == best
        torch.testing.assert_close(weights, fitted(left)[0], rtol=1e-4, atol=1e-6)


def test_only_what_the_parts_add_where_they_are_on_is_counted():
    memory = two_experts("names")
    gate, width = torch.tensor([[1.0, 0.0]]), memory.width
    added = torch.tensor([1.0, 5.0])[None, :, None].expand(1, 2, width)
    with observed(memory, list(memory.unlocked)) as layers:
        for level, slot in ((1, 0), (0, 7)):
            active = SimpleNamespace(at=lambda _, slot=slot: [(slot, gate)])
            memory.chains[0].observer(level, active, torch.ones(1, 2, width), added)
        assert layers[0].square == 0
        active = SimpleNamespace(at=lambda _: [(0, gate)])
        memory.chains[0].observer(0, active, torch.ones(1, 2, width), added)
    assert layers[0].square == width
    shares = [regression.solve(layers[0].experts[0].down.shape[1])[2] for regression in layers]
    assert fit_expert(memory, memory.unlocked[0], layers) == sum(shares) / len(layers)
