"""The night of an agent on the embedded model: processor seconds of the first days of an Almanac.

    python benchmarks/night.py [--agent sleep] [--nights 2] [--seed 0] [--threads 1]

The agent with its defaults studies a day of the environment's defaults and sleeps; nothing is
asked. Processor time is honest on a machine that does other things too; with one thread it is what
the night takes on an idle core.
"""

import argparse
import time

import torch

from sleepgym import Budget, Night
from sleepgym.core.registry import agent_class
from sleepgym.core.rng import derive_seed
from sleepgym_tasks.envs.almanac import AlmanacConfig, AlmanacV1


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agent", default="sleep")
    parser.add_argument("--nights", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    stream = AlmanacV1(AlmanacConfig(days=given.nights)).stream(given.seed)
    agent = agent_class(given.agent)(seed=given.seed)
    print(f"{given.agent}, default day of Almanac-v1, seed {given.seed}, {given.threads} threads")
    print("night  processor s  elapsed s   trained  generated      read")
    for day in stream.days:
        agent.study(day.documents)
        night = Night(day.number, Budget(), derive_seed(given.seed, day.number), agent.meter)
        counts = ("train_tokens", "generated_tokens", "read_tokens")
        before = [getattr(agent.meter, name) for name in counts]
        used, started = time.process_time(), time.perf_counter()
        agent.sleep(night)
        used, elapsed = time.process_time() - used, time.perf_counter() - started
        spent = (getattr(agent.meter, n) - b for n, b in zip(counts, before, strict=True))
        row = "  ".join(f"{count:8}" for count in spent)
        print(f"{day.number:5}  {used:11.1f}  {elapsed:9.1f}  {row}", flush=True)


if __name__ == "__main__":
    main()
