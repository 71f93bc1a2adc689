"""Training steps on a GPU, captured and as usual: milliseconds a step, and that both do the same.

    python benchmarks/gpu_training.py [--shape smollm2|1b|tiny] [--steps 48]

Random weights of a real model's shape. Four trainings: an expert distilled from a teacher, all
weights and a LoRA adapter on text, and a prefix of keys and values. Each is run from the same
weights with captured steps and without. The first steps of each shape are never captured: the rate
is that of the last half. Without a GPU nothing is captured, and both columns are the same.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable

import numpy as np
import torch
from gpu_generation import SHAPES, synchronise
from transformers import LlamaConfig, LlamaForCausalLM

from sleepgym import Budget, Night
from sleepgym_agents.baselines.self_study.cartridge import PrefixedModel
from sleepgym_agents.experts.expert_memory import ExpertMemory, MemorySettings
from sleepgym_agents.lm.lora import add_lora
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.training.distillation import (
    distillation,
    make_collator,
    pack_examples,
    score_with_teacher,
    weighted_divergence,
)
from sleepgym_agents.training.optimise import Example, TrainingSettings, optimise, plan

EPOCHS = 3
ITEMS = 8  # packed into a sequence
SEQUENCES = 8  # in a step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--shape", choices=SHAPES, default="smollm2")
    parser.add_argument("--steps", type=int, default=48)
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    config = LlamaConfig(**SHAPES[options.shape], tie_word_embeddings=True)
    with torch.device(device):
        model = LlamaForCausalLM(config).to(torch.bfloat16 if device == "cuda" else torch.float32)
    prompter = LanguageModel.load("embedded").prompter
    print(f"{options.shape}, {options.steps} steps of {SEQUENCES} sequences of {ITEMS} items")
    print(f"{'training':10} {'as usual ms':>12} {'captured ms':>12} {'ratio':>6}", end=" ")
    print(f"{'loss apart':>10} {'weights apart':>13} {'moved':>8}")
    for name, train in (
        ("expert", train_expert),
        ("weights", train_weights),
        ("lora", train_lora),
        ("prefix", train_prefix),
    ):
        runs = []
        for captured in (False, True):
            lm = LanguageModel(copy.deepcopy(model).eval(), prompter)
            runs.append(timed(lm, train, captured, options.steps))
        (usual, loss, weights, before), (fast, other, moved, _) = runs
        print(
            f"{name:10} {usual:12.1f} {fast:12.1f} {usual / fast:6.2f} {abs(loss - other):10.2e} "
            f"{apart(weights, moved):13.2e} {apart(weights, before):8.2e}",
            flush=True,
        )


Train = Callable[[LanguageModel, int, dict], dict[str, float]]


def timed(lm: LanguageModel, train: Train, captured: bool, steps: int):
    """Milliseconds a step over the last half, the loss, what was trained, and from where."""
    times: list[float] = []

    def clock(_) -> None:
        if len(times) in (steps // 2, steps - 1):  # waiting costs as little as it can
            synchronise()
        times.append(time.perf_counter())

    before: list[torch.Tensor] = []
    options = {"capture": captured, "term": clock, "before": before}
    log = train(lm, steps, options)
    elapsed = times[steps - 1] - times[steps // 2]
    trained = options["parameters"]
    return 1000 * elapsed / (steps - 1 - steps // 2), log["loss"], trained, before


def apart(one: list[torch.Tensor], other: list[torch.Tensor]) -> float:
    """Distance of two lists of tensors, as a share of the size of the first."""
    difference = sum(float((a - b).float().square().sum()) for a, b in zip(one, other, strict=True))
    size = sum(float(a.float().square().sum()) for a in one)
    return (difference / size) ** 0.5


def run(lm: LanguageModel, steps, settings, options, parameters, *more) -> dict[str, float]:
    options["before"] += [p.detach().clone() for p in parameters]
    options["parameters"] = [p.detach() for p in parameters]
    night = Night(1, Budget(), 0, lm.meter)
    capture, term = options["capture"], options["term"]
    return optimise(
        lm, steps, settings, night, *more, parameters=parameters, capture=capture, term=term
    )


def pairs(count: int) -> list[tuple[str, str]]:
    return [(f"Where was number {i} born, and when?", f"in house {7 * i}") for i in range(count)]


def train_expert(lm: LanguageModel, steps: int, options: dict) -> dict[str, float]:
    memory = ExpertMemory(lm, MemorySettings(rank=64, router="always"), seed=0)
    batches, collate = examples(lm, steps)
    with memory.training(memory.unlock()) as parameters:
        loss = lambda model, batch: distillation(model, batch, "forward")  # noqa: E731
        return run(lm, batches, rate(1e-2), options, parameters, loss, collate)


def train_prefix(lm: LanguageModel, steps: int, options: dict) -> dict[str, float]:
    prefixed = PrefixedModel(lm)
    batches, collate = examples(prefixed, steps)
    prefix = prefixed.grow(lm.prompter.encode("a day in a few words, read as it is " * 8))
    prefix.requires_grad_(True)

    def loss(model, batch):
        return weighted_divergence(
            prefixed.behind_prefixes(batch.ids, batch.positions), batch, "forward"
        )

    return run(prefixed, batches, rate(4e-3), options, list(prefix.parameters()), loss, collate)


def train_weights(lm: LanguageModel, steps: int, options: dict) -> dict[str, float]:
    lm.model.requires_grad_(True)
    return run(lm, texts(lm, steps), rate(1e-5), options, list(lm.model.parameters()))


def train_lora(lm: LanguageModel, steps: int, options: dict) -> dict[str, float]:
    add_lora(lm, 32, 64.0, 0)
    parameters = [p for p in lm.model.parameters() if p.requires_grad]
    return run(lm, texts(lm, steps), rate(1e-3), options, parameters)


def rate(learning_rate: float) -> TrainingSettings:
    return TrainingSettings(
        learning_rate=learning_rate, batch_size=SEQUENCES, items_per_sequence=ITEMS, epochs=1
    )


def examples(lm: LanguageModel, steps: int):
    found = score_with_teacher(lm, pairs(SEQUENCES * ITEMS * -(-steps // EPOCHS)))
    rng = np.random.default_rng(0)
    packed = [s for _ in range(EPOCHS) for s in pack_examples(found, rng, ITEMS, 512)]
    batches = [packed[at : at + SEQUENCES] for at in range(0, len(packed), SEQUENCES)]
    return batches[:steps], make_collator(lm, 0.2)


def texts(lm: LanguageModel, steps: int):
    ask = lm.prompter
    found = [
        Example.joined((ask.question(q), 0.5), (ask.answer(a), 1.0))
        for q, a in pairs(SEQUENCES * ITEMS * steps)
    ]
    return plan(lm, found, rate(1.0), np.random.default_rng(0))[:steps]


if __name__ == "__main__":
    main()
