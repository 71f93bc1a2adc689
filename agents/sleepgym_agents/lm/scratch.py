"""A small random model with a byte-level tokenizer: for tests, demos and training from nothing."""

from __future__ import annotations

from typing import Any

from sleepgym.core.rng import derive_seed
from sleepgym_agents.lm.prompts import PromptFormat

SPECIAL_TOKENS = ("<pad>", "<bos>", "<end>", "<q>", "<a>")
SCRATCH_FORMAT = PromptFormat(
    start="<bos>",
    document="{title}\n{text}\n",
    question="<q>{text}<a>",
    answer="{answer}",
    stop="<end>",
    dream="<q>",
    dream_item=None,
)


def byte_tokenizer() -> Any:
    """A real Hugging Face tokenizer whose tokens are the 256 bytes and :data:`SPECIAL_TOKENS`."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate([*SPECIAL_TOKENS, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<end>",
        extra_special_tokens=["<q>", "<a>"],
        clean_up_tokenization_spaces=False,
    )


def scratch_model(
    seed: int, hidden_size: int = 96, layers: int = 2, intermediate_size: int = 256
) -> Any:
    """A Qwen3-shaped model with random weights that depend on ``seed`` only.

    Args:
        seed: Any seed; the one used is derived from it.
        hidden_size: Width, a multiple of 32 (the size of a head).
        layers: Blocks.
        intermediate_size: Width of the feed-forward part.
    """
    import torch
    from transformers import AutoModelForCausalLM, Qwen3Config

    heads = hidden_size // 32
    config = Qwen3Config(
        vocab_size=len(SPECIAL_TOKENS) + 256,
        hidden_size=hidden_size,
        intermediate_size=intermediate_size,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        head_dim=32,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
        initializer_range=hidden_size**-0.5,  # large enough for frozen embeddings to decide a token
        bos_token_id=SPECIAL_TOKENS.index("<bos>"),
        eos_token_id=SPECIAL_TOKENS.index("<end>"),
        pad_token_id=SPECIAL_TOKENS.index("<pad>"),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "scratch"))
        return AutoModelForCausalLM.from_config(config).eval()
