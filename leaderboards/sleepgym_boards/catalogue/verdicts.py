"""Verdicts on a whole folder of submissions, made anew: no verdict on disk is believed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sleepgym.core.errors import SleepGymError
from sleepgym_boards.board import load_board
from sleepgym_boards.catalogue.entries import (
    VERDICT_SUFFIX,
    Entry,
    load_entries,
    verdict_file,
)
from sleepgym_boards.catalogue.replays import find_replays, with_replay
from sleepgym_boards.submission.files import SUFFIXES, write_whole
from sleepgym_boards.verification.rules import RERUN
from sleepgym_boards.verification.verdict import Verdict
from sleepgym_boards.verification.verifier import derive_mark, verify_file


@dataclass(frozen=True)
class Finding:
    """What came of one file.

    Attributes:
        place: ``BOARD/SLUG``.
        says: One line.
        ok: Whether it is a submission that keeps every rule.
    """

    place: str
    says: str
    ok: bool


def reverify(
    entries: Sequence[Entry], data: Path | None = None
) -> Iterator[tuple[Entry, Verdict | None, str]]:
    """Each entry, its verdict, and why there is none.

    Nothing comes from the verdicts on disk, so no verdict has the rule ``rerun``.

    Args:
        entries: Submissions.
        data: Folder of original data files.
    """
    for entry in entries:
        if entry.problem:
            yield entry, None, entry.problem
            continue
        try:
            yield entry, verify_file(entry.file, load_board(entry.board), data=data), ""
        except SleepGymError as error:
            yield entry, None, str(error)
        except Exception as error:  # a fault of ours: the other submissions must not wait for it
            yield entry, None, f"{type(error).__name__}: {error!s:.200}"


def write_verdicts(folder: Path, data: Path | None = None) -> Iterator[Finding]:
    """Verify every submission under ``folder/<board>/`` and write what its verdict should be.

    The rule ``rerun``, which chance decides, is carried over from a verdict on the same bytes. A
    verdict without a submission is removed. Where a board's data or seeds are not at hand, what is
    on disk stays as it is. Of two submissions with the same runs the one stands whose verdict was
    there before, else the earlier by date.

    Raises:
        SleepGymError: If there is no such folder.
    """
    entries = load_entries(folder)
    old = {entry.file for entry in entries if entry.verified}
    made = {entry.file: (verdict, problem) for entry, verdict, problem in reverify(entries, data)}
    verified = [
        replace(entry, verdict=_with_rerun(verdict, entry.verdict))
        for entry in entries
        if (verdict := made[entry.file][0]) is not None
    ]
    found = find_replays(verified, old)
    for entry in entries:
        place = f"{entry.board}/{entry.slug}"
        if entry.problem or made[entry.file][0] is None:
            yield Finding(place, f"cannot be verified here: {made[entry.file][1]}", False)
    for entry in verified:
        place, verdict = f"{entry.board}/{entry.slug}", entry.verdict
        assert verdict is not None
        if entry.file in found:
            verdict = with_replay(verdict, found[entry.file])
        text = verdict.to_text().encode()
        file = verdict_file(entry.file)
        written = not file.is_file() or file.is_symlink() or file.read_bytes() != text
        if written:
            write_whole(text, file)
        broken = [rule.rule for rule in verdict.rules if rule.ok is False]
        says = f"refused by rule {', '.join(broken)}" if broken else "ok"
        yield Finding(place, says + (", written" if written else ""), verdict.ok)
    for file in sorted(folder.glob(f"*/*{VERDICT_SUFFIX}")):
        slug = file.name.removesuffix(VERDICT_SUFFIX)
        if not any(file.with_name(slug + suffix).exists() for suffix in SUFFIXES):
            file.unlink()
            yield Finding(f"{file.parent.name}/{slug}", "a verdict on nothing, removed", True)


def _with_rerun(verdict: Verdict, earlier: Verdict | None) -> Verdict:
    """A verdict with what an earlier one on the same bytes found when nights were re-run."""
    if earlier is None or earlier.sha256 != verdict.sha256 or not verdict.ok:
        return verdict
    rules = [rule for rule in earlier.rules if rule.rule in RERUN]
    reruns = earlier.mark.reruns if earlier.mark else None
    update: dict[str, Any] = {"rules": verdict.rules + rules}
    if not all(rule.ok for rule in rules):
        update |= {"results": None, "mark": None}
    elif reruns and verdict.mark:
        update["mark"] = derive_mark(verdict.mark.name == "sealed", reruns)
    else:  # nothing was re-run, or nobody knows how much
        return verdict
    return verdict.model_copy(update=update)
