import copy

import pytest
import torch

from sleepgym import Budget, Document, Night, Question
from sleepgym.core.settings import build_config
from sleepgym_agents.baselines.self_study.sdft import (
    Opsd,
    Sdft,
    ema_update,
    sample_rollouts,
    self_distillation,
)
from sleepgym_agents.lm.checkpoints import named_weights
from sleepgym_agents.lm.model import LanguageModel

DOCUMENT = Document("Mira Tolwen was born in Oslo. She repairs old clocks.", "Mira Tolwen")
PRACTICE = [(Question("the weather"), "weather"), (Question("send money"), "transfer")]
QUICK = {"epochs": 2, "samples": 2, "dream_tokens": 16, "max_answer_tokens": 8, "rank": 0}


def make(cls=Sdft, **values):
    return cls(build_config(cls.Config, {**QUICK, **values}, "test"), seed=1, model="scratch")


def wake(agent):
    agent.study([DOCUMENT])
    agent.practice([q for q, _ in PRACTICE], [a for _, a in PRACTICE])


def night(agent, **limits):
    return Night(1, Budget(**limits), 3, agent.meter)


def trl_trainer(lm, folder, alpha, temperature):
    from datasets import Dataset
    from trl.experimental.sdft import SDFTConfig, SDFTTrainer

    config = SDFTConfig(
        output_dir=str(folder),
        distillation_mode="full_logits",
        distillation_alpha=alpha,
        temperature=temperature,
        teacher_model_kind="live",
        per_device_train_batch_size=3,
        num_generations=1,
        bf16=False,
        gradient_checkpointing=False,
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
        save_strategy="no",
    )
    rows = Dataset.from_list([{"prompt": "a", "privileged_context": "b"}] * 3)
    return SDFTTrainer(
        model=lm.model, args=config, train_dataset=rows, processing_class=lm.prompter.tokenizer
    )


def padded(sequences, left):
    length = max(map(len, sequences))
    pads = [[0] * (length - len(s)) for s in sequences]
    ids = [[*p, *s] if left else [*s, *p] for s, p in zip(sequences, pads, strict=True)]
    ones = [[1] * len(s) for s in sequences]
    mask = [[*p, *o] if left else [*o, *p] for o, p in zip(ones, pads, strict=True)]
    return torch.tensor(ids), torch.tensor(mask)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("kind", "beta", "alpha", "temperature"),
    [("forward", 0.5, 0.0, 1.0), ("jsd", 0.3, 0.3, 1.1), ("reverse", 0.5, 1.0, 1.0)],
)
def test_loss_and_gradients_equal_trl(kind, beta, alpha, temperature, tmp_path):
    student, teacher = (LanguageModel.load("scratch", seed=s) for s in (2, 3))
    other = LanguageModel.load("scratch", seed=2)
    prompter = student.prompter
    context = prompter.document(DOCUMENT)
    prompts = [[*prompter.start, *prompter.question(q)] for q in ("where", "what is it", "why")]
    replies = [prompter.answer("Oslo"), prompter.encode("clocks of"), prompter.answer("x")]
    batch = sample_rollouts(student, teacher, prompts, replies, context, temperature)
    ours = self_distillation(student.model, batch, kind, beta, temperature)
    ours.backward()

    state = torch.random.get_rng_state()
    trainer = trl_trainer(other, tmp_path, alpha, temperature)
    torch.random.set_rng_state(state)
    trainer.teacher_model = teacher.model
    start = len(prompter.start)
    full = [[*p[:start], *context, *p[start:]] for p in prompts]
    inputs = dict(zip(("prompt_ids", "prompt_mask"), padded(prompts, left=True), strict=True))
    read, read_mask = padded(full, left=True)
    said, said_mask = padded(replies, left=False)
    inputs |= {"completion_ids": said, "completion_mask": said_mask}
    inputs["teacher_input_ids"] = torch.cat([read, said], 1)
    inputs["teacher_attention_mask"] = torch.cat([read_mask, said_mask], 1)
    other.model.train()
    trainer.current_gradient_accumulation_steps = 1
    theirs = trainer.compute_loss(other.model, inputs)
    theirs.backward()
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
    for (name, p), q in zip(
        student.model.named_parameters(), other.model.parameters(), strict=True
    ):
        torch.testing.assert_close(p.grad, q.grad, atol=1e-5, rtol=1e-3, msg=name)


def test_the_student_samples_without_the_day_and_learns(monkeypatch):
    agent = make(epochs=40, learning_rate=2e-3, divergence="forward")
    wake(agent)
    body = agent.lm.prompter.encode("repairs old clocks")
    seen = []

    def spy(module, args, kwargs):
        if torch.is_grad_enabled():
            seen.append((kwargs["input_ids"]).tolist())

    agent.lm.model.register_forward_pre_hook(spy, with_kwargs=True)
    before = agent.lm.meter.copy()
    log = agent.sleep(night(agent))
    assert log["steps"] == len(seen) > 0
    flat = [ids for batch in seen for ids in batch]
    assert not any(ids[i : i + len(body)] == body for ids in flat for i in range(len(ids)))
    assert agent.lm.meter.since(before)["generated_tokens"] > 0
    assert log["loss"] < 1.0


def test_the_teacher_stays_or_follows():
    one, two = (LanguageModel.load("scratch", seed=s).model for s in (2, 3))
    start = copy.deepcopy(one)
    ema_update(one, two, 0.0)
    for p, q in zip(one.parameters(), start.parameters(), strict=True):
        assert torch.equal(p, q)
    ema_update(one, two, 0.25)
    pairs = zip(one.parameters(), start.parameters(), two.parameters(), strict=True)
    for p, old, new in pairs:
        torch.testing.assert_close(p, 0.75 * old + 0.25 * new)


def test_opsd_trains_an_adapter_only():
    agent = make(Opsd, rank=4)
    base = {n: p.clone() for n, p in named_weights(agent.lm.model).items()}
    wake(agent)
    state = torch.random.get_rng_state()
    agent.sleep(night(agent))
    assert torch.equal(state, torch.random.get_rng_state())
    assert agent.added_parameters > 0
    for name, p in named_weights(agent.lm.model).items():
        if "lora_" not in name:
            assert torch.equal(p, base[name.replace(".base_layer", "")])


def test_it_keeps_to_its_budget():
    agent = make()
    for limits in ({"night_generated_tokens": 20}, {"night_flops": 1e6}, {"night_train_tokens": 9}):
        wake(agent)
        tonight = night(agent, **limits)
        log = agent.sleep(tonight)
        assert not tonight.budget.exceeded_by(tonight.spent())
        assert log["stopped_by_budget"] == 1.0
