import math

import pytest
import torch

from expert_models import fill, logits, make_memory
from sleepers import sleep_context
from sleepgym_agents.sleep.expert_distillation import DistillationSettings, distil_into_expert
from sleepgym_agents.training.distillation import distillation, make_collator, score_with_teacher
from sleepgym_agents.training.divergence import divergence

PLACE = (0, 0)
PAIRS = [("Where is Ada?", "Oslo"), ("who", "x"), ("What does Bo keep in his garden?", "bees")]


def tensors(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(2, 3, 7, generator=generator) for _ in range(2)]


def test_divergences_by_hand():
    teacher = torch.tensor([[0.5, 0.5]]).log()
    student = torch.tensor([[0.25, 0.75]]).log()
    forward = 0.5 * math.log(2) + 0.5 * math.log(2 / 3)
    reverse = 0.25 * math.log(0.5) + 0.75 * math.log(1.5)
    assert divergence(teacher, student, "forward").item() == pytest.approx(forward, rel=1e-5)
    assert divergence(teacher, student, "reverse").item() == pytest.approx(reverse, rel=1e-5)
    mixed = (0.2 * 0.5 + 0.8 * 0.25, 0.2 * 0.5 + 0.8 * 0.75)  # beta is the teacher's share
    wanted = 0.2 * sum(0.5 * math.log(0.5 / m) for m in mixed) + 0.8 * sum(
        s * math.log(s / m) for s, m in zip((0.25, 0.75), mixed, strict=True)
    )
    assert divergence(teacher, student, "jsd", 0.2).item() == pytest.approx(wanted, rel=1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("kind", "beta", "theirs"),
    [("forward", 0.5, 0), ("reverse", 0.5, 1), ("jsd", 0.5, 0.5), ("jsd", 0.1, 0.1)],
)
def test_divergences_and_gradients_equal_trl(kind, beta, theirs):
    from trl.experimental.gkd import GKDTrainer

    student, teacher = tensors()
    labels = torch.tensor([[1, 1, -100], [1, -100, -100]])
    one, two = student.clone().requires_grad_(True), student.clone().requires_grad_(True)
    wanted = GKDTrainer.generalized_jsd_loss(two, teacher, labels, beta=theirs)
    wanted.backward()
    real = labels != -100
    values = divergence(teacher.log_softmax(-1)[real], one.log_softmax(-1)[real], kind, beta)
    values.mean().backward()
    torch.testing.assert_close(values.mean(), wanted)
    torch.testing.assert_close(one.grad, two.grad)


def test_no_gradient_reaches_the_teacher():
    student, teacher = (x.log_softmax(-1).requires_grad_(True) for x in tensors())
    for kind in ("forward", "reverse", "jsd"):
        divergence(teacher[0], student[0], kind).sum().backward()
    assert teacher.grad is None
    assert student.grad is not None
    same = divergence(student[0], student[0], "jsd", 0.3)
    torch.testing.assert_close(same, torch.zeros(3), atol=1e-6, rtol=0)


def snapshot(memory):
    return {name: p.detach().clone() for name, p in memory.lm.model.named_parameters()}


def student(router="always", **settings):
    memory = make_memory(router=router)
    for seed in range(3):
        fill(memory, memory.unlock(), seed)
    settings = DistillationSettings(on_policy_every=0, batch_size=1, **settings)
    return memory, score_with_teacher(memory.lm, PAIRS), settings


def test_only_the_chosen_expert_learns():
    memory, examples, settings = student(epochs=12)
    before = snapshot(memory)
    states = torch.random.get_rng_state()
    hard = [example.with_hard_targets() for example in examples]
    batch = make_collator(memory.lm, 0.2)([hard], memory.lm.device)
    evening = float(distillation(memory.lm.model, batch, "forward"))
    log = distil_into_expert(sleep_context(memory, settings), (0, 1), hard, "a")
    assert torch.equal(states, torch.random.get_rng_state())
    changed = {n for n, p in memory.lm.model.named_parameters() if not torch.equal(p, before[n])}
    parts = {f"mlp.levels.0.1.{part}" for part in ("gate", "up", "down")}
    assert changed == {f"model.layers.{layer}.{part}" for layer in range(2) for part in parts}
    assert not any(p.requires_grad or p.grad is not None for p in memory.lm.model.parameters())
    assert log["steps"] == 12
    for name in changed:
        p = dict(memory.lm.model.named_parameters())[name]
        assert torch.equal(p, p.bfloat16().float())  # as it will be saved
    assert float(distillation(memory.lm.model, batch, "forward")) < evening - 0.4


def test_on_policy_steps_join_the_loss(monkeypatch):
    memory, examples, _ = student()
    plain = {"groups": 2, "group_size": 2, "epochs": 4, "batch_size": 1}
    settings = DistillationSettings(on_policy_every=2, **plain)
    before = memory.lm.meter.copy()
    log = distil_into_expert(sleep_context(memory, settings), PLACE, examples, "a")
    assert 0 <= log["imitation_reward"] <= 1
    assert memory.lm.meter.since(before)["generated_tokens"] > 0
    calls = []
    monkeypatch.setattr(
        "sleepgym_agents.sleep.imitation.roll_out",
        lambda *_, **__: calls.append(1) or 1 / 0,
    )
    with pytest.raises(ZeroDivisionError):
        distil_into_expert(sleep_context(memory, settings), PLACE, examples, "a")
    never = DistillationSettings(on_policy_every=0, **plain)
    assert "imitation_reward" not in distil_into_expert(
        sleep_context(memory, never), PLACE, examples, "a"
    )
    assert len(calls) == 1
    assert not any(p.requires_grad for p in memory.lm.model.parameters())  # also after the error


def test_a_gate_opens_to_lessons_and_shuts_to_rehearsal():
    shares = []
    for bare in (False, True):
        memory = make_memory(router="gate")
        expert_id = memory.unlock()
        examples = [
            x if bare else x.with_hard_targets() for x in score_with_teacher(memory.lm, PAIRS)
        ]
        if bare:  # what the self said without this expert
            fill(memory, expert_id, scale=1.0)
        settings = DistillationSettings(epochs=20, on_policy_every=0)
        distil_into_expert(sleep_context(memory, settings), expert_id, examples, "a")
        weights = memory.router.weights[expert_id]
        assert weights.abs().amax(1).min() > 0.01  # in every layer
        assert torch.equal(weights, weights.bfloat16().float())
        assert not weights.requires_grad
        opened, route = [], memory.router.route
        memory.router.route = lambda *a, seen=opened, route=route: (
            seen.append(route(*a)) or seen[-1]
        )
        logits(memory.lm, [*memory.lm.prompter.start, *examples[2].ids])
        shares.append(float(torch.stack([gates[expert_id] for gates, _ in opened]).mean()))
    assert shares[0] > 0.6
    assert shares[1] < 0.4


def test_a_loss_that_is_not_finite_leaves_the_evening(monkeypatch):
    memory, examples, settings = student("gate", epochs=2)
    before, gates = snapshot(memory), memory.router.weights[PLACE].clone()
    calls = iter([1.0, math.nan])
    monkeypatch.setattr(
        "sleepgym_agents.sleep.expert_distillation.distillation",
        lambda *args: distillation(*args) * next(calls),
    )
    log = distil_into_expert(sleep_context(memory, settings), PLACE, examples, "a")
    assert log["nan_loss"] == 1.0
    assert all(torch.equal(p, before[n]) for n, p in memory.lm.model.named_parameters())
    assert torch.equal(memory.router.weights[PLACE], gates)


@pytest.mark.parametrize("limits", [{"night_train_tokens": 3}, {"night_flops": 1.0}])
def test_a_budget_smaller_than_a_step(limits):
    memory, examples, settings = student()
    before = snapshot(memory)
    log = distil_into_expert(sleep_context(memory, settings, **limits), PLACE, examples, "a")
    assert log == {"steps": 0.0, "stopped_by_budget": 1.0}
    assert all(torch.equal(p, before[n]) for n, p in memory.lm.model.named_parameters())


def test_lessons_without_a_name_train_nobody():
    memory, examples, settings = student("names", epochs=1)
    before = snapshot(memory)
    log = distil_into_expert(sleep_context(memory, settings), PLACE, examples, "a")
    assert log["steps"] == 1
    assert all(torch.equal(p, before[n]) for n, p in memory.lm.model.named_parameters())
