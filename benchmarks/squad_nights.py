"""Nights on real text, setting by setting: what the evening knew, and what every morning keeps.

    python benchmarks/squad_nights.py --variants FILE.toml --data DIR --model smollm2-reader \\
        [--seeds 0,1] [--days 2] [--draws 24] [--part 0/4 | --only NAME,...] [--limit-s 500] \\
        [--out lines.jsonl]
    python benchmarks/squad_nights.py --best lines-*.jsonl

For choosing settings, on tuning seeds: one instance lives through the first days of `squad-8`
streams without the runner, and a line a night is printed. A variant is a table of the TOML file:
`agent`, its settings, and

- `oracle = true`: each day's expert is alone and active at every token, in training and in exams.
  So nothing is routed, and nothing interferes: what a night could teach at most.

- lists in place of values: a search space. With `--draws N` it becomes N variants, drawn as
  `agents/tuning/tune.py` draws its trials: the first is the rest of the table, every other takes
  each listed setting with probability one half (`benchmarks/squad_rivals.toml`).

`covered` is the share of a day's questions of which an accepted answer is that of a kept dream.
`--part k/n` takes every n-th variant, so that several processes share a GPU; `--only` those of
these names. What --out holds is not done again. --best prints the variants in the order of what the
last morning knows of all days.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean
from typing import Any

import sleepgym_agents  # noqa: F401  registers the agents where the package is not installed
import sleepgym_tasks  # noqa: F401
from sleepgym import Night
from sleepgym.core.agent import Agent, tell
from sleepgym.core.env import make_env
from sleepgym.core.grading import normalise
from sleepgym.core.registry import agent_class
from sleepgym.core.rng import derive_rng
from sleepgym.core.schedule import experiences_of
from sleepgym.core.types import Item, Stream
from sleepgym_agents.experts.routing import Always, ExpertId
from sleepgym_agents.sleep.consolidation import documents as documents_module
from sleepgym_agents.sleep.consolidation.consolidation_data import ConsolidationData

ATTEMPTS = 100  # to draw a variant unlike the ones before
DIGITS = 9  # of a value: means of the same scores differ in the last ones


def scores(agent: Agent, family: Any, stream: Stream, items: Sequence[Item]) -> list[float]:
    """The best grade of each answer over the accepted ones."""
    answers = agent.answer([item.question for item in items])
    return [
        max(family.score(answer, target) for target in stream.key[item.id])
        for item, answer in zip(items, answers, strict=True)
    ]


@contextmanager
def only(agent: Any, expert_id: ExpertId) -> Iterator[None]:
    """Within this context one expert is active at every token, and no other anywhere."""
    memory, router = agent.memory, agent.memory.router
    alone = Always(router.markers)
    alone.expert_ids = [expert_id]
    memory.router = alone
    try:
        yield
    finally:
        memory.router = router


def covered(stream: Stream, items: Sequence[Item], dreamt: Iterable[str]) -> float:
    """The share of questions whose answer is among those of dreams."""
    known = {normalise(answer) for answer in dreamt}
    return fmean(any(normalise(a) in known for a in stream.key[item.id]) for item in items)


def live(agent: Any, family: Any, stream: Stream, oracle: bool) -> Iterator[dict]:
    """What each of a stream's days gave."""
    kept: list[ConsolidationData] = []
    build = documents_module.build_consolidation_data

    def building(context: Any) -> ConsolidationData:
        kept.append(build(context))
        return kept[-1]

    documents_module.build_consolidation_data = building
    experts: dict[int, ExpertId] = {}
    agent.introduce(stream.introduction)
    try:
        for day in stream.days:
            tell(agent, experiences_of(day, stream.key))
            line: dict[str, Any] = {"day": day.number}
            line["evening"] = round(fmean(scores(agent, family, stream, day.exam)), 4)
            started_s = time.perf_counter()
            memory: Any = getattr(agent, "memory", None)
            if oracle:
                memory.mask = set(memory.unlocked)
            log = agent.sleep(Night.unlimited(day.number, agent.seed, agent.meter))
            line["night_s"] = round(time.perf_counter() - started_s, 2)
            if memory is not None and hasattr(memory, "unlocked"):
                memory.mask = set()
                if len(memory.unlocked) > len(experts):
                    experts[day.number] = memory.unlocked[-1]
            if kept:
                answers = [example.pair[1] for example in kept.pop().dreams]
                line["covered"] = round(covered(stream, day.exam, answers), 4)
            for name in ("open", "oracle") if experts else ("open",):
                line[name] = []
                for past in stream.days[: day.number]:
                    if name == "open" and not oracle:
                        line[name].append(round(fmean(scores(agent, family, stream, past.exam)), 4))
                    elif name == "oracle" and past.number in experts:
                        with only(agent, experts[past.number]):
                            own = scores(agent, family, stream, past.exam)
                        line[name].append(round(fmean(own), 4))
            line["all_s"] = round(time.perf_counter() - started_s, 2)
            yield {**line, "log": {k: round(float(v), 4) for k, v in dict(log or {}).items()}}
    finally:
        documents_module.build_consolidation_data = build


def drawn(variants: dict[str, dict], draws: int) -> dict[str, dict]:
    """The variants; of each with lists in it ``draws``, draw by draw, named NAME-0 and so on.

    Fewer where the lists have not so many.
    """
    found = {name: table for name, table in variants.items() if not _space(table)}
    seen: dict[str, list[dict]] = {}
    for number in range(draws):
        for name, table in variants.items():
            if space := _space(table):
                earlier = seen.setdefault(name, [])
                rng = derive_rng(0, "squad_nights", name, number)
                for _ in range(ATTEMPTS):
                    picked = {k: v[int(rng.integers(len(v)))] for k, v in space.items()}
                    taken = {k: v for k, v in picked.items() if number and rng.random() < 0.5}
                    if taken not in earlier:
                        earlier.append(taken)
                        rest = {k: v for k, v in table.items() if k not in space}
                        found[f"{name}-{number}"] = rest | taken
                        break
    return found


def _space(table: dict) -> dict[str, list]:
    return {k: v for k, v in table.items() if isinstance(v, list)}


def read_lines(files: Iterable[Path]) -> list[dict]:
    """What earlier calls wrote, whole lines only."""
    rows = (line for file in files if file.is_file() for line in file.read_text().splitlines())
    return [json.loads(row) for row in rows if row.startswith("{") and row.endswith("}")]


def print_best(lines: Iterable[dict]) -> None:
    """Variants by what the last morning knew, best first; those of all seeds before the others.

    Of equals the earlier draw comes first, in whatever order the lines were written.
    """
    lines = [line for line in lines if "error" not in line]
    days, seeds = max(line["day"] for line in lines), sorted({line["seed"] for line in lines})
    values: dict[str, dict[int, float]] = {}
    settings: dict[str, dict] = {}
    for line in (line for line in lines if line["day"] == days):
        values.setdefault(line["variant"], {})[line["seed"]] = fmean(line["open"] or line["oracle"])
        settings[line["variant"]] = line.get("settings", {})
    print(f"{sum(len(own) == len(seeds) for own in values.values())} of {len(values)} are whole")

    def place(name: str) -> tuple[Any, ...]:
        agent, _, draw = name.rpartition("-")
        value = round(fmean(values[name].values()), DIGITS)
        return -len(values[name]), -value, agent, int(draw) if draw.isdigit() else -1, name

    for name in sorted(values, key=place):
        own = values[name]
        cells = " ".join(f"{own[seed]:.3f}" if seed in own else "-" for seed in seeds)
        print(f"{name}: {fmean(own.values()):.3f} ({cells}) {json.dumps(settings[name])}")


def main() -> None:
    """Live through every variant's days and print a line a night."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--variants", type=Path)
    parser.add_argument("--best", type=Path, nargs="+", metavar="LINES", help="print, run nothing")
    parser.add_argument("--draws", type=int, default=1)
    parser.add_argument("--model", default="smollm2-reader")
    parser.add_argument("--data")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--days", type=int, default=2)
    parser.add_argument("--passages", type=int, default=4)
    parser.add_argument("--questions", default="none", help="a passage; none: all there are")
    parser.add_argument("--part", default="0/1")
    parser.add_argument("--only", default="", metavar="NAME,...", help="variants of these names")
    parser.add_argument("--limit-s", type=float, default=1e9)
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    begun_s = time.monotonic()
    if chosen.best:
        print_best(read_lines(chosen.best))
        return
    if not chosen.variants:
        parser.error("give --variants FILE.toml, or --best LINES")
    part, parts = map(int, chosen.part.split("/"))
    variants = drawn(tomllib.loads(chosen.variants.read_text(encoding="utf-8")), chosen.draws)
    names = chosen.only.split(",") if chosen.only else list(variants)
    if unknown := [name for name in names if name not in variants]:
        parser.error(f"--only: no variant {unknown[0]!r}; there are {', '.join(variants)}")
    earlier = read_lines([chosen.out] if chosen.out else [])
    done = {(one["variant"], one["seed"]) for one in earlier if one.get("day") == chosen.days}
    env = make_env(
        "sleepgym/SQuAD-v0",
        data=chosen.data,
        preset="squad-8",
        days=chosen.days,
        passages_per_day=chosen.passages,
        questions_per_passage=chosen.questions,
    )
    for seed in map(int, chosen.seeds.split(",")):
        env.reset(seed=seed)
        stream, family = env.stream, env.family
        for name in names[part::parts]:
            given = variants[name]
            settings = dict(given)
            if (name, seed) in done:
                continue
            if time.monotonic() - begun_s > chosen.limit_s:
                return
            kind, oracle = settings.pop("agent"), settings.pop("oracle", False)
            if oracle:
                settings["router"] = "always"
            try:
                cls = agent_class(kind)
                agent = cls(cls.Config(**settings), seed=seed, model=chosen.model)
                for line in live(agent, family, stream, oracle):
                    head = {"variant": name, "seed": seed, "settings": given}
                    text = json.dumps({**head, **line})
                    print(text, flush=True)
                    if chosen.out:
                        with open(chosen.out, "a", encoding="utf-8") as file:
                            print(text, file=file)
            except Exception as error:  # one variant must not end the others
                print(json.dumps({"variant": name, "seed": seed, "error": repr(error)}), flush=True)
            agent = None
            gc.collect()  # a model may stand in a circle


if __name__ == "__main__":
    main()
