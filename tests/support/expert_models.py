"""Tiny random language models of several families, and memories of experts inside them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    LlamaConfig,
    MistralConfig,
    Qwen3Config,
)

from sleepgym import Document
from sleepgym_agents.experts.expert_memory import ExpertMemory, MemorySettings
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.lm.prompts import Prompter
from sleepgym_agents.lm.scratch import SCRATCH_FORMAT, byte_tokenizer

FAMILIES: dict[str, Any] = {
    "llama": LlamaConfig,
    "qwen3": Qwen3Config,
    "gemma2": Gemma2Config,
    "gemma3": Gemma3TextConfig,
    "mistral": MistralConfig,
}


def family_model(family: str) -> Any:
    """A random model of 3 layers over the scratch tokenizer's vocabulary."""
    config = FAMILIES[family](
        vocab_size=261,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        max_position_embeddings=1024,
        initializer_range=0.2,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return AutoModelForCausalLM.from_config(config).eval()


def family_folder(family: str, path: Path) -> str:
    """The same model in a folder, with its tokenizer and prompt format."""
    family_model(family).save_pretrained(path)
    byte_tokenizer().save_pretrained(path)
    (path / "prompt.json").write_text(json.dumps(asdict(SCRATCH_FORMAT)))
    return str(path)


def scratch_prompter() -> Prompter:
    return Prompter(SCRATCH_FORMAT, byte_tokenizer())


def make_memory(
    lm: LanguageModel | None = None, *, rank: int = 4, first_layer: float = 0.0, **settings: Any
) -> ExpertMemory:
    """An expert memory in the scratch model, in all of its layers."""
    lm = lm or LanguageModel.load("scratch", seed=3)
    return ExpertMemory(lm, MemorySettings(rank=rank, first_layer=first_layer, **settings), seed=1)


@torch.no_grad()
def fill(
    memory: ExpertMemory, expert_id: tuple[int, int], seed: int = 0, scale: float = 0.3
) -> None:
    """Give an expert random weights that survive being saved."""
    generator = torch.Generator().manual_seed(seed)
    for expert in memory.experts(expert_id):
        expert.down.copy_(torch.randn(expert.down.shape, generator=generator) * scale)
        for parameter in expert.parameters():
            parameter.copy_(parameter.bfloat16())


@torch.no_grad()
def logits(lm: LanguageModel, ids: list[int]) -> torch.Tensor:
    """Of a plain pass over one sequence, (length, vocabulary)."""
    return lm.model(torch.tensor([ids]), use_cache=False).logits[0]


def two_experts(router: str) -> ExpertMemory:
    """A memory of two experts that know some entities; large weights do not repeat a token."""
    memory = make_memory(LanguageModel.load("scratch", seed=3), router=router, key_cosine=0.9)
    encode = memory.lm.prompter.encode
    for i, names in enumerate((["Ada", "Bo"], ["Ada", "Bo Li", "e"])):
        expert_id = memory.unlock()
        entities = [tuple(encode(name)) for name in names]
        texts = [memory.lm.prompter.question(f"is {name} in?") for name in names]
        memory.assign_entities(expert_id, entities, texts)
        fill(memory, expert_id, seed=i, scale=1.0)
        if router == "gate":
            memory.router.weights[expert_id].normal_(generator=torch.Generator().manual_seed(i))
            memory.router.weights[expert_id] = memory.router.weights[expert_id].bfloat16().float()
    return memory


def asked(lm: LanguageModel) -> list[list[int]]:
    """Prompts that begin alike and end with and without the names of :func:`two_experts`."""
    document = lm.prompter.document(Document("Ada met Bo Li. " * 3, "Bo Li"))
    texts = ("who is Ada?", "what", "was Bo Li ever told about Ada Bo", "one", "was Bo here?")
    shown = lm.prompter.demonstration("Who is Ada?", "Bo")
    return [lm.prompter.prompt(text, [document, shown]) for text in texts]
