"""Submissions on disk: ``submissions/<board>/<slug>.json.gz`` (or ``.xz``) and their verdicts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from sleepgym.core.errors import SleepGymError
from sleepgym_boards.submission.files import SUFFIXES, read_bytes, sha256, suffix_of
from sleepgym_boards.verification.verdict import Verdict

VERDICT_SUFFIX = ".verdict.json"
_SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


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
        problem: Why it is no submission, where its place or its name tells; empty where they do
            not.
    """

    board: str
    slug: str
    file: Path
    verdict: Verdict | None
    problem: str = ""

    @property
    def verified(self) -> bool:
        """Whether this very file was verified and kept every rule of the board it lies under."""
        verdict = self.verdict
        return (
            not self.problem
            and verdict is not None
            and verdict.ok
            and verdict.header is not None
            and verdict.header.board == self.board
            and verdict.sha256 == self.sha256
        )

    @property
    def sha256(self) -> str | None:
        """Hash of the file; None where it cannot be read, or is too large to be."""
        try:
            return sha256(read_bytes(self.file))
        except SleepGymError:
            return None


def load_entries(folder: Path) -> list[Entry]:
    """Every submission under ``folder/<board>/``, by board and slug.

    A link, a folder, a name that makes no address or one that is there with both suffixes has a
    ``problem`` and stops nothing.

    Raises:
        SleepGymError: If there is no such folder.
    """
    if not folder.is_dir():
        raise SleepGymError(f"{folder} is not a folder of submissions")
    found = [file for suffix in SUFFIXES for file in folder.glob(f"*/*{suffix}")]
    return [_entry(file) for file in sorted(found)]


def _entry(file: Path) -> Entry:
    board, suffix = file.parent.name, suffix_of(file)
    slug, problem = file.name.removesuffix(suffix), ""
    others = [file.with_name(slug + other) for other in SUFFIXES if other != suffix]
    if file.is_symlink() or file.parent.is_symlink() or not file.is_file():
        problem = f"{file.name} is no plain file"
    elif not _SLUG.fullmatch(slug):
        problem = (
            f"the name {file.name!a} must begin with a letter or digit and hold letters, digits, "
            "'.', '_' and '-' only"
        )
    elif any(map(Path.exists, others)):
        problem = f"{slug} is there twice: as {' and as '.join(SUFFIXES)}"
    return Entry(board, slug, file, None if problem else _read_verdict(verdict_file(file)), problem)


def verdict_file(file: Path) -> Path:
    """Where the verdict on a submission file lies.

    Raises:
        SleepGymError: If the file has another suffix than ``.json.gz`` or ``.json.xz``.
    """
    return file.with_name(file.name.removesuffix(suffix_of(file)) + VERDICT_SUFFIX)


def _read_verdict(file: Path) -> Verdict | None:
    try:
        return Verdict.model_validate_json(file.read_bytes())
    except (OSError, ValidationError):
        return None
