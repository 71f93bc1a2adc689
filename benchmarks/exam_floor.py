"""What an exam gives away by its own text, a row a board: the table of docs/exams.md.

    python benchmarks/exam_floor.py [--boards NAMES] [--streams 10] [--data DIR] [--write [FILE]]

Agents that keep nothing take every exam of a stream without its nights: `exam-only` with all
questions of an exam at once, the same asked one by one, and `frozen`, the embedded model, where it
is the board's. Mean score over today's questions in the evening and in the morning, seeds 100 and
up. The last column is what asking together adds, the larger of the two: more than .02 means that
questions of an exam answer each other. --write puts the rows into a file that the site shows.
"""

from __future__ import annotations

import argparse
import os
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sleepgym import Phase, Question, make_env
from sleepgym.core.errors import MissingData
from sleepgym.core.registry import agent_class
from sleepgym_boards.board import board_names, load_board
from sleepgym_boards.floors import FLOORS, MOST_ADDED, Floor

Answer = Callable[[Sequence[Question]], list[str]]
INVENTED = {
    f"invented, v{version}": (f"sleepgym/ClassIncremental-v{version}", {"dataset": "invented"})
    for version in (0, 1)
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--boards", default="", help="comma-separated; else all, and two more rows")
    parser.add_argument("--streams", type=int, default=10)
    parser.add_argument("--data", default=os.environ.get("SLEEPGYM_DATA"))
    parser.add_argument("--write", type=Path, nargs="?", const=FLOORS, metavar="FILE")
    options = parser.parse_args()
    found: dict[str, Floor] = {}
    print(f"evening / morning, {options.streams} streams from seed 100")
    heads = ("frozen", "one by one", "exam-only", "together adds")
    print(f"{'board':24} {'environment':18} " + " ".join(f"{head:>13}" for head in heads))
    for title, env_id, settings, has_model in rows(options.boards):
        settings = {**settings, **({"data": options.data} if options.data else {})}
        try:
            floor = measure(env_id, settings, has_model, options.streams)
        except MissingData as error:
            print(f"{title:24} left out: {error}")
            continue
        found[title] = floor
        pairs = [floor.frozen, floor.one_by_one, floor.exam_only]
        cells = ["–" if pair is None else f"{pair[0]:.3f}/{pair[1]:.3f}" for pair in pairs]
        gate = f"{floor.added:.3f}" + ("" if floor.added <= MOST_ADDED else " !")
        name = env_id.removeprefix("sleepgym/")
        print(
            f"{title:24} {name:18} " + " ".join(f"{cell:>13}" for cell in (*cells, gate)),
            flush=True,
        )
    if options.write:
        write(
            options.write, {title: floor for title, floor in found.items() if title[-4:-1] != ", v"}
        )


def rows(names: str) -> list[tuple[str, str, dict[str, Any], bool]]:
    """Title, environment, settings, and whether the embedded model is the board's."""
    found = []
    for name in names.split(",") if names else board_names():
        board = load_board(name)
        env = board.environment
        settings = {**env.settings, "exams": env.exams}
        found.append((name, env.id, settings, board.base_model is not None))
    invented = [] if names else INVENTED.items()
    return found + [(title, env_id, dict(s), True) for title, (env_id, s) in invented]


def measure(env_id: str, settings: dict[str, Any], has_model: bool, streams: int) -> Floor:
    """The floor of an environment."""
    alone = remembered(one_by_one(agent_class("exam-only")().answer))
    frozen = remembered(agent_class("frozen")().answer) if has_model else None
    return Floor(
        streams=streams,
        frozen=score(frozen, env_id, settings, streams) if frozen else None,
        one_by_one=score(alone, env_id, settings, streams),
        exam_only=score(agent_class("exam-only")().answer, env_id, settings, streams),
    )


def write(file: Path, found: dict[str, Floor]) -> None:
    """Put rows into a file; those of other boards stay."""
    held = tomllib.loads(file.read_text("utf-8")) if file.is_file() else {}
    held |= {title: floor.model_dump(exclude_none=True) for title, floor in found.items()}
    lines = ["# Written by: python benchmarks/exam_floor.py --write. Evening, morning."]
    for title in sorted(held):
        lines += ["", f"[{title}]"]
        for name, value in held[title].items():
            shown = value if isinstance(value, int) else [round(number, 3) for number in value]
            lines.append(f"{name} = {shown}")
    file.write_text("\n".join(lines) + "\n", "utf-8")


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
