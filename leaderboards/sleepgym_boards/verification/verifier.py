"""Verifying a submission: nothing that the submitter computed is trusted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sleepgym.core.errors import SleepGymError, UnknownName
from sleepgym.runs.records import RunRecord
from sleepgym.scoring.comparisons import command
from sleepgym_boards.board import Board, load_board
from sleepgym_boards.submission.files import BadSubmission, parse, read_bytes, sha256
from sleepgym_boards.submission.schema import Run, Submission
from sleepgym_boards.verification import identity, regrading, scoring
from sleepgym_boards.verification.rules import (
    IDENTITY,
    OTHERS,
    READING,
    RECORDS,
    RERUN,
    RULES,
)
from sleepgym_boards.verification.verdict import (
    Header,
    Mark,
    Reruns,
    Results,
    RuleVerdict,
    Verdict,
)

MOST_PROBLEMS = 10
Found = dict[str, list[str]]


def verify(
    content: bytes,
    board: Board | None = None,
    *,
    data: Path | None = None,
    salt: str | None = None,
    reruns: int = 0,
    workers: int = 1,
) -> Verdict:
    """The verdict on the bytes of a submission file.

    Args:
        content: The file.
        board: The board; the one that the file names, where None.
        data: Folder of original data files.
        salt: The salt of a sealed board whose file does not tell it yet.
        reruns: How many (seed, night) pairs to live again
            (:mod:`sleepgym_boards.verification.rerun`).
        workers: How many of them side by side.

    Raises:
        SleepGymError: If the board's data or agent are not at hand, or its seeds are still sealed.
    """
    try:
        submission = parse(content)
    except BadSubmission as error:
        return Verdict(sha256=sha256(content), rules=_until(error, reruns > 0))
    found: Found = {rule: [] for rule in READING}
    note, results, reran = "", None, None
    try:
        board = board or load_board(submission.board)
    except UnknownName as error:
        found["board"] = [str(error)]
    else:
        more, results = check(submission, board, data=data, salt=salt)
        found |= more
        if reruns and results:
            from sleepgym.runs.isolation.sandbox import strictest_isolation
            from sleepgym_boards.verification.rerun import rerun

            found["rerun"], note = rerun(submission.runs, board, reruns, data, workers)
            nights = sum(p.phase == "sleep" for run in submission.runs for p in run.phases)
            reran = Reruns(pairs=min(reruns, nights), of=nights, isolation=strictest_isolation())
    rules = [_verdict(rule, found.get(rule)) for rule in _names(reruns > 0)]
    if note:
        rules[-1].note = note
    ok = all(rule.ok for rule in rules)
    hashed = sha256(content)
    sealed = isinstance(board, Board) and board.seal is not None and board.seal.holds(hashed)
    return Verdict(
        sha256=hashed,
        rules=rules,
        mark=derive_mark(sealed, reran) if ok else None,
        header=header(submission),
        results=results if ok else None,
    )


def verify_file(path: Path, board: Board | None = None, **options: Any) -> Verdict:
    """The verdict on a file; options as for :func:`verify`.

    Raises:
        SleepGymError: As :func:`verify`, and if the file is not there.
    """
    try:
        content = read_bytes(path)
    except BadSubmission as error:  # too large to be read, so without a hash
        return Verdict(sha256="", rules=_until(error, options.get("reruns", 0) > 0))
    return verify(content, board, **options)


def check(
    submission: Submission, board: Board, *, data: Path | None = None, salt: str | None = None
) -> tuple[Found, Results | None]:
    """The problems of a readable submission by rule, and its numbers.

    A rule that is not in the result was not reached: what it rests on does not hold.
    """
    runs = submission.runs
    seeds = board_seeds(board, salt)
    found: Found = {
        "board": identity.check_board(submission, board),
        "card": identity.check_card(submission, board, seeds),
        "digest": identity.check_digests(runs),
        "environment": identity.check_environment(runs, board),
        "one-method": identity.check_one_method(runs),
        "base-model": identity.check_base_model(runs, board),
        "audit": identity.check_audit(runs),
        "seeds": identity.check_seeds(runs, seeds),
    }
    if any(found[rule] for rule in ("board", "environment", "seeds")):
        return found, None
    found["ledger"] = [problem for run in runs for problem in regrading.check_ledger(run)]
    graded = []
    for run in runs:
        env = regrading.rebuild(board, run.seed, data)
        _extend(found, "stream", regrading.check_stream(run, env))
        uncovered = regrading.check_coverage(run, env)
        _extend(found, "coverage", uncovered)
        if not uncovered:
            wrong = regrading.check_grades(run, env)
            _extend(found, "grades", wrong)
            if not wrong:
                graded.append(scoring.graded(run, env))
    if any(found.get(rule) for rule in RECORDS):
        return found, None
    found["unseen"] = scoring.check_unseen(graded, board)
    budget, found["budget"] = scoring.check_budget(graded, board)
    if budget is None or any(found[rule] for rule in (*IDENTITY, "unseen")):
        return found, None
    return found, scoring.results(graded, budget)


def board_seeds(board: Board, salt: str | None = None) -> tuple[int, ...]:
    """The seeds of a board.

    Raises:
        SleepGymError: If they are sealed, and neither the board's file nor ``salt`` opens them.
    """
    if salt is not None:
        return board.sealed_seeds(salt)
    seeds = board.public_seeds()
    if seeds is None:
        raise SleepGymError(f"the seeds of board {board.name} are sealed: give --salt FILE")
    return seeds


def header(submission: Submission) -> Header:
    """What a page about a submission shows of it."""
    first = submission.runs[0]
    return Header(
        board=submission.board,
        board_version=submission.board_version,
        date=submission.date,
        card=submission.card,
        agent=first.method.agent,
        settings=first.method.settings,
        model=first.method.model,
        isolation=first.method.level,
        platform=first.platform,
        packages=first.packages,
        commands={
            run.seed: command(RunRecord(*_as_meta(run), [], [], [])) for run in submission.runs
        },
    )


def _as_meta(run: Run) -> tuple[Path, dict[str, Any]]:
    """A directory's name, and as much of ``run.json`` as a command line needs."""
    spec = {
        "env": run.environment.id,
        "env_settings": run.environment.settings,
        "exams": run.environment.exams,
        "budget": run.limits,
        "agent": run.method.agent,
        "agent_settings": run.method.settings,
        "seed": run.seed,
        "model": run.method.model,
        "isolation": run.method.level,
    }
    return Path("runs") / f"seed-{run.seed}", {"spec": spec, "salt": run.salt}


def derive_mark(sealed: bool, reruns: Reruns | None) -> Mark:
    """The mark of a submission that keeps every rule.

    Args:
        sealed: Whether its streams were drawn after its code was fixed, and were a secret when it
            was made.
        reruns: The nights that came out alike when they were executed again.
    """
    return Mark(name="sealed" if sealed else "re-run" if reruns else "recomputed", reruns=reruns)


def _names(rerun: bool) -> list[str]:
    """The rules on one file alone; what rests on others is said where there are others."""
    return [rule for rule in RULES if rule not in OTHERS and (rerun or rule not in RERUN)]


def _until(error: BadSubmission, rerun: bool) -> list[RuleVerdict]:
    """Rules before the one that stopped the reading hold; later ones were not reached."""
    names = _names(rerun)
    broken = names.index(error.rule)
    return [
        _verdict(rule, [] if place < broken else [str(error)] if place == broken else None)
        for place, rule in enumerate(names)
    ]


def _verdict(rule: str, problems: Sequence[str] | None) -> RuleVerdict:
    if problems is None:
        return RuleVerdict(rule=rule, ok=None)
    shown = list(problems[:MOST_PROBLEMS])
    if len(problems) > MOST_PROBLEMS:
        shown[-1] = f"and {len(problems) - MOST_PROBLEMS + 1} more"
    return RuleVerdict(rule=rule, ok=not problems, problems=shown)


def _extend(found: Found, rule: str, problems: list[str]) -> None:
    found.setdefault(rule, []).extend(problems)
