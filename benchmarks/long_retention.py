"""What long streams of Almanac leave of what was known: by age, and of the base world.

    python benchmarks/long_retention.py leaderboards/submissions/lifelong-256-v1/*.json.xz

Of every submission: accuracy by the age of a fact in nights, all runs together; the same apart for
facts whose question names an entity that a later day told of again, and for the others. Then, by a
quarter of the nights: evenings, next mornings, and base facts of entities that no day so far has
told of, and of those that a day has. Rebuilds each stream: a minute for 256 days.
"""

import argparse
import re
from collections import defaultdict
from pathlib import Path
from statistics import mean

from sleepgym_boards.board import load_board
from sleepgym_boards.submission.files import parse, read_bytes
from sleepgym_boards.submission.schema import Run
from sleepgym_boards.verification.regrading import rebuild

AGES = (0, 1, 8, 32, 64, 128, 192)
PARTS = 4
NAME = re.compile(r"[A-Z]\w+(?: [A-Z]\w+)*")
Scores = dict[tuple[int | str, int | str], list[float]]


def read_stream(board, seed):
    """By item: its day, 0 for base facts, and the days that tell of an entity in its question."""
    stream = rebuild(board, seed, None).stream
    told = defaultdict(set)
    items = {item.id: (0, item) for item in stream.base}
    for day in stream.days:
        for document in day.documents:
            for name in NAME.findall(f"{document.title}. {document.text}"):
                told[name].add(day.number)
        items |= {item.id: (day.number, item) for item in day.exam}
    return {
        key: (number, set().union(*(told[n] for n in _names(item) if n in told)))
        for key, (number, item) in items.items()
    }, len(stream.days)


def _names(item):
    return NAME.findall(item.question.text.partition(" ")[2])  # a sentence begins with a capital


def gather(run: Run, board, scores: Scores):
    """Add the run's scores to those by age and by part of the stream; the days of the stream."""
    items, last = read_stream(board, run.seed)
    for phase in run.phases:
        if phase.phase not in ("evening", "morning") or not phase.day:
            continue
        part = (phase.day - 1) * PARTS // last
        for answer in phase.answers:
            number, told = items[answer.id]
            again = any(number < day <= phase.day for day in told)
            if not number:
                scores[part, "told of" if again else "not told of"].append(answer.score)
            elif phase.phase == "evening":
                scores[part, "evening"].append(answer.score)
            elif phase.night >= number:
                age = phase.night - number
                scores["all", age].append(answer.score)
                scores["told of again" if again else "not told of again", age].append(answer.score)
                if not age:
                    scores[part, "morning"].append(answer.score)
    return last


def _row(scores: Scores, keys):
    return " | ".join(f"{mean(scores[key]):.3f}" if scores[key] else "-" for key in keys)


def main(files):
    """Print the tables."""
    for file in files:
        submission = parse(read_bytes(file))
        board, scores = load_board(submission.board), defaultdict(list)
        for run in submission.runs:
            last = gather(run, board, scores)
        ages = [age for age in AGES if age < last]
        print(f"\n{file}: {len(submission.runs)} runs of {last} days\n")
        print("| age in nights | " + " | ".join(map(str, ages)) + " |")
        print("|---" * (len(ages) + 1) + "|")
        for which in ("all", "not told of again", "told of again"):
            print(f"| {which} | {_row(scores, [(which, age) for age in ages])} |")
        print("\n| nights | evening | next morning | base, entities not told of | told of |")
        print("|---|---|---|---|---|")
        for part in range(PARTS):
            first, end = part * last // PARTS + 1, (part + 1) * last // PARTS
            kinds = [(part, k) for k in ("evening", "morning", "not told of", "told of")]
            print(f"| {first}-{end} | {_row(scores, kinds)} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", type=Path, nargs="+", metavar="SUBMISSION", help=".json.gz or .xz")
    main(parser.parse_args().files)
