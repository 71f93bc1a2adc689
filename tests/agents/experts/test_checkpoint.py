import json

import pytest
import torch

from expert_models import asked, logits, make_memory, two_experts
from sleepgym.core.errors import BadRun
from sleepgym_agents.experts.checkpoint import load_memory, save_memory
from sleepgym_agents.experts.expert import pack, unpack


def saved(memory, folder):
    folder.mkdir()
    save_memory(memory, folder)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("router", ["names", "keys", "gate", "always"])
def test_what_is_saved_comes_back(router, tmp_path):
    memory = two_experts(router)
    if router == "names":
        memory.router.assign((0, 0), [tuple(range(5, 205)) * 2])
    before = saved(memory, tmp_path / "a")
    extra = {
        "always": [],
        "names": ["names"],
        "auto": ["names"],
        "keys": ["keys"],
        "gate": ["keys"],
    }[router]
    kinds = {"memory.json", "experts.safetensors", *(f"{name}.safetensors" for name in extra)}
    assert set(before) == kinds
    assert len(before["experts.safetensors"]) - 2 * memory.parameters in range(1500)
    fresh = make_memory(router=router, key_cosine=0.9, slots=1)
    load_memory(fresh, tmp_path / "a")
    assert fresh.unlocked == memory.unlocked
    assert fresh.lm.parameters == memory.lm.parameters
    assert saved(fresh, tmp_path / "b") == before
    for ids in asked(memory.lm):
        assert torch.equal(logits(fresh.lm, ids), logits(memory.lm, ids))
    empty = make_memory(router=router)
    assert saved(empty, tmp_path / "c") == {}
    load_memory(empty, tmp_path / "c")
    assert empty.unlocked == []


@pytest.mark.parametrize("router", ["names", "keys", "gate"])
def test_damaged_files_are_told(router, tmp_path):
    files = saved(two_experts(router), tmp_path / "whole")
    table = "names.safetensors" if router == "names" else "keys.safetensors"
    no_level = json.dumps({"unlocked": [[7, 0]]}).encode()
    damaged = [
        {"memory.json": b"{"},
        {"memory.json": b"{}"},
        {"memory.json": no_level},
        {"experts.safetensors": files["experts.safetensors"][:-9]},
        {"experts.safetensors": files[table]},
        {table: files[table][:-1]},
        {table: files["experts.safetensors"]},
        {table: None},
    ]
    for i, change in enumerate(damaged):
        folder = tmp_path / str(i)
        folder.mkdir()
        for name, content in (files | change).items():
            if content is not None:
                (folder / name).write_bytes(content)
        with pytest.raises(BadRun):
            load_memory(make_memory(router=router), folder)
    with pytest.raises(BadRun, match="not the expert memory of this model"):
        load_memory(make_memory(router=router, rank=5), tmp_path / "whole")


def test_weights_of_one_byte_are_used_as_they_are_saved(tmp_path):
    memory = make_memory(expert_dtype="float8")
    expert_id = memory.unlock()
    generator = torch.Generator().manual_seed(0)
    with memory.training(expert_id) as parameters, torch.no_grad():
        drawn = [
            p.normal_(std=10.0**-i, generator=generator).clone() for i, p in enumerate(parameters)
        ]
    for parameter, before in zip(parameters, drawn, strict=True):
        assert 0 < (parameter - before).norm() < 0.04 * before.norm()
    files = saved(memory, tmp_path / "a")
    assert len(files["experts.safetensors"]) - memory.parameters in range(1500)
    fresh = make_memory(expert_dtype="float8")
    load_memory(fresh, tmp_path / "a")
    for expert, other in zip(memory.experts(expert_id), fresh.experts(expert_id), strict=True):
        for name, weight in expert.named_parameters():
            assert torch.equal(weight, other.get_parameter(name))
    assert saved(fresh, tmp_path / "b") == files


@pytest.mark.parametrize("dtype", ["bfloat16", "float8"])
def test_experts_are_packed_together_as_each_alone(dtype):
    memory = make_memory(expert_dtype=dtype)
    generator = torch.Generator().manual_seed(0)
    ids = [memory.unlock() for _ in range(3)]
    experts = [memory.experts(expert_id)[0] for expert_id in ids]
    for i, expert in enumerate(experts):
        for parameter in expert.parameters():
            parameter.data.normal_(std=10.0**-i, generator=generator)
    together = pack(experts, dtype)
    for expert, kept in zip(experts, together, strict=True):
        alone = expert.packed(dtype)
        assert {n: t.float().tolist() for n, t in kept.items()} == {
            n: t.float().tolist() for n, t in alone.items()
        }
    unpack(experts[::-1], together)
    for expert, kept in zip(experts[::-1], together, strict=True):
        found = [p.clone() for p in expert.parameters()]
        expert.unpack(kept)
        assert all(torch.equal(a, b) for a, b in zip(found, expert.parameters(), strict=True))
    assert not torch.equal(experts[0].gate, experts[1].gate)
