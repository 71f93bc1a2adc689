"""Tune agents alike: the same number of trials, the same streams, seeds below 100 only.

    python agents/tuning/tune.py --out DIR --trials 8 --seeds 5,6 --days 8 --jobs 2 --write

Draws each agent's trials from the ``search_space`` of its class: the first is its defaults; every
other takes each setting from its list with probability one half. All agents get the same number of
trials, or as many as their lists allow. Almanac has no practice: tune ``grpo``, ``ttt`` and
``nearest`` with ``--env sleepgym/Codebook-v0``, and ``inca`` with
``--env sleepgym/ClassIncremental-v1 --env-set dataset=invented``.

Writes a line a run to DIR/trials.jsonl and prints the best trial of each agent. A trial's value is
what boards rank by: the mean over its streams of final accuracy; a run that fails counts 0. A trial
must beat the defaults on every stream, or it is luck; and its nights may not take half as long
again, unless --slowest allows it: better must not mean slower. The same command goes on where the
last one stopped. --write puts the settings that beat the defaults into tuned.toml of
sleepgym_agents: a table for every agent whose trials are all done, empty where the defaults were
best; other tables stay.

What keeps nothing forgets nothing, so base retention is printed beside the value and is no part of
it. With --retention 0.9 only trials count that keep so much of the base: a second search over the
same trials, whose rows say what an agent can learn without forgetting. --recorded FILE chooses from
trials on record instead of running any:

    python agents/tuning/tune.py --recorded agents/tuning/trials.jsonl --retention 0.9

--start FILE names settings to try right after the defaults, such as the winners of a search on
another task: a TOML array of tables for each agent. They count as trials, the rest is drawn:

    python agents/tuning/tune.py --start agents/tuning/almanac-any.toml --agents sleep,cartridge \\
        --model smollm2-reader --days 3 --trials 6 --slowest 100 --out DIR
"""

from __future__ import annotations

import argparse
import json
import os
import re
import time
import tomllib
from collections.abc import Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sleepgym_agents  # noqa: F401  registers the agents where the package is not installed
import sleepgym_tasks  # noqa: F401
from sleepgym.core import registry
from sleepgym.core.env import make_env
from sleepgym.core.errors import BadRun, BadSetting, MissingData, SleepGymError, unknown_name
from sleepgym.core.rng import derive_rng
from sleepgym.core.settings import build_config, parse_pairs, upgrade_settings
from sleepgym.runs.records import read_run
from sleepgym.runs.runner import run
from sleepgym.runs.spec import RunSpec
from sleepgym.runs.workers import make_pool
from sleepgym.scoring.scores import score_run
from sleepgym.suite.suite import parse_seeds

HERE = Path(__file__).parent
TUNED = HERE.parent / "sleepgym_agents" / "tuned.toml"
VALUE, KEPT = "average_accuracy", "base_retention"
SHOWN = (VALUE, "morning_accuracy", KEPT, "night_seconds")
SLOWEST = 1.5  # nights of a trial, in nights of the defaults; a second more is nothing
TIE = 1e-9  # values closer than this are equal: means of the same scores differ in the last digit
ATTEMPTS = 100  # to draw a trial unlike the ones before

Line = dict[str, Any]


@dataclass(frozen=True)
class Search:
    """What all trials share.

    Attributes:
        env: Environment id.
        env_settings: Its settings.
        data: Folder of original data files.
        out: Folder of the runs.
        deadline_s: Unix time after which no night begins.
        model: Of agents that have one.
    """

    env: str
    env_settings: Mapping[str, Any]
    data: Path | None
    out: Path
    deadline_s: float
    model: str = "embedded"

    def run_of(self, agent: str, number: int, settings: Mapping, seed: int) -> tuple[RunSpec, Path]:
        """A trial's run on one stream, and its folder."""
        spec = RunSpec(
            self.env, agent, self.env_settings, settings, seed, model=self.model, data=self.data
        )
        return spec, self.out / agent / f"trial-{number}" / f"seed-{seed}"


@dataclass(frozen=True)
class Found:
    """The outcome for one agent.

    Attributes:
        trial: Number of the best trial; 0 is the defaults.
        settings: Of that trial.
        value: Of that trial.
        default: Value of the defaults.
        retention: Base retention of that trial; None where the streams ask nothing of the base.
        error: Of a run of the defaults; empty where none failed.
    """

    trial: int
    settings: dict[str, Any]
    value: float
    default: float
    retention: float | None
    error: str

    def __str__(self) -> str:
        than = f"defaults {self.default:.3f}" if self.trial else "the defaults"
        kept = "not asked" if self.retention is None else f"{self.retention:.3f}"
        return f"trial {self.trial}: {self.value:.3f} ({than}), base retention {kept}"


def draw_trials(
    agent: str,
    space: Mapping[str, Sequence[Any]],
    count: int,
    start: Sequence[dict[str, Any]] = (),
) -> list[dict[str, Any]]:
    """The settings of each trial: the defaults, those of ``start``, then drawn ones, no two alike.

    Fewer than ``count`` where the space has not so many.
    """
    config = registry.agent_class(agent).Config
    trials: list[dict[str, Any]] = [{}, *start]
    seen = [build_config(config, settings, f"a trial of {agent}") for settings in trials]
    for number in range(len(trials), count):
        rng = derive_rng(0, "tuning", agent, number)
        for _ in range(ATTEMPTS):
            drawn = {k: values[int(rng.integers(len(values)))] for k, values in space.items()}
            settings = {k: v for k, v in drawn.items() if rng.random() < 0.5}
            built = build_config(config, settings, f"the search space of {agent}")
            if built not in seen:
                seen.append(built)
                news = (k for k in settings if getattr(built, k) != getattr(seen[0], k))
                trials.append({k: settings[k] for k in news})
                break
    return trials


def run_trial(search: Search, agent: str, number: int, settings: dict[str, Any], seed: int) -> Line:
    """Run one stream, night by night, and score it; what is finished is only scored.

    Raises:
        BadRun: If the folder holds another search.
        MissingData: If the environment's data or the model is not at hand.
    """
    spec, out = search.run_of(agent, number, settings, seed)
    line = {"agent": agent, "trial": number, "settings": settings, "seed": seed}
    begun = (out / "run.json").is_file()
    try:
        finished = begun and read_run(out).finished
        while not finished:
            if time.time() > search.deadline_s:
                return {**line, "unfinished": True}
            finished = run(spec, out, nights=1).finished
        scores = score_run(run(spec, out))  # refuses a run of other settings
    except (BadRun, MissingData):
        raise
    except Exception as error:  # settings that break an agent are a result too
        return {**line, "error": f"{type(error).__name__}: {error}"}
    return {**line, **{name: scores[name] for name in SHOWN}}


def search_spaces() -> dict[str, Mapping[str, Sequence[Any]]]:
    """Registered agent -> its search space; those with nothing to tune are left out."""
    spaces = {name: registry.agent_class(name).search_space for name in registry.agents}
    return {name: space for name, space in spaces.items() if space}


def upgrade_trials(lines: Sequence[Line]) -> list[Line]:
    """Lines of a record by the names that settings have today."""
    return [
        {
            **line,
            "settings": upgrade_settings(
                registry.agent_class(line["agent"]).Config, line["settings"]
            ),
        }
        for line in lines
    ]


def best_trials(
    lines: Sequence[Line], retention: float = 0.0, slowest: float = SLOWEST
) -> dict[str, Found]:
    """The best trial of each agent whose runs all ended; of equals the first.

    Args:
        lines: A line a run.
        retention: Trials that keep less of the base do not count, the defaults included: an agent
            without any is left out. Where the defaults count, a trial must beat them.
        slowest: Nights of a trial, in nights of the defaults; those of slower ones do not count.
    """
    found: dict[str, Found] = {}
    for agent in dict.fromkeys(line["agent"] for line in lines):
        own = [line for line in lines if line["agent"] == agent]
        if any("unfinished" in line for line in own):
            continue
        trials = {
            n: [line for line in own if line["trial"] == n]
            for n in sorted({line["trial"] for line in own})
        }
        values = {
            number: _mean(runs, VALUE)
            for number, runs in trials.items()
            if _keeps(runs, retention)
            and (
                number == 0
                or not _keeps(trials[0], retention)
                or _improves(runs, trials[0], slowest)
            )
        }
        if not values:
            continue
        best = next(n for n, value in values.items() if value >= max(values.values()) - TIE)
        settings = next(line["settings"] for line in own if line["trial"] == best)
        errors = [line["error"] for line in own if line["trial"] == 0 and "error" in line]
        kept, before = _kept(trials[best]), _mean(trials[0], VALUE)
        found[agent] = Found(best, settings, values[best], before, kept, next(iter(errors), ""))
    return found


def _improves(runs: Sequence[Line], defaults: Sequence[Line], slowest: float) -> bool:
    """Whether a trial beats the defaults on every stream, and is not much slower."""
    before = {line["seed"]: line.get(VALUE) or 0.0 for line in defaults}
    longest_s = slowest * _mean(defaults, "night_seconds") + 1.0
    better = all((line.get(VALUE) or 0.0) > before[line["seed"]] + TIE for line in runs)
    return better and _mean(runs, "night_seconds") <= longest_s


def _keeps(runs: Sequence[Line], retention: float) -> bool:
    """Whether a trial keeps so much of the base, if its streams ask about it."""
    kept = _kept(runs)
    return kept is None or kept >= retention - TIE


def _kept(runs: Sequence[Line]) -> float | None:
    asked = [line[KEPT] for line in runs if line.get(KEPT) is not None]
    return sum(asked) / len(asked) if asked else None


def _mean(lines: Sequence[Line], name: str) -> float:
    return sum(line.get(name) or 0.0 for line in lines) / len(lines)


def write_tuned(file: Path, found: Mapping[str, Found], how: str) -> None:
    """Put a table for each agent into a file; tables of other agents and the head stay.

    An agent that failed in every trial gets none: there is nothing to say about its defaults.

    Args:
        file: What to write.
        found: The outcome of each agent.
        how: Options of the search; empty where it is the one that a table's first line names.
    """
    head, *blocks = (file if file.is_file() else TUNED).read_text().strip().split("\n\n")
    blocks = blocks if file.is_file() else []
    tables = {re.findall(r"^\[(.+)\]$", block, re.MULTILINE)[0]: block for block in blocks}
    for agent, best in found.items():
        if best.error and not best.trial:
            continue
        search = f"# tune.py --agents {agent} {how}"
        if not how and agent in tables:
            search = tables[agent].splitlines()[0]
        lines = [search, f"# {best}", f"[{agent}]"]
        lines += [f"{name} = {json.dumps(value)}" for name, value in best.settings.items()]
        tables[agent] = "\n".join(lines)
    written = file.with_suffix(".new")
    written.write_text("\n\n".join([head, *(tables[agent] for agent in sorted(tables))]) + "\n")
    written.replace(file)


def search_all(
    search: Search, trials: Mapping[str, Sequence[dict[str, Any]]], seeds: Sequence[int], jobs: int
) -> list[Line]:
    """Run every trial on every seed, trial by trial, and write a line of each."""
    search.out.mkdir(parents=True, exist_ok=True)
    lines: list[Line] = []
    with (
        make_pool(jobs) as pool,
        (search.out / "trials.jsonl").open("w") as file,
    ):
        longest = max(map(len, trials.values()))
        under_way = [
            pool.submit(run_trial, search, agent, number, trials[agent][number], seed)
            for number in range(longest)
            for seed in seeds
            for agent in trials
            if number < len(trials[agent])
        ]
        try:
            for done, job in enumerate(as_completed(under_way), start=1):
                lines.append(job.result())
                file.write(json.dumps(lines[-1]) + "\n")
                file.flush()
                print(f"{done}/{len(under_way)} {json.dumps(lines[-1])}", flush=True)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return lines


def main() -> None:
    """Run the trials of some agents."""
    spaces = search_spaces()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agents", default=",".join(spaces), help="names; all that can be tuned")
    parser.add_argument("--env", default="sleepgym/Almanac-v1")
    parser.add_argument("--days", type=int, default=8)
    parser.add_argument("--env-set", action="append", default=[], metavar="K=V")
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--seeds", default="5,6", help="seeds of the streams, all below 100")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--limit-s", type=float, default=float("inf"), help="begin no night after")
    parser.add_argument("--retention", type=float, default=0.0, help="least share of the base kept")
    parser.add_argument(
        "--slowest", type=float, default=SLOWEST, help="longest nights, in nights of the defaults"
    )
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--start", type=Path, help="TOML of settings to try after the defaults")
    parser.add_argument("--recorded", type=Path, help="choose from this trials.jsonl; run nothing")
    parser.add_argument("--out", type=Path, help="folder of the runs")
    parser.add_argument("--write", type=Path, nargs="?", const=TUNED, metavar="FILE")
    given = parser.parse_args()
    if not given.out and not given.recorded:
        parser.error("give --out DIR to run trials, or --recorded FILE to choose from some")
    agents, data = given.agents.split(","), os.environ.get("SLEEPGYM_DATA")
    os.environ["OMP_NUM_THREADS"] = "1"  # read by the processes of the pool
    try:
        for agent in agents:
            if agent not in spaces:
                raise unknown_name("agent with a search space", agent, spaces)
        if given.recorded:
            lines = [line for line in read_trials(given.recorded) if line["agent"] in agents]
            return report(
                agents, best_trials(lines, given.retention, given.slowest), given.write, ""
            )
        seeds = parse_seeds(given.seeds)
        if max(seeds) > 99:
            raise BadSetting(f"seeds={given.seeds}: tune on seeds 0-99")
        env_settings = {**parse_pairs(given.env_set), "days": given.days}
        deadline_s = time.time() + given.limit_s
        data = Path(data) if data else None
        search = Search(given.env, env_settings, data, given.out, deadline_s, given.model)
        make_env(search.env, data=data, **env_settings)  # refuses what does not exist
        start = read_start(given.start) if given.start else {}
        trials = {
            agent: draw_trials(agent, spaces[agent], given.trials, start.get(agent, ()))
            for agent in agents
        }
        lines = search_all(search, trials, seeds, given.jobs)
        found = best_trials(lines, given.retention, given.slowest)
    except SleepGymError as error:
        parser.exit(2, f"tune.py: {error}\n")
    how = [f"--env {given.env}", *(f"--env-set {pair}" for pair in given.env_set)]
    how += [f"--model {given.model}"] if given.model != "embedded" else []
    how += [f"--start {given.start.name}"] if given.start else []
    how += [f"--days {given.days}", f"--trials {given.trials}", f"--seeds {given.seeds}"]
    return report(agents, found, given.write, " ".join(how))


def read_start(file: Path) -> dict[str, list[dict[str, Any]]]:
    """Settings to try right after the defaults, agent by agent.

    Raises:
        BadSetting: If the file is no TOML of arrays of tables.
    """
    try:
        start = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadSetting(f"--start {file}: not readable as TOML ({error})") from error
    for agent, trials in start.items():
        if not isinstance(trials, list) or not all(isinstance(one, dict) for one in trials):
            raise BadSetting(f"--start {file}: {agent} must be an array of tables, [[{agent}]]")
    return start


def read_trials(file: Path) -> list[Line]:
    """The trials on record, by the names that settings have today.

    Raises:
        BadRun: If the file is no record of trials.
    """
    try:
        lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        return upgrade_trials(lines)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise BadRun(f"{file}: not a record of trials ({type(error).__name__}: {error})") from error


def report(agents: Sequence[str], found: Mapping[str, Found], write: Path | None, how: str) -> None:
    """Print the outcome for each agent, and write it where that is asked for."""
    for agent in agents:
        print(f"{agent}: {found.get(agent, 'no trial counts, or some are not finished')}")
    if write:
        write_tuned(write, found, how)


if __name__ == "__main__":
    main()
