"""Training tokens written a second by one core: the embedded model's pretraining mixture.

First the stream as a worker of the trainer makes it: the kinds by share, encoded, packed into rows
of 1,024 and 2,048 tokens; then each kind alone, encoded. Seconds are the process's own (CPU time).
In between runs a fixed loop of plain Python, whose rate shows a slow machine.
"""

import argparse
import random
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "pretraining"))

from mixture import LONG_SHARE, SHARES, Encoder, rows  # noqa: E402
from sequences import MAKERS  # noqa: E402

from sleepgym_tasks.worlds.language.seeds import derive  # noqa: E402

FLOOR = 400_000
MIXTURE_S, KIND_S, SLICE_S = 20.0, 2.0, 0.5
STEPS = 500_000


def mixture(encoder: Encoder) -> Iterator[int]:
    """Lengths of packed rows, long ones by their share of the tokens."""
    rng = derive(0, "benchmark")
    sources = rows(encoder, rng, 1024, False), rows(encoder, rng, 2048, True)
    longs = LONG_SHARE / (2 - LONG_SHARE)  # half as many rows make as many tokens
    while True:
        yield len(next(sources[rng.random() < longs])[0])


def kind(encoder: Encoder, make: Callable, rng: random.Random) -> Iterator[int]:
    """Lengths of sequences of one kind, long ones by their share of the sequences."""
    while True:
        yield len(encoder.encode_parts(make(rng, rng.random() < LONG_SHARE))[0])


def steps_per_s() -> float:
    """Steps a second of a loop of integers and a dictionary."""
    started, number, table = time.process_time(), 1, {}
    for i in range(STEPS):
        number = (31 * number + i) % 65_521
        table[number % 256] = i
    return STEPS / (time.process_time() - started)


def measure(name: str, lengths: Iterator[int], seconds: float) -> float:
    """Print the mean rate over that many seconds, the best slice's, and the loop's in between."""
    next(lengths)
    tokens, spent, best, loop = 0, 0.0, 0.0, []
    while spent < seconds:
        loop.append(steps_per_s())
        made, started = 0, time.process_time()
        while (passed := time.process_time() - started) < SLICE_S:
            made += next(lengths)
        tokens, spent, best = tokens + made, spent + passed, max(best, made / passed)
    rate = tokens / spent
    steps = sum(loop) / len(loop)
    print(f"{name:10} {spent:8.1f} {rate:10,.0f} {best:11,.0f} {steps / 1e6:15.1f}", flush=True)
    return rate


def main():
    argparse.ArgumentParser(description=__doc__).parse_args()
    encoder = Encoder(ROOT / "agents" / "sleepgym_agents" / "base" / "tokenizer.json")
    print(f"{'':10} {'seconds':>8} {'tokens/s':>10} {'best slice':>11} {'million steps/s':>15}")
    rate = measure("mixture", mixture(encoder), MIXTURE_S)
    for name in SHARES:
        measure(name, kind(encoder, MAKERS[name], derive(0, "benchmark", name)), KIND_S)
    print(f"The mixture at {rate / FLOOR:.2f} of its floor, {FLOOR:,} tokens/s a core.")


if __name__ == "__main__":
    main()
