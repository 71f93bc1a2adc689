"""Verdicts on a whole folder of submissions, made anew: no verdict on disk is believed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sleepgym.core.errors import SleepGymError, unknown_name
from sleepgym_boards.board import board_names, load_board
from sleepgym_boards.catalogue.entries import (
    SUFFIX,
    VERDICT_SUFFIX,
    Entry,
    load_entries,
    verdict_file,
)
from sleepgym_boards.submission.files import write_whole
from sleepgym_boards.verification.rules import RERUN
from sleepgym_boards.verification.verdict import Verdict
from sleepgym_boards.verification.verifier import verify_file


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
        try:
            if entry.board not in board_names():
                raise unknown_name("board", entry.board, board_names())
            yield entry, verify_file(entry.file, load_board(entry.board), data=data), ""
        except SleepGymError as error:
            yield entry, None, str(error)


def write_verdicts(folder: Path, data: Path | None = None) -> Iterator[Finding]:
    """Verify every submission under ``folder/<board>/`` and write what its verdict should be.

    The rule ``rerun``, which chance decides, is carried over from a verdict on the same bytes. A
    verdict without a submission is removed. Where a board's data or seeds are not at hand, what is
    on disk stays as it is.

    Raises:
        SleepGymError: If there is no such folder, or a submission is a link.
    """
    for entry, verdict, problem in reverify(load_entries(folder), data):
        place = f"{entry.board}/{entry.slug}"
        if verdict is None:
            yield Finding(place, f"cannot be verified here: {problem}", False)
            continue
        verdict = _with_rerun(verdict, entry.verdict)
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
        if not file.with_name(slug + SUFFIX).exists():
            file.unlink()
            yield Finding(f"{file.parent.name}/{slug}", "a verdict on nothing, removed", True)


def _with_rerun(verdict: Verdict, earlier: Verdict | None) -> Verdict:
    if earlier is None or earlier.sha256 != verdict.sha256 or not verdict.ok:
        return verdict
    rerun = [rule for rule in earlier.rules if rule.rule in RERUN]
    results = verdict.results if all(rule.ok for rule in rerun) else None
    return verdict.model_copy(update={"rules": verdict.rules + rerun, "results": results})
