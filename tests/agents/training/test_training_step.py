"""Steps with fixed shapes do what plain ones do; losses are looked at now and then."""

from __future__ import annotations

import pytest
import torch

from replayed import Replayed
from sleepgym import Budget, Night
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.training import optimise as loop
from sleepgym_agents.training import training_step
from sleepgym_agents.training.optimise import (
    Example,
    StepResults,
    Trainer,
    TrainingSettings,
    collate,
    cross_entropy,
    optimise,
)
from sleepgym_agents.training.pseudo_rehearsal import MixedBatch
from sleepgym_agents.training.training_step import TrainingStep, tensors_of, with_tensors

SETTINGS = TrainingSettings(learning_rate=3e-3, max_gradient_norm=0.5)


def steps(count: int = 12) -> list[list[Example]]:
    """Batches of two shapes."""
    ids = [(1, 5 + i, 6, 7 + i, *[9] * (i % 2)) for i in range(count)]
    return [[Example(x, (0.0, *[1.0] * (len(x) - 1)))] * 2 for x in ids]


def train(device: str, capture: bool):
    lm = LanguageModel.load("scratch", seed=1)
    lm.model.to(device)
    given = {"term": lambda batch: None, "capture": capture}
    log = optimise(lm, steps(), SETTINGS, Night(1, Budget(), 0, lm.meter), **given)
    return log, [p.detach().clone() for p in lm.model.parameters()]


def test_steps_of_a_shape_seen_before_are_replayed_and_do_the_same(monkeypatch):
    made: list[Replayed] = []
    log, weights = train("cpu", capture=False)

    def captured(step, batch):
        made.append(Replayed(step, batch))
        return made[-1]

    monkeypatch.setattr(TrainingStep, "_captured", captured)
    monkeypatch.setattr(loop, "on_one_gpu", lambda parameters: True)
    replayed_log, replayed = train("cpu", capture=True)
    assert [x.replays for x in made] == [6, 5]  # the very first step is not
    torch.testing.assert_close(replayed, weights, atol=0, rtol=0)
    assert replayed_log["loss"] == pytest.approx(log["loss"], rel=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_captured_steps_do_what_plain_ones_do():
    log, weights = train("cuda", capture=False)
    captured_log, captured = train("cuda", capture=True)
    torch.testing.assert_close(captured, weights, atol=1e-5, rtol=1e-3)
    assert captured_log["loss"] == pytest.approx(log["loss"], rel=1e-3)


def trained_in_turn(device: str, capture: bool, shared: bool):
    """Weights and rates of three trainings from the same weights, the second ending in a NaN."""
    lm = LanguageModel.load("scratch", seed=1)
    lm.model.to(device)
    parameters = list(lm.model.parameters())
    first = [p.detach().clone() for p in parameters]
    trainer, found = None, []
    for turn in range(3):
        with torch.no_grad():
            for parameter, value in zip(parameters, first, strict=True):
                parameter.copy_(value)
        if trainer is None or not shared:
            trainer = Trainer(lm, SETTINGS, capture=capture)
            group = trainer.optimiser.param_groups[0]
            group["lr"] = torch.as_tensor(group["lr"]) if capture else group["lr"]
        rates = []

        def changed(batch, turn=turn, rates=rates, group=group):
            rates.append(float(group["lr"]))
            bad = turn == 1 and len(rates) == 4
            return (lambda loss: loss * float("nan")) if bad else None

        batches = steps(12 + turn)[turn:]
        log = trainer.train(batches, Night(1, Budget(), turn, lm.meter), term=changed)
        assert ("nan_loss" in log) == (turn == 1)
        found.append(([p.detach().clone() for p in parameters], rates))
    torch.testing.assert_close(found[1][0], first, atol=0, rtol=0)
    return [weights for weights, _ in found], [rates for _, rates in found]


@pytest.mark.parametrize("capture", [False, True])
def test_a_trainer_serves_one_training_after_the_other(capture, monkeypatch):
    made: list[Replayed] = []
    weights, rates = trained_in_turn("cpu", capture=False, shared=False)

    def captured(step, batch):
        made.append(Replayed(step, batch))
        return made[-1]

    monkeypatch.setattr(TrainingStep, "_captured", captured)
    monkeypatch.setattr(loop, "on_one_gpu", lambda parameters: True)
    shared_weights, shared_rates = trained_in_turn("cpu", capture, shared=True)
    assert len(made) == (2 if capture else 0)  # two shapes, captured once
    exactly = {} if capture else {"atol": 0, "rtol": 0}  # a rate in a tensor is rounded
    torch.testing.assert_close(shared_weights, weights, **exactly)
    torch.testing.assert_close(shared_rates, rates, atol=0, rtol=1e-6)
    assert rates[0][0] == 0
    assert max(rates[2]) == SETTINGS.learning_rate


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_captured_steps_serve_one_training_after_the_other():
    weights, _ = trained_in_turn("cuda", capture=False, shared=False)
    captured, _ = trained_in_turn("cuda", capture=True, shared=True)
    torch.testing.assert_close(captured, weights, atol=1e-5, rtol=1e-3)


def test_what_cannot_be_captured_is_stepped_as_usual(monkeypatch, caplog):
    def refuse(step, batch):
        raise RuntimeError("operation not permitted when stream is capturing\nat ...")

    log, weights = train("cpu", capture=False)
    monkeypatch.setattr(TrainingStep, "_captured", refuse)
    monkeypatch.setattr(loop, "on_one_gpu", lambda parameters: True)
    plain_log, plain = train("cpu", capture=True)
    assert caplog.text.count("not captured: operation not permitted") == 1
    torch.testing.assert_close(plain, weights, atol=0, rtol=0)
    assert plain_log["steps"] == log["steps"]


def test_the_weights_of_the_evening_come_back_when_a_bad_loss_is_seen_late(monkeypatch):
    lm = LanguageModel.load("scratch", seed=1)
    before = [p.detach().clone() for p in lm.model.parameters()]
    monkeypatch.setattr(loop, "StepResults", lambda every: StepResults(5))
    taken = []

    def loss(model, batch):
        taken.append(1)
        return cross_entropy(model, batch) * (float("nan") if len(taken) == 3 else 1.0)

    log = optimise(lm, steps(), SETTINGS, Night(1, Budget(), 0, lm.meter), loss)
    assert len(taken) == 5  # seen at the first look
    assert (log["steps"], log["nan_loss"]) == (2, 1.0)
    assert all(p.equal(q) for p, q in zip(lm.model.parameters(), before, strict=True))


def test_tensors_of_parts_are_found_and_replaced():
    parts = [collate(step, "cpu") for step in steps(2)]
    batch = MixedBatch(*parts, torch.arange(3), torch.ones(3, 4), 12)
    found = list(tensors_of(batch))
    assert len(found) == 8
    twice = with_tensors(batch, iter([2 * tensor for tensor in found]))
    assert all(a.equal(2 * b) for a, b in zip(tensors_of(twice), found, strict=True))
    assert twice.tokens == batch.tokens


def test_only_so_many_shapes_are_captured(monkeypatch):
    monkeypatch.setattr(training_step, "GRAPHS", 1)
    made: list[Replayed] = []

    def captured(step, batch):
        made.append(Replayed(step, batch))
        return made[-1]

    monkeypatch.setattr(TrainingStep, "_captured", captured)
    monkeypatch.setattr(loop, "on_one_gpu", lambda parameters: True)
    train("cpu", capture=True)
    assert len(made) == 1
    monkeypatch.setattr(training_step, "BUSY_FLOPS", 0)  # every step keeps a GPU busy
    train("cpu", capture=True)
    assert len(made) == 1
