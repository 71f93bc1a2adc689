"""Nights of large models on one GPU: seconds, share of its peak while training, memory.

    python benchmarks/gpu_night.py [--shape 1b|8b|smollm2|tiny] [--day almanac|cpt-200]
        [--agents seeding,sleep,cartridge,naive-lora] [--nights 2] [--batch 16] [--peak-tflops 790]

The models have the shapes of Llama-3.2-1B, Llama-3.1-8B and SmolLM2-135M, and random weights that
are built here: nothing is downloaded. The agents run unchanged on days of the Almanac; `--day
cpt-200` is one day of 200 passages and 974 questions, as many as SEAL's continued pretraining has.
Random weights write garbage, of which nothing would be kept and nothing learned, so

- the day's exam questions are practised with their right answers, which are learned beside the
  dreams; ``confidence=0`` keeps them although the model does not believe them;
- all experts are active at every token (``router=always``), as garbage mentions no entities.

So the work is that of a real night, and what is learned means nothing. Without dreams that parse,
the second stage of ``sleep`` samples its dreams and tries none of them.

Utilisation is 6 x parameters x tokens / seconds / peak over the time in which a night trains, all
tokens counted once an epoch, padding not. 6 is the usual convention; with the base model frozen,
fewer operations are really done. Learning to Imitate samples between two steps: those seconds stand
in a column of their own, and what was sampled counts as trained on, as it is. ``seeding-alone`` is
``seeding`` without imitation. The peak of an H100 or H200 in bf16, dense, is taken as 790 TFLOP/s,
about what large matrix products reach of its 989. Memory is what tensors took at most beside the
weights, while training and else, and what the allocator held in all at the end.
"""

import argparse
import contextlib
import dataclasses
import gc
import platform
import shutil
import sys
import tempfile
import time
from pathlib import Path

import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM

from sleepgym import Budget, Night
from sleepgym.core.rng import derive_seed
from sleepgym_agents.baselines.finetuning.naive_lora import NaiveLora, NaiveLoraSettings
from sleepgym_agents.baselines.self_study.cartridge import Cartridge, CartridgeSettings
from sleepgym_agents.baselines.self_study.context_distillation import (
    ContextDistillation,
    ContextDistillationSettings,
)
from sleepgym_agents.models.hub import EMBEDDED
from sleepgym_agents.sleep import imitation
from sleepgym_agents.sleep.seeding import Seeding, SeedingSettings
from sleepgym_agents.sleep.sleep import Sleep, SleepSettings
from sleepgym_agents.training import optimise
from sleepgym_tasks.envs.almanac import Almanac, AlmanacConfig

SHAPES = {
    "1b": {
        "vocab_size": 128_256,
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 64,
        "max_position_embeddings": 131_072,
        "tie_word_embeddings": True,
    },
    "8b": {
        "vocab_size": 128_256,
        "hidden_size": 4096,
        "intermediate_size": 14_336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "max_position_embeddings": 131_072,
        "tie_word_embeddings": False,
    },
    "smollm2": {
        "vocab_size": 49_152,
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "head_dim": 64,
        "max_position_embeddings": 8192,
        "tie_word_embeddings": True,
    },
    "tiny": {
        "vocab_size": 20_000,  # as in the large ones, more than the tokenizer knows
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 32,
        "max_position_embeddings": 8192,
        "tie_word_embeddings": True,
    },
}
DAYS = {"almanac": (32, 192), "cpt-200": (200, 974), "few": (4, 8)}  # passages, questions
PACKED = {"batch_size": 16, "items_per_sequence": 8}
EXPERTS = {**PACKED, "confidence": 0.0, "router": "always"}
AGENTS = {
    "seeding": (Seeding, SeedingSettings, EXPERTS),
    "seeding-alone": (Seeding, SeedingSettings, {**EXPERTS, "on_policy_every": 0}),
    "sleep": (Sleep, SleepSettings, EXPERTS),
    "cartridge": (Cartridge, CartridgeSettings, PACKED),
    "context-distillation": (ContextDistillation, ContextDistillationSettings, PACKED),
    "naive-lora": (NaiveLora, NaiveLoraSettings, {}),
}
QUICK = {
    "samples": 2,
    "dream_tokens": 8,
    "rehearsals": 2,
    "epochs": 1,
    "rank": 4,
    "dreams": 2,
    "dream_scenes": 1,
}


class TimedTraining:
    """Within its context: how long training took, the tokens that it was about, and memory.

    Attributes:
        seconds: Of training, without sampling.
        sampling_s: Of sampling between steps.
        tokens: Trained on.
        training_bytes: Most that tensors took while training.
        other_bytes: Most that they took else: writing, reading, scoring.
    """

    def __init__(self, lm):
        self.lm, self.own = lm, optimise.optimise
        self.seconds = self.sampling_s = 0.0
        self.tokens = 0
        self.training_bytes = self.other_bytes = 0

    def __enter__(self):
        self.seconds = self.sampling_s = 0.0
        self.tokens = 0
        self.training_bytes = self.other_bytes = 0
        peak(self.lm.device)
        self.replaced = [
            module
            for module in list(sys.modules.values())
            if getattr(module, "optimise", None) is self.own
        ]
        for module in self.replaced:
            module.optimise = self.train
        self.roll_out, imitation.roll_out = imitation.roll_out, self.sample

    def __exit__(self, *_):
        imitation.roll_out = self.roll_out
        for module in self.replaced:
            module.optimise = self.own
        self.other_bytes = max(self.other_bytes, peak(self.lm.device))

    def train(self, *given, **options):
        self.other_bytes = max(self.other_bytes, peak(self.lm.device))
        before, start = self.lm.meter.train_tokens, now(self.lm.device)
        sampled = self.sampling_s
        log = self.own(*given, **options)
        self.seconds += now(self.lm.device) - start - (self.sampling_s - sampled)
        self.tokens += self.lm.meter.train_tokens - before
        self.training_bytes = max(self.training_bytes, peak(self.lm.device))
        return log

    def sample(self, *given, **options):
        start = now(self.lm.device)
        rollouts = self.roll_out(*given, **options)
        self.sampling_s += now(self.lm.device) - start
        self.tokens += sum(map(len, (*rollouts.prefixes, *rollouts.written)))
        return rollouts


def peak(device):
    """Most bytes that tensors took since this was asked last."""
    if device.type != "cuda":
        return 0
    found = torch.cuda.max_memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    return found


def now(device):
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


@contextlib.contextmanager
def random_model(shape):
    """A folder with a random Llama and the embedded model's tokenizer and prompt format."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    config = LlamaConfig(**shape, rope_theta=500_000.0, dtype="bfloat16")
    torch.manual_seed(0)
    transformers.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        torch.set_default_dtype(torch.bfloat16)
        with torch.device(device):
            model = LlamaForCausalLM(config)
        torch.set_default_dtype(torch.float32)
        model.save_pretrained(folder)
        for name in ("tokenizer.json", "tokenizer_config.json", "prompt.json"):
            shutil.copy(EMBEDDED / name, folder)
        del model
        free()
        yield folder


def free():
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="1b")
    parser.add_argument("--day", choices=DAYS, default="almanac")
    parser.add_argument("--agents", default="seeding,seeding-alone,sleep")
    parser.add_argument("--nights", type=int, default=2)
    parser.add_argument("--batch", type=int, help="sequences of a step; 16, of LoRA 4")
    parser.add_argument("--peak-tflops", type=float, default=790.0)
    given = parser.parse_args(arguments)
    tiny = given.shape == "tiny"
    passages, questions = DAYS[given.day]
    family = Almanac(
        AlmanacConfig(days=given.nights, passages=passages, questions=questions, kinds=("direct",))
    )
    stream = family.stream(0)
    started = time.perf_counter()
    with random_model(SHAPES[given.shape]) as folder:
        where = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
        print(
            f"{given.shape} shape on {where}, {given.nights} days of {passages} passages and "
            f"{questions} questions; weights made in {time.perf_counter() - started:.1f} s"
        )
        print(f"{'agent':22} {'night':>5} {'seconds':>8} {'training s':>10}", end=" ")
        print(f"{'sampling s':>10} {'tokens':>8}", end=" ")
        print(
            f"{'tokens/s':>8} {'utilised':>8} {'training GB':>11} {'other GB':>8} {'held GB':>7} "
            f"{'steps':>5}"
        )
        for name in given.agents.split(","):
            cls, settings, own = AGENTS[name]
            known = {field.name for field in dataclasses.fields(settings)}
            quick = {key: value for key, value in QUICK.items() if tiny and key in known}
            batch = {"batch_size": given.batch} if given.batch else {}
            agent = cls(settings(**{**own, **quick, **batch}), model=folder)
            run(name, agent, stream, given.peak_tflops, size_bytes(folder))
            del agent
            free()


def size_bytes(folder):
    """Bytes of the weights, which are of the same type on the device."""
    return sum(file.stat().st_size for file in Path(folder).glob("*.safetensors"))


def run(name, agent, stream, peak_tflops, weights):
    device = agent.lm.device
    timed = TimedTraining(agent.lm)
    cuda = device.type == "cuda"
    for day in stream.days:
        agent.study(day.documents)
        right = [stream.key[item.id][0] for item in day.exam]
        agent.practice([item.question for item in day.exam], right)
        start = now(device)
        night = Night(day.number, Budget(), derive_seed(0, "gpu night"), agent.meter)
        with timed:
            log = agent.sleep(night)
        seconds = now(device) - start
        rate = timed.tokens / max(timed.seconds, 1e-9)
        used = 6 * agent.lm.parameters * rate / (peak_tflops * 1e12)
        training = other = held = "-"
        if cuda:
            training = f"{(timed.training_bytes - weights) / 1e9:.2f}"
            other = f"{(timed.other_bytes - weights) / 1e9:.2f}"
            held = f"{torch.cuda.memory_reserved() / 1e9:.2f}"
        print(
            f"{name:22} {day.number:5} {seconds:8.1f} {timed.seconds:10.1f} "
            f"{timed.sampling_s:10.1f} {timed.tokens:8} "
            f"{rate:8.0f} {used:8.2%} {training:>11} {other:>8} {held:>7} "
            f"{log.get('steps', 0):5.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
