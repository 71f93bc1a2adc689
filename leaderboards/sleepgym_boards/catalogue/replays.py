"""Rule ``replay``: the same runs do not stand on a board twice under two names.

A run that is made again, honestly, on a machine of its own may come out the same; that too adds
nothing to a board.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sleepgym.core.errors import SleepGymError
from sleepgym_boards.catalogue.entries import Entry
from sleepgym_boards.submission.files import parse, read_bytes
from sleepgym_boards.submission.schema import Run
from sleepgym_boards.verification.rules import RERUN
from sleepgym_boards.verification.verdict import RuleVerdict, Verdict


@dataclass(frozen=True)
class _Print:
    """What a run cannot change without being another.

    Attributes:
        did: Hash of every answer and every saved state.
        spent: Of these and every cost but seconds.
    """

    did: str
    spent: str


def find_replays(entries: Iterable[Entry], old: Container[Path] = ()) -> dict[Path, str]:
    """The submissions that hold runs of an earlier one of their board, and which runs those are.

    Of two the one that is ``old`` stands, then the earlier by date, then that with the smaller
    name. Two are compared answer by answer where the scores of a stream are the same in both
    verdicts.
    """
    standing = [e for e in entries if e.verified and e.verdict and e.verdict.results]
    prints: dict[Path, dict[int, _Print]] = {}
    earlier: dict[tuple[str, int, str], list[Entry]] = {}
    found: dict[Path, str] = {}
    for entry in sorted(standing, key=lambda e: (e.file not in old, _date(e), e.slug)):
        keys = [(entry.board, seed, scores) for seed, scores in _scores(entry)]
        rivals = {e.file: e for key in keys for e in earlier.get(key, ())}
        for rival in rivals.values():
            if entry.file not in found and (problem := _same(entry.file, rival, prints)):
                found[entry.file] = problem
        if entry.file not in found:
            for key in keys:
                earlier.setdefault(key, []).append(entry)
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
    scores, prints = set(_scores(mine)), {}
    for other in others:
        same_place = other.file.exists() and file.exists() and other.file.samefile(file)
        if same_place or other.board != mine.board or not other.verified:
            continue
        if scores & set(_scores(other)) and (problem := _same(file, other, prints)):
            return problem
    return ""


def _same(file: Path, other: Entry, prints: dict[Path, dict[int, _Print]]) -> str:
    for path in (file, other.file):
        if path not in prints:
            prints[path] = _read(path)
    mine, theirs = prints[file], prints[other.file]
    shared = sorted(mine.keys() & theirs.keys())
    spent = [seed for seed in shared if mine[seed].spent == theirs[seed].spent]
    did = [seed for seed in shared if mine[seed].did == theirs[seed].did]
    if not spent and not (did and len(did) == len(mine)):
        return ""
    seeds = ", ".join(map(str, spent or did))
    return f"seed {seeds}: the same answers and saved states as in {other.board}/{other.slug}"


def _read(file: Path) -> dict[int, _Print]:
    try:
        return {run.seed: _print(run) for run in parse(read_bytes(file)).runs}
    except SleepGymError:
        return {}


def _print(run: Run) -> _Print:
    did, spent = hashlib.sha256(), hashlib.sha256()
    for phase in run.phases:
        state = phase.ledger.state_digest if phase.ledger else None
        answers = [(answer.id, answer.text, answer.sha256) for answer in phase.answers]
        did.update(json.dumps([state, answers]).encode())
        costs = (phase.read_tokens, phase.generated_tokens, phase.train_tokens, phase.flops)
        spent.update(json.dumps(costs).encode())
    return _Print(did.hexdigest(), did.hexdigest() + spent.hexdigest())


def _scores(entry: Entry) -> list[tuple[int, str]]:
    """Each stream with its scores: where they differ, so do the answers."""
    assert entry.verdict
    assert entry.verdict.results
    return [(seed.seed, json.dumps(seed.matrix)) for seed in entry.verdict.results.seeds]


def _date(entry: Entry) -> str:
    header = entry.verdict.header if entry.verdict else None
    return header.date if header else ""
