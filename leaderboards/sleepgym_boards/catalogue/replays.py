"""Rule ``replay``: the same runs do not stand on a board twice under two names.

Runs are the same where every answer and every saved state is. A copy can change a few answers: two
submissions are the same, too, where of the answers that are wrong in either nearly all are alike in
all runs. Right answers say nothing, for two good methods share them. Two boards can have the same
streams, for other models: there, runs may stand on both under one card, and not under another, so
that nobody's runs are shown as somebody else's, or with another's address and claims.

A run that is made again, honestly, on a machine of its own may come out the same; that too adds
nothing to a board.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sleepgym.core.errors import SleepGymError
from sleepgym_boards.board import BoardEnvironment, load_board
from sleepgym_boards.catalogue.entries import Entry
from sleepgym_boards.submission.files import parse, read_bytes
from sleepgym_boards.submission.schema import MethodCard, Run
from sleepgym_boards.verification.rules import RERUN
from sleepgym_boards.verification.verdict import RuleVerdict, Verdict

ALIKE = 0.99  # of the answers that are wrong in either
FEWEST_WRONG = 100  # fewer are no evidence
_NEAR = 0.02  # mean difference of two accuracy matrices, above which answers are not compared


_Matrices = dict[int, NDArray[np.float64]]


@dataclass(frozen=True)
class _Print:
    """What a run cannot change without being another.

    Attributes:
        did: Hash of every answer and every saved state.
        spent: Of these and every cost but seconds.
        texts: Hashes of its answers, in order.
        wrong: Which of them are.
    """

    did: str
    spent: str
    texts: NDArray[np.int64]
    wrong: NDArray[np.bool_]


def find_replays(entries: Iterable[Entry], old: Container[Path] = ()) -> dict[Path, str]:
    """The submissions that hold runs of an earlier one, and which runs those are.

    Of two the one that is ``old`` stands, then the earlier by date, then that with the smaller
    name. Two are compared answer by answer where the scores of a stream are the same in both
    verdicts, or those of all streams nearly so.
    """
    standing = [e for e in entries if e.verified and e.verdict and e.verdict.results]
    prints: dict[Path, dict[int, _Print]] = {}
    earlier: list[tuple[Entry, _Matrices]] = []
    found: dict[Path, str] = {}
    for entry in sorted(standing, key=lambda e: (e.file not in old, _date(e), e.slug)):
        mine = _matrices(entry)
        for rival, theirs in earlier:
            near = _compete(entry, rival) and _may_be_same(mine, theirs)
            if near and (problem := _same(entry.file, rival, prints)):
                found[entry.file] = problem + _elsewhere(entry, rival)
                break
        else:
            earlier.append((entry, mine))
    return found


def with_replay(verdict: Verdict, problem: str) -> Verdict:
    """A verdict that says so, and so has neither numbers nor a mark."""
    rule = RuleVerdict(rule="replay", ok=False, problems=[problem])
    rules = [r for r in verdict.rules if r.rule not in ("replay", *RERUN)] + [rule]
    rules += [r for r in verdict.rules if r.rule in RERUN]
    return verdict.model_copy(update={"rules": rules, "results": None, "mark": None})


def mark_replays(entries: Sequence[Entry]) -> list[Entry]:
    """The entries, those that are replays with a verdict that says so."""
    found = find_replays(entries)
    return [
        replace(entry, verdict=with_replay(entry.verdict, found[entry.file]))
        if entry.file in found and entry.verdict
        else entry
        for entry in entries
    ]


def find_replay(file: Path, verdict: Verdict, others: Iterable[Entry]) -> str:
    """Whether a new file holds runs of a submission that is there already; empty where not."""
    if not verdict.ok or verdict.results is None or verdict.header is None:
        return ""
    mine = Entry(verdict.header.board, "", file, verdict)
    matrices, prints = _matrices(mine), {}
    for other in others:
        same_place = other.file.exists() and file.exists() and other.file.samefile(file)
        if same_place or not _compete(mine, other) or not other.verified:
            continue
        near = _may_be_same(matrices, _matrices(other))
        if near and (problem := _same(file, other, prints)):
            return problem + _elsewhere(mine, other)
    return ""


def _compete(one: Entry, other: Entry) -> bool:
    """Whether two may not hold the same runs.

    They are of one board, or of two with the same streams and under other cards.
    """
    if one.board == other.board:
        return True
    environment = _environment(one.board)
    if environment is None or environment != _environment(other.board):
        return False
    return _card(one) != _card(other)


def _elsewhere(entry: Entry, other: Entry) -> str:
    if entry.board == other.board:
        return ""
    return ", whose card is another: the same runs stand on two boards under one card alone"


@cache
def _environment(board: str) -> BoardEnvironment | None:
    try:
        return load_board(board).environment
    except SleepGymError:
        return None


def _card(entry: Entry) -> MethodCard | None:
    """What its authors say of it, but for the commit that packed it."""
    header = entry.verdict.header if entry.verdict else None
    return header.card.model_copy(update={"commit": ""}) if header else None


def _matrices(entry: Entry) -> _Matrices:
    """Seed -> accuracy matrix."""
    assert entry.verdict
    assert entry.verdict.results
    return {seed.seed: np.array(seed.matrix, dtype=float) for seed in entry.verdict.results.seeds}


def _may_be_same(mine: _Matrices, theirs: _Matrices) -> bool:
    """Whether scores are such that answers may be the same: of one stream, or nearly, of all."""
    pairs = [(mine[s], theirs[s]) for s in mine.keys() & theirs.keys()]
    apart = [
        np.abs(np.nan_to_num(a, nan=-1.0) - np.nan_to_num(b, nan=-1.0))
        for a, b in pairs
        if a.shape == b.shape
    ]
    return any(not d.any() for d in apart) or (
        len(apart) == len(mine) and all(d.mean() <= _NEAR for d in apart)
    )


def _same(file: Path, other: Entry, prints: dict[Path, dict[int, _Print]]) -> str:
    for path in (file, other.file):
        if path not in prints:
            prints[path] = _read(path)
    mine, theirs = prints[file], prints[other.file]
    shared = sorted(mine.keys() & theirs.keys())
    spent = [seed for seed in shared if mine[seed].spent == theirs[seed].spent]
    did = [seed for seed in shared if mine[seed].did == theirs[seed].did]
    place = f"{other.board}/{other.slug}"
    if spent or (did and len(did) == len(mine)):
        seeds = ", ".join(map(str, spent or did))
        return f"seed {seeds}: the same answers and saved states as in {place}"
    if len(shared) == len(mine):
        alike, wrong = _alike([(mine[seed], theirs[seed]) for seed in shared])
        if wrong >= FEWEST_WRONG and alike >= ALIKE * wrong:
            return f"of {wrong} answers that are wrong here or in {place} {alike} are the same"
    return ""


def _alike(pairs: Iterable[tuple[_Print, _Print]]) -> tuple[int, int]:
    """Of the answers that are wrong in either of two runs: how many are the same, and all."""
    alike = wrong = 0
    for mine, theirs in pairs:
        if mine.texts.shape == theirs.texts.shape:
            either = mine.wrong | theirs.wrong
            wrong += int(either.sum())
            alike += int((either & (mine.texts == theirs.texts)).sum())
    return alike, wrong


def _read(file: Path) -> dict[int, _Print]:
    try:
        return {run.seed: _print(run) for run in parse(read_bytes(file)).runs}
    except SleepGymError:
        return {}


def _print(run: Run) -> _Print:
    did, spent = hashlib.sha256(), hashlib.sha256()
    given = [answer for phase in run.phases for answer in phase.answers]
    for phase in run.phases:
        state = phase.ledger.state_digest if phase.ledger else None
        answers = [(answer.id, answer.text, answer.sha256) for answer in phase.answers]
        did.update(json.dumps([state, answers]).encode())
        costs = (phase.read_tokens, phase.generated_tokens, phase.train_tokens, phase.flops)
        spent.update(json.dumps(costs).encode())
    return _Print(
        did.hexdigest(),
        did.hexdigest() + spent.hexdigest(),
        np.array([hash(answer.text) for answer in given], dtype=np.int64),
        np.array([answer.score < 1 for answer in given], dtype=bool),
    )


def _date(entry: Entry) -> str:
    header = entry.verdict.header if entry.verdict else None
    return header.date if header else ""
