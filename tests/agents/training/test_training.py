import math

import numpy as np
import pytest
import torch

from sleepgym import Budget, Meter, Night
from sleepgym_agents.lm.checkpoints import named_weights
from sleepgym_agents.lm.lora import add_lora
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.training.optimise import (
    Example,
    TrainingSettings,
    collate,
    cross_entropy,
    optimise,
    pack_sequences,
    plan,
)

SETTINGS = TrainingSettings(learning_rate=2e-3)


@pytest.fixture
def lm():
    return LanguageModel.load("scratch", seed=2)


def night(lm, **limits):
    return Night(1, Budget(**limits), 7, lm.meter)


def examples(lm, count=5):
    prompter = lm.prompter
    return [
        Example.joined(
            (prompter.start, 0.0),
            (prompter.question("what is " + "x" * i), 0.0),
            (prompter.answer("y" * (i + 1)), 1.0),
        )
        for i in range(count)
    ]


def trl_trainer(lm, batch, folder, **settings):
    """TRL's supervised trainer on the same sequences, everything else at its plain value."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    rows = [{"input_ids": list(e.ids), "labels": _labels(e)} for e in batch]
    config = SFTConfig(
        output_dir=str(folder),
        per_device_train_batch_size=len(batch),
        bf16=False,
        gradient_checkpointing=False,
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
        save_strategy="no",
        logging_strategy="no",
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
        **settings,
    )
    return SFTTrainer(
        model=lm.model,
        args=config,
        train_dataset=Dataset.from_list(rows),
        processing_class=lm.prompter.tokenizer,
    )


def _labels(example):
    return [i if w else -100 for i, w in zip(example.ids, example.weights, strict=True)]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_loss_gradients_and_steps_equal_trl(lm, tmp_path):
    batch = examples(lm)
    other = LanguageModel.load("scratch", seed=2)
    state = torch.random.get_rng_state()
    trainer = trl_trainer(
        other, batch, tmp_path, max_steps=4, learning_rate=2e-3, warmup_steps=1, weight_decay=0.0
    )
    inputs = trainer._prepare_inputs(trainer.data_collator(list(trainer.train_dataset)))
    theirs = trainer.compute_loss(other.model, inputs)
    theirs.backward()
    ours = cross_entropy(lm.model, collate(batch, lm.device))
    ours.backward()
    torch.testing.assert_close(ours, theirs.detach(), atol=1e-6, rtol=1e-6)
    for (name, p), q in zip(lm.model.named_parameters(), other.model.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, atol=1e-7, rtol=1e-4, msg=name)

    lm.model.zero_grad()
    other.model.zero_grad()
    trainer.train()
    torch.random.set_rng_state(state)
    settings = TrainingSettings(learning_rate=2e-3, warmup_ratio=0.25)
    optimise(lm, [batch] * 4, settings, night(lm))
    for name, p in named_weights(lm.model).items():
        q = dict(other.model.named_parameters())[name].detach()
        torch.testing.assert_close(p, q, atol=2e-5, rtol=1e-3, msg=name)


def test_training_learns_and_charges(lm):
    before = lm.meter.copy()
    steps = plan(lm, examples(lm), SETTINGS, np.random.default_rng(0))
    log = optimise(lm, steps, SETTINGS, night(lm))
    tokens = sum(len(e.ids) for step in steps for e in step)
    assert lm.meter.since(before) == {
        "read_tokens": 0,
        "generated_tokens": 0,
        "train_tokens": tokens,
        "flops": 6 * lm.parameters * tokens,
    }
    assert log["steps"] == len(steps)
    assert log["loss"] < 5.0
    assert not lm.model.training


def test_same_seed_same_weights_and_no_global_generator(lm):
    other = LanguageModel.load("scratch", seed=2)
    state = torch.random.get_rng_state()
    for model in (lm, other):
        steps = plan(model, examples(model), SETTINGS, np.random.default_rng(1))
        optimise(model, steps, SETTINGS, night(model))
    assert torch.equal(state, torch.random.get_rng_state())
    for p, q in zip(lm.model.parameters(), other.model.parameters(), strict=True):
        assert torch.equal(p, q)


def test_budget_is_never_exceeded(lm):
    steps = [examples(lm)] * 5
    tokens = sum(len(e.ids) for e in steps[0])
    tonight = night(lm, night_train_tokens=2 * tokens + 1)
    log = optimise(lm, steps, SETTINGS, tonight)
    assert log["stopped_by_budget"] == 1.0
    assert log["steps"] == 2
    assert not tonight.budget.exceeded_by(tonight.spent())
    flops = night(lm, night_flops=1.0)
    assert optimise(lm, steps, SETTINGS, flops) == {"steps": 0.0, "stopped_by_budget": 1.0}


def test_a_loss_that_is_not_finite_restores_the_evening(lm):
    evening = {name: p.clone() for name, p in named_weights(lm.model).items()}
    calls = iter([1.0, 1.0, math.nan])

    def loss(model, batch):
        return cross_entropy(model, batch) * next(calls)

    log = optimise(lm, [examples(lm)] * 5, SETTINGS, night(lm), loss)
    assert log["nan_loss"] == 1.0
    for name, p in named_weights(lm.model).items():
        assert torch.equal(p, evening[name])


def test_chains_hold_every_token_once():
    made = [Example((i,) * n, (1.0,) * n) for i, n in enumerate([3, 5, 50, 2, 2, 2, 9], 1)]
    packed = pack_sequences(made, (0,), np.random.default_rng(0), items=3, tokens=16)
    assert all(e.ids[0] == 0 and e.weights[0] == 0.0 for e in packed)
    assert all(len(e.ids) <= 17 for e in packed)
    found = sorted(i for e in packed for i in e.ids[1:])
    assert found == sorted(i for e in made for i in e.ids)
    assert pack_sequences([], (0,), np.random.default_rng(0), 3, 16) == []
    assert len(pack_sequences(made[:1] * 7, (), np.random.default_rng(0), 3, 16)) == 3


def test_lora_starts_as_the_identity_and_freezes_the_base(lm):
    ids = torch.tensor([lm.prompter.prompt("hello")])
    base = {name: p.clone() for name, p in named_weights(lm.model).items()}
    with torch.no_grad():
        before = lm.model(ids).logits
    state = torch.random.get_rng_state()
    add_lora(lm, rank=4, alpha=8.0, seed=3)
    assert torch.equal(state, torch.random.get_rng_state())
    with torch.no_grad():
        assert torch.equal(lm.model(ids).logits, before)
    optimise(lm, [examples(lm)] * 3, SETTINGS, night(lm))
    after = named_weights(lm.model)
    assert all(
        torch.equal(base[n.replace(".base_layer", "")], p)
        for n, p in after.items()
        if "lora_" not in n
    )
    with torch.no_grad():
        assert not torch.equal(lm.model(ids).logits, before)


def test_meter_is_the_nights(lm):
    meter = Meter()
    model = LanguageModel(lm.model, lm.prompter, meter)
    optimise(model, [examples(lm)], SETTINGS, Night(1, Budget(), 0, meter))
    assert meter.train_tokens > 0
