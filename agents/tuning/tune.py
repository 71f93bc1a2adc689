"""Tune agents alike: the same number of trials, the same streams, seeds below 100 only.

    python agents/tuning/tune.py --agents naive,seeding --trials 10 --seeds 5,6 --out DIR

Writes a line a run to DIR/trials.jsonl and prints the best trial of each agent. A trial's value is
the mean over its streams of final accuracy plus base retention. Runs that are finished are not run
again.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tomllib
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SHOWN = ("average_accuracy", "morning_accuracy", "base_retention", "night_seconds")


def draw_trials(agent: str, space: dict[str, list[Any]], count: int) -> list[dict[str, Any]]:
    """The settings of each trial; the first are the defaults."""
    from sleepgym.rng import derive_rng

    trials: list[dict[str, Any]] = [{}]
    for number in range(1, count):
        rng = derive_rng(0, "tuning", agent, number)
        drawn = {k: values[int(rng.integers(len(values)))] for k, values in space.items()}
        trials.append({k: v for k, v in drawn.items() if rng.random() < 0.5})
    return trials


def run_trial(agent: str, number: int, settings: dict[str, Any], seed: int, arguments: Any) -> dict:
    """Run one stream and score it."""
    import torch

    import sleepgym_agents  # noqa: F401  registers the agents where the package is not installed
    import sleepgym_tasks  # noqa: F401
    from sleepgym.records import read_run
    from sleepgym.runner import run
    from sleepgym.scores import score_run
    from sleepgym.spec import RunSpec

    torch.set_num_threads(1)
    out = Path(arguments.out) / agent / f"trial-{number}" / f"seed-{seed}"
    env_settings = {"days": arguments.days}
    spec = RunSpec(
        env="sleepgym/Almanac-v0",
        agent=agent,
        env_settings=env_settings,
        agent_settings=settings,
        seed=seed,
    )
    line: dict[str, Any] = {"agent": agent, "trial": number, "settings": settings, "seed": seed}
    try:
        run(spec, out)
        scores = score_run(read_run(out))
    except Exception as error:  # a setting that breaks an agent is a result too
        return {**line, "error": f"{type(error).__name__}: {error}"}
    return {**line, **{name: scores[name] for name in SHOWN}}


def best_trials(lines: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """For each agent its best trial: settings, value and number of streams."""
    grouped: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for line in lines:
        grouped.setdefault((line["agent"], line["trial"]), []).append(line)
    best: dict[str, dict[str, Any]] = {}
    most = {a: max(len(v) for (b, _), v in grouped.items() if a == b) for a, _ in grouped}
    for (agent, number), runs in sorted(grouped.items()):
        if any("error" in r for r in runs) or len(runs) < most[agent]:
            continue
        value = sum(r["average_accuracy"] + r["base_retention"] for r in runs) / len(runs)
        if agent not in best or value > best[agent]["value"]:
            best[agent] = {"trial": number, "value": value, "settings": runs[0]["settings"]}
    return best


def main() -> None:
    """Run the trials of some agents."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agents", required=True, help="comma-separated names in spaces.toml")
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--seeds", default="5,6", help="seeds of the streams, all below 100")
    parser.add_argument("--days", type=int, default=4)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    if max(seeds) > 99:
        parser.error(f"--seeds {arguments.seeds}: tune on seeds 0-99")
    spaces = tomllib.loads((HERE / "spaces.toml").read_text())
    agents = arguments.agents.split(",")
    unknown = [agent for agent in agents if agent not in spaces]
    if unknown:
        parser.error(f"--agents {unknown[0]}: must be one of {', '.join(spaces)}")
    trials = {agent: draw_trials(agent, spaces[agent], arguments.trials) for agent in agents}
    arguments.out.mkdir(parents=True, exist_ok=True)
    lines: list[dict[str, Any]] = []
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(arguments.workers, mp_context=context) as pool:
        jobs = [
            pool.submit(run_trial, agent, number, trials[agent][number], seed, arguments)
            for number in range(arguments.trials)
            for seed in seeds
            for agent in agents
        ]
        with (arguments.out / "trials.jsonl").open("w") as file:
            for done, job in enumerate(as_completed(jobs), start=1):
                lines.append(job.result())
                file.write(json.dumps(lines[-1]) + "\n")
                file.flush()
                print(f"{done}/{len(jobs)} {json.dumps(lines[-1])}", flush=True)
    best = best_trials(lines)
    for agent, found in best.items():
        print(f"{agent}: trial {found['trial']}, {found['value']:.3f}, {found['settings']}")


if __name__ == "__main__":
    main()
