import math
from collections import Counter

import pytest
import torch

from sleepgym import Budget, Document, Night, Question
from sleepgym.core.errors import BadSetting
from sleepgym.core.settings import build_config
from sleepgym_agents.baselines.other import sparse_memory
from sleepgym_agents.baselines.other.memory_layer import HALF, MemoryLayer
from sleepgym_agents.baselines.other.sparse_memory import (
    SparseMemory,
    best_slots,
    slot_scores,
)
from sleepgym_agents.lm.checkpoints import named_weights
from sleepgym_agents.lm.model import LanguageModel

DOCUMENT = Document("Mira Tolwen was born in Oslo. She repairs old clocks.", "Mira Tolwen")
OTHER = Document("Ben Arruda keeps forty bees.", "Ben Arruda")
QUICK = {
    **{"epochs": 2, "birth_sequences": 3, "side": 8, "heads": 2, "reads": 2, "night_slots": 5},
    **{"layers": 2, "max_answer_tokens": 8},
}


@pytest.fixture(autouse=True)
def short_background(monkeypatch):
    monkeypatch.setattr(sparse_memory, "BACKGROUND_TOKENS", 24)


def make(**values):
    config = build_config(SparseMemory.Config, {**QUICK, **values}, "test")
    return SparseMemory(config, seed=1, model="scratch")


def night(agent, number=1, **limits):
    return Night(number, Budget(**limits), 3, agent.meter)


def tables(agent):
    return [memory.values.clone() for memory in agent.memories]


def memory(side=6, heads=2, reads=3):
    return MemoryLayer(10, side, heads, reads, torch.Generator().manual_seed(0))


def test_product_keys_find_what_a_search_over_all_slots_finds():
    layer = memory()
    x = torch.randn(7, 10, generator=torch.Generator().manual_seed(1))
    raw = layer.queries(x)
    layer.fit(raw)
    slots, weights = layer.lookup(raw)
    query = ((raw - raw.mean(0)) / raw.std(0, correction=0)).flatten(2)  # (tokens, heads, both)
    for token in range(7):
        for head in range(2):
            first, second = layer.keys[head]
            keys = torch.stack([torch.cat([a, b]) for a in first for b in second])
            top = (keys @ query[token, head]).topk(3)
            assert slots[token, head].tolist() == top.indices.tolist()
            torch.testing.assert_close(weights[token, head], top.values.softmax(0))
    layer.values.copy_(torch.randn(36, 10, generator=torch.Generator().manual_seed(2)))
    out = layer(x[None])[0]
    by_hand = (layer.values[slots] * weights[..., None]).sum((1, 2))
    torch.testing.assert_close(out, by_hand)
    assert layer.count(raw).tolist() == torch.bincount(slots.flatten(), minlength=36).tolist()
    assert layer.passed_parameters == 2 * 2 * HALF * 10 + 2 * 2 * 6 * HALF + 2 * 3 * 10


def test_scores_are_the_share_of_reads_times_rarity_in_the_background():
    counts = torch.tensor([6, 3, 0, 1, 0])
    background = torch.tensor([3, 1, 0, 0, 2])  # of 3 texts
    by_hand = [0.6 * math.log(4 / 4), 0.3 * math.log(4 / 2), 0.0, 0.1 * math.log(4 / 1), 0.0]
    scores = slot_scores(counts, background, 3)
    assert scores.tolist() == pytest.approx(by_hand)
    assert best_slots(scores, 1).tolist() == [1]
    assert best_slots(scores, 5).tolist() == [1, 3]  # read everywhere, or never: not worth a slot
    assert best_slots(torch.tensor([1.0, 2.0, 1.0, 1.0]), 2).tolist() == [0, 1]


def test_only_chosen_slots_change_and_nothing_else(tmp_path):
    agent = make()
    base = {n: p.clone() for n, p in named_weights(agent.lm.model).items()}
    chosen = []
    for number, document in enumerate((DOCUMENT, OTHER), 1):
        before = tables(agent)
        agent.study([document])
        real = agent._choose
        agent._choose = lambda *a, real=real: chosen.append(real(*a)) or chosen[-1]
        log = agent.sleep(night(agent, number))
        agent._choose = real
        for old, new, slots in zip(before, tables(agent), chosen[-1], strict=True):
            changed = (old != new).any(1).nonzero()[:, 0]
            assert changed.tolist() == slots.tolist()
            assert 0 < len(slots) <= 5
        assert log["slots"] == sum(map(len, chosen[-1]))
    assert chosen[0][0].tolist() != chosen[1][0].tolist()
    after = named_weights(agent.lm.model)
    assert after.keys() == base.keys()
    assert all(torch.equal(after[n], p) for n, p in base.items() if not n.endswith(".values"))
    for trained, first, second in zip(agent.trained, *chosen, strict=True):
        assert trained.nonzero()[:, 0].tolist() == sorted({*first.tolist(), *second.tolist()})


def test_a_night_trains_the_slots_that_scores_by_hand_put_first():
    agent = make()
    agent.study([DOCUMENT])
    agent.sleep(night(agent))
    first = agent.memories[0]  # what it reads does not depend on what was trained
    first.seen = []
    agent.lm.read([[*agent.lm.prompter.start, *agent.lm.prompter.document(DOCUMENT)]])
    counts = Counter(first.lookup(first.seen[0])[0].flatten().tolist())
    common = agent.background[0].tolist()
    assert max(common) == 3  # of 3 sampled texts
    scores = {
        slot: count / sum(counts.values()) * math.log(4 / (common[slot] + 1))
        for slot, count in counts.items()
    }
    worth = [slot for slot in scores if scores[slot] > 0]
    best = sorted(worth, key=lambda slot: (-scores[slot], slot))[:5]
    assert agent.trained[0].nonzero()[:, 0].tolist() == sorted(best)


def test_a_new_memory_adds_nothing_and_then_it_learns():
    agent = make(epochs=30, night_slots=64, learning_rate=0.1, context_tokens=0)
    ids = torch.tensor([[*agent.lm.prompter.start, *agent.lm.prompter.document(DOCUMENT)]])
    with torch.no_grad():
        bare = LanguageModel.load("scratch", seed=1).model(ids, labels=ids)
        own = agent.lm.model(ids, labels=ids)
    assert torch.equal(bare.logits, own.logits)
    assert agent.added_parameters == 0
    agent.study([DOCUMENT])
    log = agent.sleep(night(agent))
    assert log["loss"] < own.loss - 1
    each = 96 * 2 * 2 * HALF + 2 * 2 * 8 * HALF + 64 * 96  # projection, sub-keys, values
    assert agent.added_parameters == 2 * each


def test_the_state_is_the_trained_slots_and_the_background(tmp_path):
    agent = make()
    agent.study([DOCUMENT])
    agent.sleep(night(agent))
    agent.save(tmp_path)
    fresh = make()
    fresh.load(tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(tables(agent), tables(fresh), strict=True))
    for one in (agent, fresh):  # the background is not sampled again
        one.study([OTHER])
        before = one.meter.generated_tokens
        one.sleep(night(one, 2))
        assert one.meter.generated_tokens == before
    assert all(torch.equal(a, b) for a, b in zip(tables(agent), tables(fresh), strict=True))
    agent.save(tmp_path)
    written = (tmp_path / "memory.safetensors").read_bytes()
    fresh.save(tmp_path)
    assert (tmp_path / "memory.safetensors").read_bytes() == written
    question = [Question("Where was Mira Tolwen born?")]
    assert agent.answer(question) == fresh.answer(question)


def test_budget_and_bad_settings():
    agent = make()
    agent.study([DOCUMENT])
    assert agent.sleep(night(agent, night_generated_tokens=10))["stopped_by_budget"] == 1.0
    assert agent.added_parameters == 0
    agent.study([DOCUMENT])
    tonight = night(agent, night_train_tokens=80)
    assert agent.sleep(tonight)["stopped_by_budget"] == 1.0
    assert not tonight.budget.exceeded_by(tonight.spent())
    assert len(make(layers=3).memories) == 2  # all that the model has
    with pytest.raises(BadSetting, match=r"reads=9: set it to side=8 or less"):
        make(reads=9)
