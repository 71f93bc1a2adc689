"""Many families are read rightly, or refused in one line when they are loaded."""

import pytest
import torch

from families import READ, SIZES, tiny, write
from sleepgym import Document, Night
from sleepgym.core.budget import Budget
from sleepgym.core.errors import BadSetting, MissingData
from sleepgym_agents.baselines.finetuning.lora_per_day import LoraPerDay
from sleepgym_agents.baselines.finetuning.o_lora import OLora
from sleepgym_agents.experts.expert import feed_forward_blocks
from sleepgym_agents.lm.lora import temporary_lora
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.lm.prompts import Prompter
from sleepgym_agents.lm.reading_check import check_reading
from sleepgym_agents.lm.scratch import SCRATCH_FORMAT, byte_tokenizer

REFUSED = {
    "gpt_neo": {
        "num_layers": 2,
        "num_heads": 4,
        "window_size": 30,
        "attention_types": [[["global", "local"], 1]],
    },
    "bloom": {"n_layer": 2, "n_head": 4},
    "mamba": {},
    "lfm2": {"num_hidden_layers": 3, "layer_types": ["conv", "full_attention", "conv"]},
    "qwen3_5_text": {},
    "gpt_oss": {"num_local_experts": 4, "num_experts_per_tok": 2},
    "stablelm": {},  # does not pass the segments on
    "falcon_h1": {"mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_state": 4},
    "deepseek_v2": {
        "num_key_value_heads": 4,
        "head_dim": 8,
        "q_lora_rank": None,
        "kv_lora_rank": 16,
        "qk_rope_head_dim": 8,
        "qk_nope_head_dim": 8,
        "v_head_dim": 12,
        "n_routed_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 16,
        "n_group": 1,
        "topk_group": 1,
    },
}


@pytest.fixture(scope="module")
def prompter():
    return Prompter(SCRATCH_FORMAT, byte_tokenizer())


def sunk(model):
    """Attention sinks that take their share of every row, if the family has some."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith("sinks"):
                p.fill_(2.0)
    return model


@pytest.mark.parametrize("kind", READ)
def test_reading_by_segments_equals_the_plain_forward_pass(kind, prompter):
    lm = LanguageModel(tiny(kind), prompter)
    check_reading(lm, kind)
    ids = [list(range(5, 60)), list(range(10, 40))]
    common = list(range(200, 240))
    with torch.no_grad():
        wanted = [lm.model(torch.tensor([common + own])).logits[0, -1] for own in ids]
    segment, _, _ = lm.read([common])
    *_, found = lm.read(ids, [segment], len(common))
    torch.testing.assert_close(found[:, -1], torch.stack(wanted), atol=2e-3, rtol=2e-3)


WINDOWS = {
    "gemma2": {"sliding_window": 30},
    "qwen2": {"use_sliding_window": True, "sliding_window": 30, "max_window_layers": 1},
    "llama4_text": {
        "attention_chunk_size": 30,
        "num_local_experts": 2,
        "intermediate_size_mlp": 48,
    },
    "phi3": {
        "original_max_position_embeddings": 30,
        "rope_parameters": {
            "rope_type": "longrope",
            "rope_theta": 10_000.0,
            "short_factor": [1.0] * 4,
            "long_factor": [4.0] * 4,
        },
    },
}


@pytest.mark.parametrize("kind", WINDOWS)
def test_no_more_is_read_than_is_seen_alike(kind, prompter):
    lm = LanguageModel(tiny(kind, **{**SIZES, **WINDOWS[kind]}), prompter)
    check_reading(lm, kind)
    assert lm.max_tokens == 30
    ids = list(range(20, 50))
    with torch.no_grad():
        wanted = lm.model(torch.tensor([ids])).logits[0, -1]
    segment, _, _ = lm.read([ids[:12]])
    *_, found = lm.read([ids[12:]], [segment], 12)
    torch.testing.assert_close(found[0, -1], wanted, atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("kind", REFUSED)
def test_what_would_be_read_wrongly_is_refused(kind, prompter):
    lm = LanguageModel(sunk(tiny(kind, **{**SIZES, **REFUSED[kind]})), prompter)
    with pytest.raises(MissingData, match=f"model '{kind}'.*(not supported|cannot read)") as caught:
        check_reading(lm, kind)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["gpt2", "qwen3_moe", "llama"])
def test_an_adapter_is_merged_in_every_kind_of_layer(kind, prompter):
    lm = LanguageModel(tiny(kind), prompter)
    ids = torch.tensor([[5, 6, 7, 8, 9]])
    with torch.no_grad():
        bare = lm.model(ids).logits
        with temporary_lora(lm, 2, 4.0, 0, merge=True):
            for name, p in lm.model.named_parameters():
                if "lora_B" in name:
                    p.normal_()
            adapted = lm.model(ids).logits
        merged = lm.model(ids).logits
    assert float((adapted - bare).abs().max()) > 0.1
    torch.testing.assert_close(merged, adapted, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("kind", ["gpt2", "opt", "phi", "gpt_neox", "qwen3_moe"])
def test_experts_refuse_families_without_a_gated_mlp(kind):
    with pytest.raises(BadSetting, match="experts need layers with an `mlp`"):
        list(feed_forward_blocks(tiny(kind)))


@pytest.mark.parametrize("kind", ["gpt2", "qwen3_moe"])
@pytest.mark.parametrize("agent", [LoraPerDay, OLora])
def test_adapters_of_every_night_act_again_after_loading(agent, kind, tmp_path):
    name = write(tiny(kind), tmp_path / "model")
    config = agent.Config(rank=1, epochs=1, max_answer_tokens=8)
    lived = agent(config, model=name)
    for night in range(2):
        lived.study([Document(f"The sky is green on day {night}.")])
        slept = lived.sleep(Night(night + 1, Budget(), 7, lived.meter))
        assert slept["adapters"] == night + 1
    (tmp_path / "state").mkdir()
    lived.save(tmp_path / "state")
    loaded = agent(config, model=name)
    bare = loaded.lm.model(torch.tensor([[5, 6, 7]])).logits
    loaded.load(tmp_path / "state")
    told, again = (a.lm.model(torch.tensor([[5, 6, 7]])).logits for a in (lived, loaded))
    assert torch.equal(told, again)
    assert not torch.equal(bare, again)
