"""Nights of a 1B-shaped model on one GPU: seconds a night, peak memory, model-FLOPs utilisation.

    python benchmarks/gpu_night.py [--nights 2] [--peak-tflops 790] [--tiny]

The model has the shape of Llama-3.2-1B and random weights, built here: nothing is downloaded. The
agents ``seeding`` and ``sleep`` run unchanged on days of the Almanac. Random weights write garbage,
of which nothing would be kept and nothing learned, so

- the day's exam questions are practised with their right answers, which ``seeding`` takes as
  examples beside its dreams; ``confidence=0`` keeps them although the model does not believe them;
- all experts are active at every token (``router=always``), as garbage mentions no entities.

So the work is that of a real night, and what is learned means nothing. Without dreams that parse,
the second stage of ``sleep`` samples its dreams and tries none of them.

Utilisation is 6 x parameters x tokens / seconds / peak over the stages of a night, all tokens
counted once an epoch, padding not. 6 is the usual convention; with the base model frozen, fewer
operations are really done. The row without imitation is training alone; the stages of the others
also sample continuations for Learning to Imitate. The peak of an H200 in
bf16, dense, is taken as 790 TFLOP/s, about what large matrix products reach of its 989.

``--tiny`` is a model of two layers on whatever there is, for tests.
"""

import argparse
import contextlib
import platform
import shutil
import tempfile
import time

import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM

from sleepgym import Budget, Night
from sleepgym.core.rng import derive_seed
from sleepgym_agents.models.hub import EMBEDDED
from sleepgym_agents.sleep.seeding import Seeding, SeedingSettings
from sleepgym_agents.sleep.sleep import Sleep, SleepSettings
from sleepgym_tasks.envs.almanac import Almanac, AlmanacConfig

LLAMA_1B = {
    "vocab_size": 128_256,
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "max_position_embeddings": 131_072,
}
TINY = {
    **LLAMA_1B,
    "vocab_size": 5000,  # as in the large one, more than the tokenizer knows
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 32,
}
NIGHT = {"confidence": 0.0, "router": "always", "batch_size": 16, "items_per_sequence": 8}
QUICK = {"samples": 2, "dream_tokens": 8, "rehearsals": 2, "epochs": 1, "rank": 4}
QUICK_SLEEP = {"dreams": 2, "dream_scenes": 1}


class Timed:
    """A stage that also notes how long it took, and the tokens that it trained on."""

    def __init__(self, stage):
        self.stage = stage
        self.seconds, self.train_tokens = 0.0, 0

    def __call__(self, context, expert_id, data):
        meter, device = context.lm.meter, context.lm.device
        before, start = meter.train_tokens, now(device)
        log = self.stage(context, expert_id, data)
        self.seconds = now(device) - start
        self.train_tokens = meter.train_tokens - before
        return log


def now(device):
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


@contextlib.contextmanager
def random_model(shape):
    """A folder with a random Llama and the embedded model's tokenizer and prompt format."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    config = LlamaConfig(**shape, tie_word_embeddings=True, rope_theta=500_000.0)
    torch.manual_seed(0)
    transformers.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        with torch.device(device):
            model = LlamaForCausalLM(config).to(torch.bfloat16)
        model.save_pretrained(folder)
        for name in ("tokenizer.json", "tokenizer_config.json", "prompt.json"):
            shutil.copy(EMBEDDED / name, folder)
        del model
        yield folder


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nights", type=int, default=2)
    parser.add_argument("--questions", type=int, default=192, help="examples from a day's exam")
    parser.add_argument("--peak-tflops", type=float, default=790.0)
    parser.add_argument("--tiny", action="store_true")
    given = parser.parse_args(arguments)
    quick = QUICK if given.tiny else {}
    questions = 8 if given.tiny else given.questions
    rows = {
        "seeding": (Seeding, SeedingSettings(**{**NIGHT, **quick})),
        "seeding without imitation": (
            Seeding,
            SeedingSettings(**{**NIGHT, **quick}, on_policy_every=0),
        ),
        "sleep": (Sleep, SleepSettings(**{**NIGHT, **quick, **(QUICK_SLEEP if quick else {})})),
    }
    passages = 4 if given.tiny else 32
    family = Almanac(
        AlmanacConfig(days=given.nights, passages=passages, questions=questions, kinds=("direct",))
    )
    stream = family.stream(0)
    with random_model(TINY if given.tiny else LLAMA_1B) as folder:
        for name, (cls, settings) in rows.items():
            run(name, cls(settings, model=folder), stream, given.peak_tflops)


def run(name, agent, stream, peak_tflops):
    device = agent.lm.device
    agent.stages = stages = tuple(Timed(stage) for stage in agent.stages)
    cuda = device.type == "cuda"
    if name == "seeding":
        where = torch.cuda.get_device_name() if cuda else platform.machine()
        print(f"{agent.lm.parameters:,} parameters, {agent.lm.model.dtype}, {where}")
        print(f"{'agent':26} {'night':>5} {'seconds':>8} {'training s':>10} {'tokens':>8}", end=" ")
        print(f"{'tokens/s':>8} {'utilised':>8} {'peak GB':>8} {'items':>7} {'steps':>5}")
    for day in stream.days:
        if cuda:
            torch.cuda.reset_peak_memory_stats()
        agent.study(day.documents)
        right = [stream.key[item.id][0] for item in day.exam]
        agent.practice([item.question for item in day.exam], right)
        start = now(device)
        night = Night(day.number, Budget(), derive_seed(0, "gpu night"), agent.meter)
        log = agent.sleep(night)
        seconds = now(device) - start
        trained_s = sum(stage.seconds for stage in stages)
        tokens = sum(stage.train_tokens for stage in stages)
        rate = tokens / max(trained_s, 1e-9)
        used = 6 * agent.lm.parameters * rate / (peak_tflops * 1e12)
        peak = f"{torch.cuda.max_memory_allocated() / 1e9:.1f}" if cuda else "-"
        items, steps = log.get("dreams_kept", 0), log.get("steps", 0)
        print(
            f"{name:26} {day.number:5} {seconds:8.1f} {trained_s:10.1f} "
            f"{tokens:8} {rate:8.0f} {used:8.2%} {peak:>8} "
            f"{items:7.0f} {steps:5.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
