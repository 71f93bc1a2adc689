"""Tokens decoded a second on a GPU, ours and transformers' ``generate`` in the same process.

    python benchmarks/gpu_generation.py [--prompts 160] [--new 64] [--shape smollm2|1b]

Random weights of a real model's shape: speed does not depend on what they are. Prompts share a
prefix, as the questions of an exam share the day's documents. The last rows have experts beside
every block, routed by entity names, as ``sleep`` has after three nights.
"""

from __future__ import annotations

import argparse
import time

import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM

from sleepgym_agents.experts.expert_memory import ExpertMemory, MemorySettings
from sleepgym_agents.lm.generation import generate
from sleepgym_agents.lm.loading import fuse_norms
from sleepgym_agents.lm.model import LanguageModel

SHAPES = {
    "smollm2": {
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "vocab_size": 49152,
        "max_position_embeddings": 8192,
    },
    "1b": {
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 49152,
        "max_position_embeddings": 8192,
    },
    "tiny": {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "vocab_size": 4096,
        "max_position_embeddings": 2048,
    },
}
REPEATS = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--shape", choices=SHAPES, default="smollm2")
    parser.add_argument("--prompts", type=int, default=160)
    parser.add_argument("--prefix", type=int, default=600)
    parser.add_argument("--new", type=int, default=64)
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    config = LlamaConfig(**SHAPES[options.shape], tie_word_embeddings=True)
    with torch.device(device):
        model = LlamaForCausalLM(config).to(torch.bfloat16 if device == "cuda" else torch.float32)
    prompter = LanguageModel.load("embedded").prompter
    lm = LanguageModel(model.eval(), prompter)
    generator = torch.Generator().manual_seed(1)

    def draw(count: int) -> list[int]:
        return torch.randint(200, 4000, (count,), generator=generator).tolist()

    prefix = draw(options.prefix)
    prompts = [
        [*prompter.start, *prefix, *draw(100 + 200 * i // options.prompts)]
        for i in range(options.prompts)
    ]
    print(
        f"{options.shape}, {torch.cuda.get_device_name() if device == 'cuda' else 'CPU'}, "
        f"{len(prompts)} prompts of {len(prompts[0])}-{len(prompts[-1])} tokens, "
        f"{options.new} new",
        flush=True,
    )
    theirs = rate(lambda: theirs_once(lm, prompts, options.new))
    report("transformers generate", theirs, theirs)
    fuse_norms(model)  # as LanguageModel.load does
    for temperature in (0.0, 1.0):
        name = "sampled" if temperature else "greedy"
        report(
            f"sleepgym, {name}",
            rate(lambda t=temperature: ours(lm, prompts, options.new, t)),
            theirs,
        )
    memory = ExpertMemory(lm, MemorySettings(rank=64), seed=0)
    for number in range(3):
        expert = memory.unlock()
        memory.router.assign(expert, [tuple(draw(2)), tuple(prompts[number][-3:-1])])
    report("sleepgym, three experts", rate(lambda: ours(lm, prompts, options.new, 0.0)), theirs)
    if device == "cuda":
        print(f"peak memory {torch.cuda.max_memory_allocated() / 1e9:.1f} GB")


def ours(lm: LanguageModel, prompts: list[list[int]], new: int, temperature: float) -> int:
    stop = lm.prompter.stopped
    lm.prompter.stopped = lambda ids: False  # random weights end where they like
    try:
        return sum(map(len, generate(lm, prompts, new, temperature=temperature)))
    finally:
        lm.prompter.stopped = stop


def theirs_once(lm: LanguageModel, prompts: list[list[int]], new: int) -> int:
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(x)) + x for x in prompts], device=lm.device)
    mask = torch.tensor([[0] * (width - len(x)) + [1] * len(x) for x in prompts], device=lm.device)
    options = {"min_new_tokens": new, "max_new_tokens": new, "do_sample": False, "pad_token_id": 0}
    lm.model.generate(input_ids=ids, attention_mask=mask, **options)
    return len(prompts) * new


def rate(once) -> list[float]:
    """Tokens a second of each repeat; the first one, with compilation and capture, apart."""
    found = []
    for _ in range(REPEATS):
        synchronise()
        started = time.perf_counter()
        tokens = once()
        synchronise()
        found.append(tokens / (time.perf_counter() - started))
    return found


def synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def report(name: str, rates: list[float], theirs: list[float]) -> None:
    print(
        f"{name:28} first {rates[0]:9.0f}  best {max(rates):9.0f} tokens/s  "
        f"{max(rates) / max(theirs):5.2f}x",
        flush=True,
    )


if __name__ == "__main__":
    main()
