import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from expert_models import logits
from sleepgym import Document
from sleepgym.core.errors import BadSetting
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.sleep.expert_distillation import DistillationSettings
from sleepgym_agents.sleep.imitation import (
    Rollouts,
    compare,
    edit_similarity,
    load_judge,
    policy_loss,
    roll_out,
    same_words,
    student_logits,
    teacher_targets,
)
from sleepgym_agents.training.distillation import score_with_teacher

PAIRS = [("Where is Ada?", "Oslo"), ("who", "x"), ("What does Bo keep in his garden?", "bees")]


@pytest.fixture(scope="module")
def lm():
    return LanguageModel.load("scratch", seed=3)


def rolled(lm, examples, size=3, gamma=0.5, max_edit_distance=40, judge=same_words, seed=0):
    rng = np.random.default_rng(seed)
    return roll_out(
        lm,
        examples,
        size=size,
        gamma=gamma,
        max_edit_distance=max_edit_distance,
        judge=judge,
        rng=rng,
    )


@pytest.mark.parametrize(
    ("written", "wanted", "max_edit_distance", "score"),
    [
        ([1, 2, 3, 4], [1, 2, 3, 4], 0, 1.0),
        ([1, 2, 3, 4], [1, 9, 3, 4], 1, 0.75),  # one token replaced
        ([1, 2, 3], [1, 2, 3, 4, 5], 2, 0.6),  # two are missing, of five
        ([1, 2, 3], [1, 2, 3, 4, 5], 1, 0.0),  # too far
        ([2, 1], [1, 2], 2, 0.0),  # an exchange is two edits of two
        ([], [1], 1, 0.0),
        ([], [], 0, 1.0),
    ],
)
def test_likeness_by_hand(written, wanted, max_edit_distance, score):
    assert edit_similarity(written, wanted, max_edit_distance) == pytest.approx(score)


tokens = st.lists(st.integers(0, 300), max_size=8)


@given(tokens, tokens, st.integers(0, 9))
def test_likeness_is_a_similarity(one, two, max_edit_distance):
    found = edit_similarity(one, two, max_edit_distance)
    assert 0 <= found <= 1
    assert found == edit_similarity(two, one, max_edit_distance)
    assert (found == 1) == (one == two)
    assert edit_similarity(one, one, max_edit_distance) == 1


def test_judges():
    assert load_judge("words") is same_words
    assert same_words("The Oslo!", "oslo")
    assert not same_words("one two three", "one")  # F1 is exactly one half
    assert load_judge("operator:eq")("a", "a")
    for name in ("nothing", "operator:nothing", ":"):
        with pytest.raises(BadSetting, match=f"judge={name}: must be words, embeddings or"):
            load_judge(name)


def test_rollouts_continue_cut_lessons(lm):
    examples = score_with_teacher(lm, PAIRS)
    states = torch.random.get_rng_state()
    found = rolled(lm, examples)
    assert torch.equal(states, torch.random.get_rng_state())
    assert found.rewards.shape == (3, 3)
    assert [x.pair for x in found.examples] == [pair for pair in PAIRS for _ in range(3)]
    start = len(lm.prompter.start)
    for i, (prefix, example) in enumerate(zip(found.prefixes, found.examples, strict=True)):
        cut = len(prefix) - start
        assert 0 < cut < len(example.ids)
        assert prefix == [*lm.prompter.start, *example.ids[:cut]]
        assert prefix == found.prefixes[i - i % 3]  # a group has one prefix
    assert len({len(p) for p in found.prefixes}) > 1
    assert rolled(lm, examples).written == found.written
    assert rolled(lm, examples, seed=1).written != found.written


def test_rewards_mix_meaning_and_likeness(lm, monkeypatch):
    examples = score_with_teacher(lm, PAIRS[:1])

    def sample_rehearsal(_, prefixes, *args, **kwargs):
        rests = [list(examples[0].ids[len(p) - 1 :]) for p in prefixes]
        return [rests[0], [*rests[1][:-1], 250], [250] * len(rests[2])]

    monkeypatch.setattr("sleepgym_agents.sleep.imitation.generate", sample_rehearsal)
    size = len(sample_rehearsal(lm, rolled(lm, examples, judge=lambda *_: False).prefixes)[0])
    heard = []

    def judge(written, wanted):
        heard.append((written, wanted))
        return len(heard) == 2

    found = rolled(lm, examples, gamma=0.25, max_edit_distance=1, judge=judge)
    wanted = [0.75, 0.25 + 0.75 * (1 - 1 / size), 0.0 if size > 1 else 0.75 * 0.0]
    assert found.rewards[0].tolist() == pytest.approx(wanted)
    rest = lm.prompter.tokenizer.decode(examples[0].ids[-size:])
    assert [wanted for _, wanted in heard] == [rest] * 3
    assert heard[0][0] == rest


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 99), st.integers(0, 10), st.integers(0, 50))
def test_rewards_are_shares(lm, seed, tenths, max_edit_distance):
    examples, judge = score_with_teacher(lm, PAIRS[1:2]), lambda *_: bool(seed % 2)
    found = rolled(lm, examples, 2, tenths / 10, max_edit_distance, judge, seed)
    assert ((found.rewards >= 0) & (found.rewards <= 1)).all()


def test_advantages_by_hand():
    found = Rollouts([], [], [], torch.tensor([[1.0, 0.0], [0.5, 0.5]]))
    wanted = 0.5 / (math.sqrt(0.5) + 1e-4)
    assert found.advantages.tolist() == pytest.approx([wanted, -wanted, 0, 0])


def trl_trainer(lm, folder):
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    config = GRPOConfig(
        output_dir=str(folder),
        loss_type="grpo",
        beta=0.0,
        num_generations=3,
        per_device_train_batch_size=9,
        bf16=False,
        gradient_checkpointing=False,
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
        save_strategy="no",
    )
    return GRPOTrainer(
        model=lm.model,
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        args=config,
        train_dataset=Dataset.from_list([{"prompt": "a"}] * 9),
        processing_class=lm.prompter.tokenizer,
    )


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_loss_and_gradients_equal_trl(lm, tmp_path):
    ours, other = (LanguageModel.load("scratch", seed=3) for _ in range(2))
    found = rolled(lm, score_with_teacher(lm, PAIRS), gamma=0.0)
    rewards = torch.rand(3, 3, generator=torch.Generator().manual_seed(0))
    found = Rollouts(found.prefixes, found.written, found.examples, rewards)
    written, ids, mask = student_logits(ours, found)
    assert len(set(mask.sum(1).tolist())) > 1
    likelihoods = written.log_softmax(-1).gather(-1, ids[..., None])[..., 0]
    value = policy_loss(likelihoods, mask, found.advantages)
    assert value.item() == pytest.approx(-float(found.advantages.mean()), abs=1e-6)
    value.backward()

    state = torch.random.get_rng_state()
    trainer = trl_trainer(other, tmp_path)
    torch.random.set_rng_state(state)
    length = max(map(len, found.prefixes))
    pads = [[0] * (length - len(p)) for p in found.prefixes]
    sizes = [len(w) for w in found.written]
    completions = [[*w, *[0] * (max(sizes) - len(w))] for w in found.written]
    prompts = [[*p, *ids] for p, ids in zip(pads, found.prefixes, strict=True)]
    real = [[0] * len(p) + [1] * (length - len(p)) for p in pads]
    inputs = {
        "prompt_ids": torch.tensor(prompts),
        "prompt_mask": torch.tensor(real),
        "completion_ids": torch.tensor(completions),
        "completion_mask": mask.long(),
        "advantages": found.advantages,
    }
    other.model.train()
    trainer.current_gradient_accumulation_steps = 1
    theirs = trainer.compute_loss(other.model, inputs)
    theirs.backward()
    torch.testing.assert_close(value, theirs, atol=1e-5, rtol=1e-4)
    for (name, p), q in zip(ours.model.named_parameters(), other.model.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, atol=1e-5, rtol=1e-3, msg=name)


def test_the_policy_gradient_by_hand():
    likelihoods = torch.tensor([[-1.0, -2.0, -3.0], [-0.5, -0.1, 0.0]], requires_grad=True)
    mask = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    loss = policy_loss(likelihoods, mask, torch.tensor([0.6, -1.0]))
    loss.backward()
    assert loss.item() == pytest.approx(0.2)
    torch.testing.assert_close(
        likelihoods.grad, torch.tensor([[-0.1, -0.1, -0.1], [0.5, 0.0, 0.0]])
    )


def test_student_and_teacher_stand_on_the_same_tokens(lm):
    found = rolled(lm, score_with_teacher(lm, PAIRS))
    raw, ids, mask = student_logits(lm, found)
    student = raw.log_softmax(-1)
    teacher, head = teacher_targets(lm, found)
    assert head is None
    assert teacher.shape == student.shape
    real = mask > 0
    for row, written in enumerate(found.written):
        assert ids[row][real[row]].tolist() == written
        plain = logits(lm, [*found.prefixes[row], *written])[-len(written) - 1 : -1]
        torch.testing.assert_close(student[row][real[row]].detach(), plain.log_softmax(-1))
    torch.testing.assert_close(teacher[real], student[real].detach(), atol=2e-5, rtol=1e-4)
    for kind in ("forward", "reverse", "jsd"):
        settings = DistillationSettings(divergence=kind)
        values, likelihoods = compare(teacher, None, raw.flatten(0, 1), ids.flatten(), settings)
        assert (values * mask.flatten()).abs().max().item() < 1e-4
        torch.testing.assert_close(
            likelihoods.view_as(ids), student.gather(-1, ids[..., None])[..., 0]
        )


def test_the_teacher_reads_its_lessons_context(lm):
    contexts = [lm.prompter.document(Document(t * 3, "T")) for t in ("Ada is in Oslo. ", "No. ")]
    examples = [
        score_with_teacher(lm, [pair], c)[0] for pair, c in zip(PAIRS, [*contexts, ()], strict=True)
    ]
    found = rolled(lm, examples, size=2)
    teacher, _ = teacher_targets(lm, found)
    for row, (prefix, written, example) in enumerate(
        zip(found.prefixes, found.written, found.examples, strict=True)
    ):
        full = [*prefix[:1], *example.context, *prefix[1:], *written]
        plain = logits(lm, full)[-len(written) - 1 : -1].log_softmax(-1)
        torch.testing.assert_close(teacher[row, : len(written)], plain, atol=2e-5, rtol=1e-4)
        assert not teacher[row, len(written) :].any()
    student, ids, mask = (x.detach() for x in student_logits(lm, found))
    values, _ = compare(teacher, None, student.flatten(0, 1), ids.flatten(), DistillationSettings())
    values = (values.view(mask.shape) * mask).sum() / mask.sum()
    student = student.log_softmax(-1)
    assert values > 0.01
    alone = sum(
        float((teacher[row, :n].exp() * (teacher[row, :n] - student[row, :n])).sum())
        for row, n in enumerate(map(len, found.written))
    )
    assert float(values) == pytest.approx(alone / sum(map(len, found.written)), rel=1e-3)
