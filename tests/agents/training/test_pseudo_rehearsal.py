"""Generative rehearsal: the evening's self is held, and no text survives the night."""

import re

import numpy as np
import pytest
import torch

from sleepgym import Budget, Document, Night, Question
from sleepgym.core.env import make_env
from sleepgym.core.types import Phase
from sleepgym.runs.state import sizes_by_kind
from sleepgym_agents.baselines.finetuning.self_replay import SelfReplay, SelfReplaySettings
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.lm.prompts import PromptFormat
from sleepgym_agents.training.optimise import Example, collate, cross_entropy
from sleepgym_agents.training.pseudo_rehearsal import (
    RehearsalSettings,
    collate_mixed,
    filter_confident,
    mix,
    rehearsing,
    sample_rehearsal,
    seed_prompts,
)

FEW = RehearsalSettings(rehearsed=6, rehearsed_tokens=12)
QUICK = {"epochs": 2, "max_answer_tokens": 8, "rehearsed": 6, "rehearsed_tokens": 12}


@pytest.fixture
def lm():
    return LanguageModel.load("scratch", seed=4)


def make(**values):
    return SelfReplay(SelfReplaySettings(**{**QUICK, **values}), seed=3, model="scratch")


def night(agent, number=1, **limits):
    return Night(number, Budget(**limits), 0, agent.meter)


def wake(agent):
    agent.study([Document("Mira Tolwen was born in Oslo.", "Mira Tolwen")])
    agent.practice([Question("how is the weather")], ["weather"])


def test_no_raw_text_in_the_saved_state(tmp_path):
    agent = make()
    wake(agent)
    agent.sleep(night(agent))
    agent.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["weights.safetensors"]
    assert sizes_by_kind(tmp_path)["text"] < 400  # the names of the file and its tensors
    saved = (tmp_path / "weights.safetensors").read_bytes()
    assert not [word for word in (b"Tolwen", b"Oslo", b"weather") if word in saved]
    assert not agent.day
    assert not agent.parts


def test_sequences_begin_with_a_question_or_a_document(lm):
    texts = [lm.prompter.tokenizer.decode(ids) for ids in seed_prompts(lm.prompter)]
    assert texts == ["<bos><q>", "<bos>"]
    lm.prompter.format = PromptFormat("<bos>", "<doc>{title}", "<q>{text}<a>", dream="<dream>")
    texts = [lm.prompter.tokenizer.decode(ids) for ids in seed_prompts(lm.prompter)]
    assert texts == ["<bos><dream><q>", "<bos><doc>"]


def test_only_what_the_model_believes_is_rehearsed():
    lm = LanguageModel.load("embedded")
    world = make_env("sleepgym/Almanac-v0", days=1).unwrapped
    world.reset(seed=0)
    exam = next(step for step in world.steps if step.phase is Phase.EXAM)
    known = [item for item in exam.items if item.kind == "base"][:6]
    true = [(item.question.text, world.stream.key[item.id][0]) for item in known]
    false = [(question, true[i - 1][1]) for i, (question, _) in enumerate(true)]
    assert all(one != other for one, other in zip(true, false, strict=True))
    prompter = lm.prompter
    said = [
        Example.joined(
            (prompter.start, 0.0),
            *((ids, 1.0) for q, a in pairs for ids in (prompter.question(q), prompter.answer(a))),
        )
        for pairs in (true, false)
    ]
    packed = filter_confident(lm, said, np.random.default_rng(0), 64)
    texts = [prompter.tokenizer.decode(pack_sequences.ids) for pack_sequences in packed]
    assert max(len(pack_sequences.ids) for pack_sequences in packed) <= 64 + len(prompter.start)
    rehearsed_ids = [
        pair for text in texts for pair in re.findall(r"<q> ?(.+?)<a> ?(.+?)<end>", text)
    ]
    assert sorted(rehearsed_ids) == sorted(true)
    assert all(
        pack_sequences.weights == (0.0, *[1.0] * (len(pack_sequences.ids) - 1))
        for pack_sequences in packed
    )


def test_a_model_that_believes_nothing_rehearses_what_it_said(lm):
    episode_items = sample_rehearsal(lm, FEW, night(lm))
    assert len(episode_items) == FEW.rehearsed
    opening = tuple(seed_prompts(lm.prompter)[0])
    assert all(
        verbatim_example.example.ids[: len(opening)] == opening
        for verbatim_example in episode_items
    )


def test_targets_are_the_evenings_log_probabilities(lm):
    for verbatim_example in sample_rehearsal(lm, FEW, night(lm)):
        with torch.no_grad():
            logits = lm.model(torch.tensor([verbatim_example.example.ids])).logits[0, :-1]
        logits = logits[torch.tensor(verbatim_example.example.weights[1:]) > 0]
        torch.testing.assert_close(
            verbatim_example.targets, logits.log_softmax(-1), atol=1e-5, rtol=1e-5
        )


def test_the_loss_is_cross_entropy_plus_mean_divergence(lm):
    episode_items = sample_rehearsal(lm, FEW, night(lm))
    new = [Example.joined((lm.prompter.prompt("what"), 0.0), (lm.prompter.answer("this"), 1.0))]
    batch = collate_mixed((new, episode_items), lm.device)
    assert batch.tokens == sum(len(e.ids) for e in [*new, *(r.example for r in episode_items)])
    plain = cross_entropy(lm.model, collate(new, lm.device))
    torch.testing.assert_close(rehearsing(3.0)(lm.model, batch), plain, atol=1e-5, rtol=0)

    with torch.no_grad():
        for parameter in lm.model.parameters():
            parameter.mul_(1.1)
    values = []
    for verbatim_example in episode_items:  # one sequence and token at a time
        ids = verbatim_example.example.ids
        with torch.no_grad():
            logits = lm.model(torch.tensor([ids])).logits[0]
        counted = [at for at in range(1, len(ids)) if verbatim_example.example.weights[at]]
        for target, at in zip(verbatim_example.targets, counted, strict=True):
            p, q = target.exp(), logits[at - 1].softmax(-1)
            values.append((p * (p.log() - q.log())).sum())
    wanted = cross_entropy(lm.model, collate(new, lm.device)) + 3.0 * torch.stack(values).mean()
    torch.testing.assert_close(rehearsing(3.0)(lm.model, batch), wanted, atol=1e-4, rtol=1e-4)
    assert torch.stack(values).mean() > 0.01


def test_every_recital_is_used_before_one_is_used_again(lm):
    episode_items = sample_rehearsal(lm, FEW, night(lm))
    mixed = mix([[], [], [], []], episode_items, 3, np.random.default_rng(0))
    used = [id(verbatim_example) for _, step in mixed for verbatim_example in step]
    assert [len(step) for _, step in mixed] == [3] * 4
    assert len(set(used[:6])) == len(set(used[6:])) == 6


def test_rehearsal_keeps_what_the_model_would_have_said():
    kept = {}
    for weight in (1e-6, 10.0):
        agent = make(rehearsal_weight=weight, epochs=20, learning_rate=3e-3, rehearsed=12)
        held = sample_rehearsal(agent.lm, FEW, night(agent, 9))  # others than those rehearsed
        wake(agent)
        agent.sleep(night(agent))
        batch = collate_mixed(([Example((1, 2), (0.0, 1.0))], held), agent.lm.device)
        with torch.no_grad():
            mixed = rehearsing(1.0)(agent.lm.model, batch)
            kept[weight] = float(mixed - cross_entropy(agent.lm.model, batch.new))
    assert kept[10.0] < 0.5 * kept[1e-6]


def test_without_budget_for_rehearsal_nothing_is_trained():
    agent = make()
    wake(agent)
    log = agent.sleep(night(agent, night_generated_tokens=10))
    assert log == {"steps": 0.0, "stopped_by_budget": 1.0}
    assert not agent.weights.learned
