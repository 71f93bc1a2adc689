"""Fill a board with the reference agents: submissions and verdicts from the runs of a suite.

    sleepgym suite baselines
    python leaderboards/submit_reference.py runs/baselines --board almanac-8

RUNS holds ``.../LABEL/seed-N``, as ``sleepgym suite`` writes them. Each agent that ran on the
board's environment is described by a method card that is made from its class (a variant by that of
its agent), packed, verified as anyone would, and written to ``leaderboards/submissions/BOARD/``.
The others are listed with the reason. A role of the board (on the page of the ablation) that a
replaced file played goes over to the new one: its hash in the board's file follows. Exit code 1 if
nothing was submitted, 2 on bad input.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sleepgym.contract import docstrings
from sleepgym.core import registry
from sleepgym.core.errors import BadRun, SleepGymError
from sleepgym.core.settings import completed_settings
from sleepgym.runs.records import read_meta
from sleepgym_boards.board import Board, board_file, load_board
from sleepgym_boards.catalogue.entries import verdict_file
from sleepgym_boards.packing import NotReady, pack, validate_card
from sleepgym_boards.submission import files
from sleepgym_boards.submission.schema import MethodCard, Submission
from sleepgym_boards.verification.identity import board_settings
from sleepgym_boards.verification.verifier import verify

HERE = Path(__file__).parent
SUBMISSIONS = HERE / "submissions"
CARD = {
    "authors": ["SleepGym"],
    "code": "https://github.com/sleepgym/sleepgym",
    "data": "none",
    "pretraining": "none",
    "tuning_seeds": "0-99",
}
MOST_REASONS = 3
LARGE_BYTES = 2 << 20  # of JSON: what holds more is compressed by xz, to less than half


@dataclass(frozen=True)
class Outcome:
    """What came of an agent's runs.

    Attributes:
        label: Folder of the runs.
        file: The submission; None where there is none.
        says: One line.
        replaced: Hash of the submission that was there before; empty where there was none.
    """

    label: str
    file: Path | None
    says: str
    replaced: str = ""


def submit_all(
    runs: Path,
    board: Board,
    out: Path = SUBMISSIONS,
    data: Path | None = None,
) -> Iterator[Outcome]:
    """Submit every agent under ``runs`` that ran on the board's environment.

    Raises:
        SleepGymError: If there are no runs of that environment, two folders of one label, or the
            board's data is not at hand.
    """
    groups = _groups(runs)
    fitting = {folder: metas for folder, metas in groups.items() if not _apart(metas[0], board)}
    if not fitting:
        reasons = sorted({f"{f.parent.name}: {_apart(m[0], board)}" for f, m in groups.items()})
        told = "; ".join(reasons) or "no LABEL/seed-N in it"
        raise SleepGymError(f"{runs} holds no run of board {board.name}'s environment: {told}")
    labels = [folder.name for folder in fitting]
    if twice := sorted({label for label in labels if labels.count(label) > 1}):
        raise SleepGymError(f"{runs} holds two folders of {twice[0]}: name the runs of one suite")
    for folder, metas in sorted(fitting.items()):
        try:
            card = method_card(folder.name, metas[0])
            submission = pack([folder], board, card, data=data)
        except NotReady as error:
            more = len(error.missing) - MOST_REASONS
            reasons = error.missing[:MOST_REASONS] + ([f"and {more} more"] if more > 0 else [])
            yield Outcome(folder.name, None, "; ".join(reasons))
            continue
        yield _write(submission, out / board.name / folder.name, board, data)


def _groups(runs: Path) -> dict[Path, list[dict[str, Any]]]:
    """Folder of an agent's runs -> what ``run.json`` says, by seed."""
    groups: dict[Path, list[dict[str, Any]]] = {}
    for file in sorted(runs.rglob("seed-*/run.json")):
        try:
            groups.setdefault(file.parent.parent, []).append(read_meta(file.parent))
        except BadRun as error:
            print(f"left out: {error}", file=sys.stderr)
    for metas in groups.values():
        metas.sort(key=lambda meta: meta["spec"]["seed"])
    return groups


def _apart(meta: dict[str, Any], board: Board) -> str:
    """How a run's environment differs from the board's; empty where it does not."""
    spec, environment = meta["spec"], board.environment
    config = registry.family_class(environment.id).Config
    own = spec["env_settings"]
    own = completed_settings(config, own) if spec["env"] == environment.id else own
    given = {"environment": spec["env"], "exams": spec["exams"], **own}
    wanted = {"environment": environment.id, "exams": environment.exams, **board_settings(board)}
    for name in [*wanted, *given]:
        if given.get(name) != wanted.get(name):
            return f"{name} is {given.get(name)!r:.40}, the board's is {wanted.get(name)!r:.40}"
    return ""


def method_card(label: str, meta: dict[str, Any]) -> MethodCard:
    """The method card of an agent, or of a variant of one, at the commit of its runs.

    Args:
        label: Of the runs; other than the agent's name, they are those of a variant.
        meta: ``run.json`` of one of them.

    Raises:
        NotReady: If the runs cannot be described by the agent's class alone.
    """
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", label):
        raise NotReady([f"its label {label!r} must be lower-case words joined by hyphens"])
    agent, commit = meta["spec"]["agent"], meta["commit"]
    if commit is None:
        raise NotReady(["its runs do not say at which commit: run in a checkout"])
    if meta["spec"]["agent_settings"].get("dreamer"):
        raise NotReady(["its dreamer was trained beforehand, which its card would deny"])
    cls = registry.agent_class(agent)
    name, summary = cls.title or agent, docstrings.summary(cls)
    if not summary:
        raise NotReady([f"the class of {agent} has no docstring that says what it does"])
    if cls.sources:
        summary = f"{summary.removesuffix('.')} ({cls.sources})."
    if label != agent:
        name = f"{name}: {re.sub('[^A-Za-z0-9]+', ' ', label).strip()}"
        summary += " A variant: its settings say what is left out or replaced."
    fields = {
        "name": name,
        "summary": summary,
        "departures": " ".join(docstrings.departures(cls)) or "none",
        "commit": commit.removesuffix("-dirty"),
    }
    return validate_card(CARD | fields, f"card of {label}")


def _write(submission: Submission, place: Path, board: Board, data: Path | None) -> Outcome:
    label = place.name
    earlier = [f for suffix in files.SUFFIXES if (f := _named(place, suffix)).is_file()]
    for old in earlier:
        submission = _of_the_day_it_was_made(submission, old)
    text = files.dump(submission)
    suffix = files.XZ if len(text) > LARGE_BYTES else files.GZIP
    content, file = files.compress(text, suffix), _named(place, suffix)
    verdict = verify(content, board, data=data)
    if not verdict.ok or verdict.results is None:
        broken = [rule.rule for rule in verdict.rules if not rule.ok]
        return Outcome(label, None, f"refused by rule {', '.join(broken)}")
    file.parent.mkdir(parents=True, exist_ok=True)
    replaced = files.sha256(earlier[0].read_bytes()) if earlier else ""
    files.write_whole(content, file)
    for old in earlier:
        if old != file:
            old.unlink()
    files.write_whole(verdict.to_text().encode(), verdict_file(file))
    mean = verdict.results.mean.get(board.headline)
    commits = len({run.commit for run in submission.runs})
    return Outcome(
        label,
        file,
        f"{len(submission.runs)} runs, {len(content):,} bytes, {board.headline} "
        f"{'-' if mean is None else format(mean, '.3f')}, class {verdict.results.budget_class}"
        + (f", of {commits} commits" if commits > 1 else ""),
        replaced,
    )


def _named(place: Path, suffix: str) -> Path:
    return place.with_name(place.name + suffix)


def _of_the_day_it_was_made(submission: Submission, file: Path) -> Submission:
    """The submission that is there already, if only its date is another."""
    try:
        earlier = files.parse(files.read_bytes(file))
    except SleepGymError:
        return submission
    same = earlier.model_copy(update={"date": submission.date}) == submission
    return earlier if same else submission


def follow_roles(file: Path, board: Board, outcomes: Sequence[Outcome]) -> None:
    """Let the hashes under ``[roles]`` in a board's file follow the files that were replaced."""
    made = {files.sha256(o.file.read_bytes()): o for o in outcomes if o.file}
    new = {outcome.replaced: digest for digest, outcome in made.items() if outcome.replaced}
    text = file.read_text("utf-8")
    for role, digest in board.roles.items():
        follower = new.get(digest, digest)
        text = text.replace(digest, follower)
        if follower not in made:
            print(f"role {role} of board {board.name} is pinned to a file that is none of these")
        elif follower != digest:
            print(f"role {role} of board {board.name} goes over to the new {made[follower].label}")
    files.write_whole(text.encode(), file)


def main(words: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", type=Path, metavar="RUNS", help="folder that a suite wrote")
    parser.add_argument("--board", required=True, help="sleepgym list boards")
    parser.add_argument("--out", type=Path, default=SUBMISSIONS, help="folder of submissions")
    parser.add_argument(
        "--data", type=Path, default=os.environ.get("SLEEPGYM_DATA"), help="original data files"
    )
    given = parser.parse_args(words)
    outcomes = []
    try:
        board = load_board(given.board)
        for outcome in submit_all(given.runs, board, given.out, data=given.data):
            outcomes.append(outcome)
            verb = "submitted" if outcome.file else "skipped"
            print(f"{verb} {outcome.label}: {outcome.says}", flush=True)
    except SleepGymError as error:
        print(f"submit_reference: {error}", file=sys.stderr)
        return 2
    follow_roles(board_file(given.board), board, outcomes)
    submitted = sum(outcome.file is not None for outcome in outcomes)
    print(f"{submitted} of {len(outcomes)} agents on {board.name}")
    return 0 if submitted else 1


if __name__ == "__main__":
    sys.exit(main())
