"""Submissions on disk: ``leaderboards/submissions/<board>/<slug>.json.gz`` and their verdicts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from sleepgym.core.errors import SleepGymError
from sleepgym_boards.submission.files import read_bytes, sha256
from sleepgym_boards.verification.verdict import Verdict

SUFFIX = ".json.gz"
VERDICT_SUFFIX = ".verdict.json"


@dataclass(frozen=True)
class Entry:
    """A submission in its folder.

    Attributes:
        board: Name of the folder.
        slug: Name of the file without its suffix.
        file: The submission.
        verdict: What verification is said to have found; None where that cannot be read. It is as
            trustworthy as whoever wrote the file (:mod:`sleepgym_boards.catalogue.verdicts` makes
            it anew).
    """

    board: str
    slug: str
    file: Path
    verdict: Verdict | None

    @property
    def verified(self) -> bool:
        """Whether this very file was verified and kept every rule of the board it lies under."""
        verdict = self.verdict
        return (
            verdict is not None
            and verdict.ok
            and verdict.header is not None
            and verdict.header.board == self.board
            and verdict.sha256 == sha256(read_bytes(self.file))
        )


def load_entries(folder: Path) -> list[Entry]:
    """Every submission under ``folder/<board>/``, by board and slug.

    Raises:
        SleepGymError: If there is no such folder, or a submission is a link or a folder.
    """
    if not folder.is_dir():
        raise SleepGymError(f"{folder} is not a folder of submissions")
    files = sorted(folder.glob(f"*/*{SUFFIX}"))
    for file in files:
        if file.is_symlink() or file.parent.is_symlink() or not file.is_file():
            raise SleepGymError(f"submission {file} is no plain file")
    return [
        Entry(
            board=file.parent.name,
            slug=file.name.removesuffix(SUFFIX),
            file=file,
            verdict=_read_verdict(verdict_file(file)),
        )
        for file in files
    ]


def verdict_file(file: Path) -> Path:
    """Where the verdict on a submission file lies.

    Raises:
        SleepGymError: If the file has another suffix than ``.json.gz``.
    """
    if not file.name.endswith(SUFFIX):
        raise SleepGymError(f"{file.name}: a submission's name ends in {SUFFIX}")
    return file.with_name(file.name.removesuffix(SUFFIX) + VERDICT_SUFFIX)


def _read_verdict(file: Path) -> Verdict | None:
    try:
        return Verdict.model_validate_json(file.read_bytes())
    except (OSError, ValidationError):
        return None
