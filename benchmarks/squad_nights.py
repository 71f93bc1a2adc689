"""Nights on real text, setting by setting: what the evening knew, and what every morning keeps.

    python benchmarks/squad_nights.py --variants FILE.toml --data DIR --model smollm2-reader \\
        [--seeds 0,1] [--days 2] [--part 0/4] [--limit-s 500] [--out lines.jsonl]

For choosing settings, on tuning seeds: one instance lives through the first days of `squad-8`
streams without the runner, and a line a night is printed. A variant is a table of the TOML file:
`agent`, its settings, and

- `oracle = true`: each day's expert is alone and active at every token, in training and in exams.
  So nothing is routed, and nothing interferes: what a night could teach at most.

`covered` is the share of a day's questions of which an accepted answer is that of a kept dream.
`--part k/n` takes every n-th variant: so that several processes share a GPU.
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
from sleepgym.core.schedule import experiences_of
from sleepgym.core.types import Item, Stream
from sleepgym_agents.experts.routing import Always, ExpertId
from sleepgym_agents.sleep.consolidation import documents as documents_module
from sleepgym_agents.sleep.consolidation.consolidation_data import ConsolidationData


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


def main() -> None:
    """Live through every variant's days and print a line a night."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--variants", type=Path, required=True)
    parser.add_argument("--model", default="smollm2-reader")
    parser.add_argument("--data")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--days", type=int, default=2)
    parser.add_argument("--passages", type=int, default=4)
    parser.add_argument("--questions", default="none", help="a passage; none: all there are")
    parser.add_argument("--part", default="0/1")
    parser.add_argument("--limit-s", type=float, default=1e9)
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    begun_s = time.monotonic()
    part, parts = map(int, chosen.part.split("/"))
    variants = tomllib.loads(chosen.variants.read_text(encoding="utf-8"))
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
        for name, given in list(variants.items())[part::parts]:
            settings = dict(given)
            if time.monotonic() - begun_s > chosen.limit_s:
                return
            kind, oracle = settings.pop("agent"), settings.pop("oracle", False)
            if oracle:
                settings["router"] = "always"
            try:
                cls = agent_class(kind)
                agent = cls(cls.Config(**settings), seed=seed, model=chosen.model)
                for line in live(agent, family, stream, oracle):
                    text = json.dumps({"variant": name, "seed": seed, **line})
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
