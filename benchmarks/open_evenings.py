"""Do experts disturb reading? Evenings of `sleep`, each asked as they are and with experts off.

    python benchmarks/open_evenings.py [--seeds 5,6,9] [--days 4] --out runs/evenings

Runs `sleep` as the suite of the board almanac-8-any does, its model included, on tuning streams.
The day stands in the context of every evening question, so that the model can answer without
experts; a name that an expert knows turns it on all the same. Prints the accuracy of both, by day
and by whether the question holds such a name. What was run is only printed. About 160 s a stream
of four days on an H100 that others use too.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from sleepgym.core.env import make_env
from sleepgym.runs.records import read_run
from sleepgym.runs.runner import run
from sleepgym.suite.suite import load_suite, parse_seeds
from sleepgym_agents.baselines.in_context import InContext
from sleepgym_agents.sleep.sleep import Sleep

SUITE = "leaderboards/suites/almanac-8-any.toml"
AGENT, FILE = "sleep", "evenings.jsonl"


def ask_twice(file):
    """Let `sleep` write into a file what it answers with experts off, whenever a day is open."""
    as_it_is = Sleep.answer

    def answer(self, questions):
        found = as_it_is(self, questions)
        if self.parts:
            with self.memory.bare():
                off = InContext.answer(self, questions)
            encode, entities_in = self.lm.prompter.question, self.memory.entities_in
            with file.open("a") as lines:
                for question, on, bare in zip(questions, found, off, strict=True):
                    known = bool(entities_in([encode(question.text)]))
                    line = {"text": question.text, "on": on, "off": bare, "known": known}
                    lines.write(json.dumps(line) + "\n")
        return found

    Sleep.answer = answer
    return lambda: setattr(Sleep, "answer", as_it_is)


def is_finished(folder):
    """Whether a folder holds a run that ended."""
    return (folder / "run.json").is_file() and read_run(folder).finished


def graded(folder):
    """Day, whether the question holds a known name, and both scores, of every evening question."""
    record = read_run(folder)
    env = make_env(record.meta["spec"]["env"], **record.meta["spec"]["env_settings"])
    stream = env.family.stream(record.meta["spec"]["seed"])
    texts = {item.id: item.question.text for day in stream.days for item in day.exam}
    lines = [json.loads(line) for line in (folder / FILE).read_text().splitlines()]
    asked = {(line["text"], line["on"]): line for line in lines}
    rows = []
    for row in record.answers:
        if row["phase"] == "evening":
            line = asked[texts[row["id"]], row["answer"]]
            targets = stream.key[row["id"]]
            off = max(env.family.score_item(row["id"], line["off"], target) for target in targets)
            rows.append((row["item_day"], bool(line["known"]), row["score"], off))
    return rows


def show(name, rows):
    if rows:
        on, off = (fmean(row[i] for row in rows) for i in (2, 3))
        print(f"{name:44} {len(rows):4} questions: experts on {on:.3f}, off {off:.3f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", default="5,6,9", help="tuning streams")
    parser.add_argument("--days", type=int, default=4)
    parser.add_argument("--model", default="", help="else the suite's")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    suite = load_suite(SUITE).only([AGENT])
    env = replace(suite.envs[0], settings={**suite.envs[0].settings, "days": given.days})
    suite = replace(suite, envs=(env,), seeds=parse_seeds(given.seeds))
    suite = replace(suite, model=given.model or suite.model)
    rows = []
    for spec, folder in suite.runs(given.out):
        if not is_finished(folder):
            folder.mkdir(parents=True, exist_ok=True)
            restore = ask_twice(folder / FILE)
            try:
                run(spec, folder)
            finally:
                restore()
        rows += graded(folder)
    for day in range(1, given.days + 1):
        show(f"day {day}", [row for row in rows if row[0] == day])
    later = [row for row in rows if row[0] > 1]
    show("from day 2, with a name that an expert knows", [row for row in later if row[1]])
    show("from day 2, without", [row for row in later if not row[1]])


if __name__ == "__main__":
    main()
