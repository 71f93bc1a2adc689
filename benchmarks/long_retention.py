"""What long streams of Almanac leave of what was known: by age, and of the base world.

    python benchmarks/long_retention.py leaderboards/submissions/lifelong-256-v1/*.json.xz

Of every submission: accuracy by the age of a fact in nights, mean over its runs; then, by a quarter
of the nights, evenings, next mornings, and base facts in two parts: of entities that no day so far
has mentioned, and of those that a day has. Rebuilds each stream: a minute for 256 days.
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


def first_mentions(board, seed):
    """The day that first mentions what a base question asks about, by item; none where no day does.

    Also the day of every other item.
    """
    stream = rebuild(board, seed, None).stream
    seen, days = {}, {}
    for day in stream.days:
        for document in day.documents:
            for name in NAME.findall(f"{document.title}. {document.text}"):
                seen.setdefault(name, day.number)
        days |= {item.id: day.number for item in day.exam}
    mentions = {}
    for item in stream.base:
        names = NAME.findall(item.question.text.partition(" ")[2])
        found = [seen[name] for name in names if name in seen]
        mentions[item.id] = min(found, default=len(stream.days) + 1)
    return mentions, days


def gather(run: Run, board, scores: Scores):
    """Add the run's scores to those by age and by part of the stream."""
    mentions, days = first_mentions(board, run.seed)
    last = max(days.values())
    for phase in run.phases:
        if phase.phase not in ("evening", "morning") or not phase.day:
            continue
        part = (phase.day - 1) * PARTS // last
        for answer in phase.answers:
            if answer.id in mentions:
                told = "told of" if mentions[answer.id] <= phase.day else "not told of"
                scores[part, told].append(answer.score)
            elif phase.phase == "evening":
                scores[part, "evening"].append(answer.score)
            elif phase.night >= days[answer.id]:
                age = phase.night - days[answer.id]
                scores["age", age].append(answer.score)
                if not age:
                    scores[part, "morning"].append(answer.score)
    return last


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
        shown = (f"{mean(scores['age', age]):.3f}" if scores["age", age] else "-" for age in ages)
        print("| accuracy | " + " | ".join(shown) + " |\n")
        kinds = ("evening", "morning", "not told of", "told of")
        print("| nights | evening | next morning | base, entities not told of | told of |")
        print("|---|---|---|---|---|")
        for part in range(PARTS):
            shown = (f"{mean(scores[part, k]):.3f}" if scores[part, k] else "-" for k in kinds)
            first, end = part * last // PARTS + 1, (part + 1) * last // PARTS
            print(f"| {first}-{end} | " + " | ".join(shown) + " |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", type=Path, nargs="+", metavar="SUBMISSION", help=".json.gz or .xz")
    main(parser.parse_args().files)
