import math

import numpy as np
import pytest
import torch

from expert_models import logits
from sleepgym import Document
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.training.distillation import (
    DistillationExample,
    distillation,
    make_collator,
    pack_examples,
    score_with_teacher,
)
from sleepgym_agents.training.divergence import divergence

PAIRS = [("Where is Ada?", "Oslo"), ("who", "x"), ("What does Bo keep in his garden?", "bees")]


@pytest.fixture(scope="module")
def lm():
    return LanguageModel.load("scratch", seed=3)


@pytest.fixture(scope="module")
def context(lm):
    return lm.prompter.document(Document("Ada is in Oslo. Bo keeps bees.", "Ada"))


def test_lessons_are_what_a_plain_pass_expects(lm, context):
    prompter = lm.prompter
    for before in ((), context):
        examples = score_with_teacher(lm, PAIRS, before)
        assert [example.pair for example in examples] == PAIRS
        for example, (question, answer) in zip(examples, PAIRS, strict=True):
            asked, item = prompter.question(question), prompter.demonstration(question, answer)
            assert (list(example.ids), example.asked) == (item, len(asked))
            assert example.context == tuple(before)
            begin = len(prompter.start) + len(before)
            full = [*prompter.start, *before, *item]
            wanted = logits(lm, full)[begin:-1].log_softmax(-1)
            torch.testing.assert_close(example.targets, wanted, atol=2e-5, rtol=1e-4)
            chosen = wanted.gather(-1, torch.tensor(item[1:])[:, None])[:, 0]
            torch.testing.assert_close(example.likelihoods, chosen, atol=2e-5, rtol=1e-4)
            product = math.prod(p.exp().item() for p in chosen[len(asked) - 1 :])
            assert example.confidence == pytest.approx(product, rel=1e-3)
    assert score_with_teacher(lm, []) == []


def test_batches_do_not_change_lessons(lm, context, monkeypatch):
    together = score_with_teacher(lm, PAIRS, context)
    backwards = score_with_teacher(lm, PAIRS[::-1], context)[::-1]
    monkeypatch.setattr(LanguageModel, "batch_tokens", 1)
    alone = score_with_teacher(lm, PAIRS, context)
    for one, two, three in zip(together, backwards, alone, strict=True):
        assert one.ids == two.ids == three.ids
        torch.testing.assert_close(two.targets, one.targets, atol=2e-5, rtol=1e-4)
        torch.testing.assert_close(three.targets, one.targets, atol=2e-5, rtol=1e-4)


def test_hard_lessons_have_the_cross_entropy(lm):
    example = score_with_teacher(lm, PAIRS[:1])[0].with_hard_targets()
    value = divergence(example.targets, score_with_teacher(lm, PAIRS[:1])[0].targets, "forward")
    torch.testing.assert_close(value, -example.likelihoods)


def made(*ids, asked):
    targets = torch.full((len(ids) - 1, 3), -float(ids[0]))
    return DistillationExample(("q", "a"), ids, asked, targets, torch.zeros(len(ids) - 1))


def test_chained_lessons_by_hand(lm):
    one, two, three = (
        made(10, 11, 12, 13, asked=2),
        made(20, 21, asked=1),
        made(30, 31, 32, asked=2),
    )
    batch = make_collator(lm, 0.25)([[one, two], [three]], lm.device)
    assert lm.prompter.start == [1]
    assert batch.ids.tolist() == [[1, 10, 11, 12, 13, 20, 21], [1, 30, 31, 32, 0, 0, 0]]
    assert batch.positions.tolist() == [1, 2, 3, 5, 8, 9]
    assert batch.ids.flatten()[batch.positions + 1].tolist() == [11, 12, 13, 21, 31, 32]
    assert batch.weights.tolist() == [0.25, 1, 1, 1, 0.25, 1]
    assert batch.targets[:, 0].tolist() == [-10, -10, -10, -20, -30, -30]
    assert batch.examples == (one, two, three)
    assert batch.tokens == 11

    packed = pack_examples([one, two, three] * 3, np.random.default_rng(0), items=2, tokens=6)
    assert sorted(x.ids for c in packed for x in c) == sorted([one.ids, two.ids, three.ids] * 3)
    assert all(len(c) <= 2 and (len(c) == 1 or sum(len(x.ids) for x in c) <= 6) for c in packed)
    assert len(pack_examples([one] * 2, np.random.default_rng(0), items=2, tokens=2)) == 2


def test_the_loss_is_the_weighted_mean_of_single_lessons(lm, context):
    examples = score_with_teacher(lm, PAIRS, context)
    batch = make_collator(lm, 0.5)([[example] for example in examples], lm.device)
    total = weights = 0.0
    for example in examples:
        ids = [*lm.prompter.start, *example.ids]
        student = logits(lm, ids)[len(lm.prompter.start) : -1].log_softmax(-1)
        values = divergence(example.targets, student, "reverse")
        counted = torch.full_like(values, 0.5)
        counted[example.asked - 1 :] = 1.0
        total, weights = total + float((values * counted).sum()), weights + float(counted.sum())
    found = distillation(lm.model, batch, "reverse")
    assert found.item() == pytest.approx(total / weights, rel=1e-4)
