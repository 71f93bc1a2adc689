"""Tiny random models of many families, their files, and a tokenizer to go with them."""

from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from sleepgym_agents.lm.scratch import byte_tokenizer

VOCABULARY = 261
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 512,
    "initializer_range": 0.3,  # large enough for a difference in attention to show
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GPT2 = {
    "vocab_size": VOCABULARY,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 512,
    "initializer_range": 0.3,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
WINDOW = {"sliding_window": 256}
READ = {
    "llama": SIZES,
    "qwen2": SIZES,
    "qwen3": SIZES,
    "gemma2": {**SIZES, **WINDOW},
    "gemma3_text": {**SIZES, **WINDOW},
    "mistral": {**SIZES, **WINDOW},
    "mixtral": {**SIZES, **WINDOW, "num_local_experts": 2},
    "cohere2": {**SIZES, **WINDOW},
    "phi": SIZES,
    "phi3": SIZES,
    "gpt2": GPT2,
    "gpt_neox": SIZES,
    "olmo": SIZES,
    "olmo2": SIZES,
    "olmo3": {**SIZES, **WINDOW},
    "starcoder2": {**SIZES, **WINDOW},
    "smollm3": SIZES,
    "granite": SIZES,
    "opt": {**SIZES, "ffn_dim": 48, "word_embed_proj_dim": 32},
    "qwen3_moe": {
        **SIZES,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 16,
    },
}


def tiny(kind: str, **settings):
    """A random model of a family, the same each time."""
    config = AutoConfig.for_model(kind, **{**READ.get(kind, SIZES), **settings})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(config).eval()


def write(model, folder: Path) -> str:
    """A model's folder with its tokenizer; its name."""
    model.save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return str(folder)
