import copy

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from expert_models import (
    FAMILIES,
    family_folder,
    family_model,
    fill,
    logits,
    make_memory,
    scratch_prompter,
)
from sleepgym import Budget, Document, Night, Question
from sleepgym.core.errors import BadSetting
from sleepgym.core.settings import build_config
from sleepgym_agents.experts import expert as experts_module
from sleepgym_agents.experts.activation import Activation
from sleepgym_agents.experts.expert import Expert, ExpertChain, added_by_all
from sleepgym_agents.lm.generation import generate
from sleepgym_agents.lm.model import LanguageModel, left_padded
from sleepgym_agents.sleep.seeding import Seeding

TEXTS = ["who is it?", "a much longer question about nothing at all", "bb"]
CONTEXT = "The sky is green on Tuesdays. " * 3
PLACE = (0, 0)


def prompts(lm, context=""):
    parts = [lm.prompter.encode(context)] if context else []
    return [lm.prompter.prompt(text, parts) for text in TEXTS]


def transformers_generate(lm, asked, tokens=6):
    """Transformers' own decoding of a padded batch with a cache: token ids and logits."""
    ids, real = left_padded(asked, "cpu")
    output = lm.model.generate(
        ids,
        attention_mask=real.long(),
        max_new_tokens=tokens,
        do_sample=False,
        pad_token_id=0,
        return_dict_in_generate=True,
        output_logits=True,
    )
    return output.sequences[:, ids.shape[1] :], torch.stack(output.logits, 1)


def everything(lm):
    """What a model says in every way in which it is asked; frozen, as experts leave it.

    Torch chooses other kernels for weights that could be trained, in the last bit different.
    """
    lm.model.requires_grad_(False)
    asked = prompts(lm)
    tokens, steps = transformers_generate(lm, asked)
    plain = torch.cat([logits(lm, ids) for ids in asked])
    ours = generate(lm, asked, 6), generate(lm, prompts(lm, CONTEXT), 6, temperature=1.0)
    return plain, tokens, steps, ours


def equal(one, two):
    return all(torch.equal(a, b) for a, b in zip(one[:3], two[:3], strict=True)) and (
        one[3] == two[3]
    )


@pytest.mark.parametrize("router", ["names", "keys", "gate", "always"])
def test_without_an_active_expert_nothing_changes(router):
    lm = LanguageModel.load("scratch", seed=3)
    bare = everything(lm)
    memory = make_memory(lm, router=router)
    assert equal(everything(lm), bare)  # before the first unlocking
    memory.unlock()
    texts = [lm.prompter.question(text) for text in TEXTS]
    memory.assign_entities(PLACE, [tuple(lm.prompter.encode("it"))], texts)
    assert equal(everything(lm), bare)  # unlocked, still zero
    fill(memory, PLACE)
    with memory.masked(PLACE):
        assert equal(everything(lm), bare)
    assert not equal(everything(lm), bare)
    memory.reset(PLACE)
    assert memory.unlocked == []
    assert equal(everything(lm), bare)


@pytest.mark.parametrize("family", FAMILIES)
def test_families_before_the_first_unlocking(family):
    lm = LanguageModel(family_model(family), scratch_prompter())
    bare = everything(lm)
    memory = make_memory(lm, router="always")
    assert equal(everything(lm), bare)
    fill(memory, memory.unlock())
    assert not equal(everything(lm), bare)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_night_of_seeding_in_every_family(family, tmp_path):
    values = {"samples": 2, "dream_tokens": 16, "epochs": 2, "rank": 4, "max_answer_tokens": 4}
    values |= {"confidence": 0.0, "rehearsals": 2, "on_policy_every": 2}
    values["router"] = "always"  # a random model is as sure of a name unread
    config = build_config(Seeding.Config, values, "seeding")
    agent = Seeding(config, seed=1, model=family_folder(family, tmp_path))
    base = [p.clone() for p in agent.lm.model.parameters()]
    agent.study([Document("Mira Tolwen was born in Oslo.", "Mira Tolwen")])
    agent.practice([Question("Where was Mira Tolwen born?")], ["Oslo"])
    log = agent.sleep(Night(1, Budget(), 0, agent.meter))
    assert log["steps"] == 2
    assert log["experts_unlocked"] == 1
    assert any(expert.down.any() for expert in agent.memory.experts(PLACE))
    learned = {id(p) for e in agent.memory.experts(PLACE) for p in e.parameters()}
    for p, before in zip(agent.lm.model.parameters(), base, strict=True):
        assert id(p) in learned or torch.equal(p, before)
    assert len(agent.answer([Question("Where was Mira Tolwen born?")])) == 1


def test_an_unknown_shape_is_one_clear_line():
    config = GPT2Config(vocab_size=261, n_positions=64, n_embd=32, n_layer=1, n_head=2)
    lm = LanguageModel(GPT2LMHeadModel(config), scratch_prompter())
    with pytest.raises(BadSetting, match=r"GPT2LMHeadModel.*Llama, Qwen, Gemma, Mistral") as error:
        make_memory(lm)
    assert "\n" not in str(error.value)
    lm = LanguageModel(family_model("llama"), scratch_prompter())
    lm.model.model.layers[1].mlp = torch.nn.Linear(32, 32)
    with pytest.raises(BadSetting, match="found Linear"):
        make_memory(lm)


def test_an_expert_by_hand():
    expert = Expert(2, 1, torch.Generator())
    with torch.no_grad():
        expert.gate.copy_(torch.tensor([[1.0, 0.0]]))
        expert.up.copy_(torch.tensor([[0.0, 3.0]]))
        expert.down.copy_(torch.tensor([[2.0], [-1.0]]))
        found = expert(torch.tensor([[1.0, 2.0]]))
    inner = 0.7310585786 * 6  # silu(1) = sigmoid(1)
    torch.testing.assert_close(found, torch.tensor([[2 * inner, -inner]]))


def test_a_chain_by_hand():
    """Experts of all levels add up; each, and the block, reads the input itself."""
    generator = torch.Generator().manual_seed(0)
    block = torch.nn.Linear(4, 4)
    experts = [Expert(4, 2, generator) for _ in range(3)]
    with torch.no_grad():
        for expert in experts:
            expert.down.normal_(generator=generator)
    one, two, slow = experts
    gates = {
        (1, 0): torch.tensor([[1.0, 1.0, 0.0]]),
        (0, 0): torch.tensor([[1.0, 0.0, 0.0]]),
        (0, 1): torch.tensor([[0.5, 1.0, 0.0]]),
    }
    chain = ExpertChain(block, 2, lambda x: Activation(gates))
    chain.levels[0].extend([one, two])
    chain.levels[1].append(slow)
    x = torch.randn(1, 3, 4, generator=generator)
    with torch.no_grad():
        first, second, third = x[0].split(1)
        z = first + one(first) + 0.5 * two(first)
        wanted = [block(first) + z + slow(first) - first]
        z = second + two(second)
        wanted.append(block(second) + z + slow(second) - second)
        wanted.append(block(third))
        torch.testing.assert_close(chain(x)[0], torch.cat(wanted))


def test_many_experts_each_at_its_own_tokens():
    generator = torch.Generator().manual_seed(0)
    experts = [Expert(4, 2, generator) for _ in range(5)]
    for expert in experts:
        torch.nn.init.normal_(expert.down, generator=generator)
    owners = torch.tensor([[0, 1, 2, 3], [4, 2, 5, 0]])  # 5 is none
    gates = {(0, i): (owners == i).float() for i in range(5)}
    gates[0, 3] = gates[0, 3] + 0.5 * (owners == 2)  # two know the same
    chain = ExpertChain(torch.nn.Identity(), 1, lambda x: Activation(gates))
    chain.levels[0].extend(experts)
    x = torch.randn(2, 4, 4, generator=generator)
    dense = x + sum(experts[i](x) * gates[0, i][..., None] for i in range(5))
    torch.testing.assert_close(chain(x), dense)
    assert torch.equal(chain(x)[1, 2], x[1, 2])


@pytest.mark.parametrize("most", [2**26, 50])
def test_one_wide_expert_adds_what_its_parts_do(monkeypatch, most):
    monkeypatch.setattr(experts_module, "MOST_INNER", most)  # 50: four tokens at once
    generator = torch.Generator().manual_seed(0)
    experts = [Expert(8, 4, generator) for _ in range(3)]
    for expert in experts:
        expert.down.data = torch.randn(8, 4, generator=generator)
    z = torch.randn(2, 5, 8, generator=generator)
    gates = [torch.randint(2, (2, 5), generator=generator).float() for _ in experts]
    wanted = sum(expert(z) * gate[..., None] for expert, gate in zip(experts, gates, strict=True))
    stacked = torch.stack(gates, -1).flatten(0, 1)
    assert torch.allclose(added_by_all(experts, stacked, z), wanted, atol=1e-5)


def test_slots_grow_and_are_used_again():
    memory = make_memory(slots=1, windows=(2,))
    assert [memory.unlock() for _ in range(4)] == [(0, 0), (0, 1), (0, 2), (0, 3)]
    assert memory.unlock(1) == (1, 0)
    first = copy.deepcopy(memory.experts((0, 1))[0].state_dict())
    fill(memory, (0, 1))
    memory.reset((0, 1))
    assert memory.unlocked == [(0, 0), (0, 2), (0, 3), (1, 0)]
    assert memory.unlock() == (0, 1)
    again = memory.experts((0, 1))[0].state_dict()
    assert all(torch.equal(again[name], first[name]) for name in first)
    others = make_memory(slots=8, windows=(2,))  # first weights do not depend on the allocation
    for expert_id in memory.unlocked:
        for mine, theirs in zip(memory.experts(expert_id), others.experts(expert_id), strict=True):
            assert torch.equal(mine.gate, theirs.gate)
    assert not torch.equal(memory.experts((0, 0))[0].gate, memory.experts((0, 1))[0].gate)
    assert not torch.equal(memory.experts((0, 0))[0].gate, memory.experts((0, 0))[1].gate)


@pytest.mark.parametrize(("router", "active"), [("names", 1), ("keys", 1), ("always", 3)])
def test_the_ledger_counts_parameters(router, active):
    memory = make_memory(router=router, windows=(2,), rank=4)
    bare = memory.lm.model.num_parameters() - sum(
        p.numel() for n, p in memory.lm.model.named_parameters() if ".levels." in n
    )
    one = 2 * 3 * 96 * 4  # layers, matrices, width, rank
    assert (memory.lm.parameters, memory.parameters) == (bare, 0)
    assert memory.ledger()["parameters_active"] == 0
    for level in (0, 0, 1):
        memory.unlock(level)
    assert memory.expert_parameters == one
    assert memory.ledger() == {
        "experts_unlocked": 3.0,
        "parameters_unlocked": 3.0 * one,
        "parameters_active": float(active * one),
        "experts_level_1": 2.0,
        "experts_level_2": 1.0,
    }
    assert memory.lm.parameters == bare + active * one


def test_experts_start_above_the_first_layers():
    memory = make_memory(LanguageModel(family_model("llama"), scratch_prompter()), first_layer=0.34)
    layers = memory.lm.model.model.layers
    assert [isinstance(layer.mlp, ExpertChain) for layer in layers] == [False, True, True]


def test_a_forced_expert_is_active_where_any_would_be():
    memory = make_memory(router="names")
    lm = memory.lm
    for _ in range(2):
        memory.unlock()
    memory.assign_entities(PLACE, [tuple(lm.prompter.encode("Ada"))], [])
    fill(memory, PLACE, 1)
    fill(memory, (0, 1), 2)
    ids = lm.prompter.prompt("who is Ada to you?")
    begun = len(lm.prompter.prompt("who is Ada")) - 2  # before the answer's marker, the last letter
    bare = make_memory().lm
    with memory.force_active((0, 1)):
        both = logits(lm, ids)
        with memory.masked(PLACE, (0, 1)):
            free = logits(lm, ids)
    one = logits(lm, ids)
    with memory.masked(PLACE):
        assert torch.equal(logits(lm, ids), logits(bare, ids))
    for found in (both, free, one):
        assert torch.equal(found[:begun], logits(bare, ids)[:begun])
        assert not torch.equal(found[begun], logits(bare, ids)[begun])
    assert not torch.equal(both, one)
    assert not torch.equal(both, free)
