"""Adapters of ours: merged into the same files, byte by byte, whatever machine merges them."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from families import tiny, write
from sleepgym.core.errors import MissingData
from sleepgym.runs.models.base_model import model_digest
from sleepgym_agents.models import adapters
from sleepgym_agents.models.adapters import merge_adapter

RANK, OUT, IN = 16, 70, 90
LAYER = "model.layers.0.mlp.down_proj"


@pytest.fixture
def own(tmp_path, monkeypatch):
    """An adapter of random bfloat16 factors, and a base of one layer in float32."""
    monkeypatch.setattr(adapters, "ADAPTERS", tmp_path / "adapters")
    folder, base = tmp_path / "adapters" / "reader", tmp_path / "base"
    folder.mkdir(parents=True)
    base.mkdir()
    random = torch.Generator().manual_seed(0)
    up, down = (torch.randn(s, generator=random).bfloat16() for s in ((OUT, RANK), (RANK, IN)))
    lora = {f"{LAYER}.lora_A.default.weight": down, f"{LAYER}.lora_B.default.weight": up}
    save_file(lora, folder / "adapter.safetensors")
    weight = torch.randn((OUT, IN), generator=random)
    save_file({f"{LAYER}.weight": weight}, base / "model.safetensors")
    (folder / "card.json").write_text(json.dumps({"rank": RANK, "alpha": 2 * RANK}))
    (folder / "prompt.json").write_text("{}")
    return folder


def _merged(tmp_path, name="merged", **options):
    merge_adapter(tmp_path / "base", "reader", tmp_path / name, **options)
    return tmp_path / name


def test_sums_are_those_of_whole_numbers_rounded_once(own, tmp_path):
    lora = load_file(own / "adapter.safetensors")
    base = load_file(tmp_path / "base" / adapters.WEIGHTS)
    down, up = lora[f"{LAYER}.lora_A.default.weight"], lora[f"{LAYER}.lora_B.default.weight"]
    one = 1 << 60  # of a unit: every factor and every weight is a whole number of 1 / one
    found = load_file(_merged(tmp_path) / adapters.WEIGHTS)[f"{LAYER}.weight"]
    for i in range(0, OUT, 7):
        for j in range(0, IN, 7):
            rows = zip(up[i].tolist(), down[:, j].tolist(), strict=True)
            total = sum(int(u * one) * int(d * one) for u, d in rows) * 2
            total += int(base[f"{LAYER}.weight"][i, j].item() * one) * one
            assert found[i, j].item() == torch.tensor(total / one**2, dtype=torch.float32).item()


def test_threads_and_the_order_of_the_sum_change_no_byte(own, tmp_path):
    threads = torch.get_num_threads()
    try:
        digests = set()
        for count in (1, 2):
            torch.set_num_threads(count)
            digests.add(model_digest(str(_merged(tmp_path))))
    finally:
        torch.set_num_threads(threads)
    lora = load_file(own / "adapter.safetensors")
    order = torch.arange(RANK - 1, -1, -1)
    turned = {n: t[order] if "lora_A" in n else t[:, order].contiguous() for n, t in lora.items()}
    save_file(turned, own / "adapter.safetensors")
    digests.add(model_digest(str(_merged(tmp_path))))
    assert len(digests) == 1


@pytest.mark.parametrize("part", range(6))
def test_factors_of_the_reader_are_such_that_sums_are_exact(part):
    file = adapters.__file__.replace("adapters.py", "smollm2-reader/adapter.safetensors")
    lora = load_file(file)
    assert {tensor.dtype for tensor in lora.values()} == {torch.bfloat16}
    names = sorted(name for name in lora if "lora_A" in name)
    for name in names[part::42]:
        down, up = lora[name].double(), lora[name.replace("lora_A", "lora_B")].double()
        turned = torch.zeros(up.shape[0], down.shape[1], dtype=torch.float64)
        for r in reversed(range(down.shape[0])):
            turned += torch.outer(up[:, r], down[r])
        assert torch.equal(up @ down, turned), name


def test_files_of_the_adapter_stand_in_the_place_of_the_bases(own, tmp_path):
    write(tiny("llama"), tmp_path / "tiny")
    shutil.copyfile(tmp_path / "tiny" / "tokenizer.json", tmp_path / "base" / "tokenizer.json")
    words = json.loads((tmp_path / "base" / "tokenizer.json").read_text(encoding="utf-8"))
    kept = {**words, "model": {**words["model"], "vocab": {}, "merges": []}}
    (own / "files").mkdir()
    (own / "files" / "tokenizer.json").write_text(json.dumps(kept))
    (own / "files" / "config.json").write_text('{"transformers_version": "5"}')
    digests = set()
    for version, normalizer in (("6", None), ("7", {"type": "Sequence", "normalizers": []})):
        config = f'{{"transformers_version": "{version}"}}'
        (tmp_path / "base" / "config.json").write_text(config)
        other = json.dumps({**words, "normalizer": normalizer})
        (tmp_path / "base" / "tokenizer.json").write_text(other)
        folder = _merged(tmp_path)
        assert (folder / "config.json").read_text() == '{"transformers_version": "5"}'
        assert json.loads((folder / "tokenizer.json").read_text(encoding="utf-8")) == words
        digests.add(model_digest(str(folder)))
    assert len(digests) == 1


def test_a_model_that_comes_out_otherwise_is_not_kept(own, tmp_path):
    digest = model_digest(str(_merged(tmp_path)))
    assert digest
    assert _merged(tmp_path, "again", digest=digest).is_dir()
    base = tmp_path / "base" / adapters.WEIGHTS
    save_file({n: t.bfloat16().float() for n, t in load_file(base).items()}, base)  # as of a hub
    with pytest.raises(MissingData, match=f"must be {digest:.12}: fetch base with --source index"):
        _merged(tmp_path, "other", digest=digest)
    assert not (tmp_path / "other").exists()
