"""What an exam gives away by its own text: the table of docs/exams.md.

    python benchmarks/exam_floor.py [--streams 10] [--data DIR]

Agents that keep nothing take every exam of a stream without its nights: `exam-only` with all
questions of an exam at once, the same asked one by one, and `frozen`, the embedded model. Mean
score over today's questions in the evening and in the morning, seeds 100 and up.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence

from sleepgym import Phase, Question, make_env
from sleepgym.core.registry import agent_class

Answer = Callable[[Sequence[Question]], list[str]]

ROWS = {
    "Almanac-v0": ("sleepgym/Almanac-v0", {"days": 8}),
    "Almanac-v1": ("sleepgym/Almanac-v1", {"days": 8}),
    "ClassIncremental-v0, invented": ("sleepgym/ClassIncremental-v0", {"dataset": "invented"}),
    "ClassIncremental-v1, invented": ("sleepgym/ClassIncremental-v1", {"dataset": "invented"}),
    "Codebook-v0": ("sleepgym/Codebook-v0", {"days": 8}),
}
CLINC = {
    "dataset": "clinc150",
    "days": 5,
    "classes_per_day": 5,
    "train_per_class": 8,
    "tests_per_class": 4,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--streams", type=int, default=10)
    parser.add_argument("--data", default=os.environ.get("SLEEPGYM_DATA"))
    options = parser.parse_args()
    rows = dict(ROWS)
    if options.data:
        for version in (0, 1):
            rows[f"ClassIncremental-v{version}, CLINC150"] = (
                f"sleepgym/ClassIncremental-v{version}",
                {**CLINC, "data": options.data},
            )
    print(f"evening / morning, {options.streams} streams from seed 100")
    print(f"{'environment':32} {'frozen':>12} {'one by one':>12} {'exam-only':>12}")
    for title, (env_id, settings) in rows.items():
        answers: tuple[Answer, ...] = (
            remembered(agent_class("frozen")().answer),
            remembered(one_by_one(agent_class("exam-only")().answer)),
            agent_class("exam-only")().answer,
        )
        cells = [score(answer, env_id, settings, options.streams) for answer in answers]
        text = " ".join(f"{f'{evening:.3f}/{morning:.3f}':>12}" for evening, morning in cells)
        print(f"{title:32} {text}", flush=True)


def one_by_one(answer: Answer) -> Answer:
    """The same, one question a call."""
    return lambda questions: [answer([question])[0] for question in questions]


def remembered(answer: Answer) -> Answer:
    """The same, each question asked once: for agents that learn nothing and ask one by one."""
    known: dict[Question, str] = {}

    def answer_new(questions: Sequence[Question]) -> list[str]:
        new = [q for q in dict.fromkeys(questions) if q not in known]
        if new:
            known.update(zip(new, answer(new), strict=True))
        return [known[q] for q in questions]

    return answer_new


def score(answer: Answer, env_id: str, settings: dict, streams: int) -> tuple[float, float]:
    """Mean evening and morning scores over today's questions, a stream counting once."""
    found: dict[bool, list[float]] = {False: [], True: []}
    for seed in range(100, 100 + streams):
        env = make_env(env_id, **settings)
        env.reset(seed=seed)
        scores: dict[bool, list[float]] = {False: [], True: []}
        for step in env.steps:
            if step.phase is not Phase.EXAM:
                env.step([""] * len(step.items))
                continue
            *_, info = env.step(answer(step.questions) if step.questions else [])
            for day, value in zip(info["days"], info["scores"], strict=True):
                if day and day == step.night + (not step.closed_book):
                    scores[step.closed_book].append(float(value))
        for closed, values in scores.items():
            found[closed].append(sum(values) / max(1, len(values)))
    return sum(found[False]) / streams, sum(found[True]) / streams


if __name__ == "__main__":
    main()
