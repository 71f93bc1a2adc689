"""Writing a run so that a crash at any instant loses at most the phase under way.

A phase is committed by one line in ``phases.jsonl``, written after its answers, its night and its
state are safely on disk. Opening a directory again rolls everything else back to that line.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Iterable
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any

from sleepgym.core.errors import BadRun
from sleepgym.runs.lines import chained, follow_chain, plain, read_lines
from sleepgym.runs.records import CHAINED, FILES, altered_in_words, read_meta, state_folder

_log = logging.getLogger("sleepgym")
_OWN = {".lock", "run.json.tmp"}
# What a run consists of, beside `state`. `run.json` goes last: a directory without it and with the
# others would be refused as no run's.
_FILES = (
    "error.log",
    "samples.jsonl",
    "answers.jsonl",
    "nights.jsonl",
    "phases.jsonl",
    "run.json",
    ".lock",
)


class Journal:
    """The writing side of a run directory.

    Attributes:
        path: The run directory.
        phases: Committed phases.
        nights: Committed nights.
        state_digest: What the state after the last committed night must be; empty before it.
    """

    def __init__(self, path: Path, meta: dict[str, Any]) -> None:
        """Create the directory, or reopen it and roll back what was not committed.

        Raises:
            BadRun: If the directory holds a run of another configuration, or other files.
        """
        self.path = path
        self._create_or_check(meta)
        self.phases = read_lines(path / "phases.jsonl")
        self.nights = sum(line["phase"] == "sleep" for line in self.phases)
        self._cut("phases.jsonl", len(self.phases))
        self._cut("answers.jsonl", sum(line["questions"] for line in self.phases))
        self._cut("nights.jsonl", self.nights)
        self._links = self._check_chains()
        self._sweep_states()
        slept = read_lines(path / "nights.jsonl")
        self.state_digest: str = slept[-1]["state_digest"] if slept else ""

    @property
    def state(self) -> Path:
        """Where the state after the last committed night is."""
        return state_folder(self.path, self.nights)

    def commit(self, phase: dict[str, Any], answers: Iterable[dict[str, Any]] = ()) -> None:
        """Append a finished phase and its answers."""
        lines = list(answers)
        if lines:
            self._append("answers.jsonl", lines)
        self._append("phases.jsonl", [phase])
        self.phases.append(phase)

    def commit_night(self, phase: dict[str, Any], night: dict[str, Any], state: Path) -> None:
        """Append a finished night and adopt ``state``, a folder made by :meth:`scratch`."""
        previous = self.state
        for file in sorted(state.rglob("*")):
            if file.is_file():
                _sync(file)
        os.replace(state, state_folder(self.path, self.nights + 1))
        self._append("nights.jsonl", [night])
        self.commit(phase)
        self.nights += 1
        self.state_digest = night["state_digest"]
        shutil.rmtree(previous, ignore_errors=True)

    def discard(self) -> None:
        """Delete the run, as if it had never begun; files of others in its directory stay."""
        shutil.rmtree(self.path / "state", ignore_errors=True)
        for name in _FILES:
            (self.path / name).unlink(missing_ok=True)
        with suppress(OSError):  # not empty
            self.path.rmdir()

    @contextmanager
    def scratch(self):
        """An empty folder on the run's disk; removed unless it was adopted."""
        folder = self.path / "state" / "scratch"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _create_or_check(self, meta: dict[str, Any]) -> None:
        if (self.path / "run.json").exists():
            saved = read_meta(self.path)
            if saved.get("model_digest") and saved["model_digest"] == meta["model_digest"]:
                saved["spec"]["model"] = meta["spec"]["model"]  # the same files, elsewhere
            self._tell_versions(saved, meta)
            saved.setdefault("model_digest", meta["model_digest"])  # an older record says nothing
            saved.setdefault("salt", None)
            names = ("spec", "stream_hash", "model_digest", "served_model", "salt")
            change = next((n for n in names if saved.get(n) != meta.get(n)), None)
            if change is None:
                return
            if read_lines(self.path / "phases.jsonl"):
                raise BadRun(
                    f"{self.path} holds another run ({_difference(saved, meta, change)}): "
                    "choose another --out, or delete it"
                )
            # nothing of that run happened: it failed at its start
        elif self.path.is_dir() and any(p.name not in _OWN for p in self.path.iterdir()):
            raise BadRun(f"{self.path} is not empty and is no run directory: choose another --out")
        self.path.mkdir(parents=True, exist_ok=True)
        draft = self.path / "run.json.tmp"
        draft.write_text(json.dumps(meta, indent=1, sort_keys=True) + "\n")
        _sync(draft)
        os.replace(draft, self.path / "run.json")

    def _check_chains(self) -> dict[str, str]:
        """The last ``chain`` of every file; none where this run's lines are not chained.

        Raises:
            BadRun: If a committed line is not as it was written.
        """
        if read_meta(self.path)["schema"] < CHAINED:
            return {}
        links = {}
        for name in FILES:
            numbers, links[name] = follow_chain(self.path / name)
            if problem := altered_in_words(self.path / name, numbers):
                raise BadRun(f"{problem}: this run cannot go on")
        return links

    def _tell_versions(self, saved: dict[str, Any], meta: dict[str, Any]) -> None:
        """Say with which other versions than it began a run goes on: its record may be another."""
        if not 0 < len(read_lines(self.path / "phases.jsonl")) < meta["steps"]:
            return
        found = []
        for part in ("packages", "platform"):
            old, new = saved.get(part) or {}, meta.get(part) or {}
            found += [
                f"{name} {old.get(name)} -> {new.get(name)}"
                for name in sorted({*old, *new})
                if old.get(name) != new.get(name)
            ]
        if found:
            _log.warning("%s goes on with other versions: %s", self.path, ", ".join(found))

    def _append(self, name: str, rows: list[dict[str, Any]]) -> None:
        if self._links:
            content, self._links[name] = chained(rows, self._links[name])
        else:
            content = plain(rows)
        with open(self.path / name, "ab") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    def _cut(self, name: str, count: int) -> None:
        """Keep the first ``count`` lines of a file.

        Raises:
            BadRun: If it has fewer, or lines of more phases than the one that was interrupted.
        """
        file = self.path / name
        if not file.exists():
            return
        with open(file, "r+b") as handle:
            whole = (line for line in handle if line.endswith(b"\n"))
            sizes = [len(line) for line in islice(whole, count)]
            if len(sizes) < count:
                raise BadRun(f"{file} holds {len(sizes)} lines where the journal says {count}")
            if len({_phase_of(line) for line in whole}) > 1:
                raise BadRun(
                    f"{file} holds lines of phases that phases.jsonl lacks: "
                    "put that file back, or choose another --out"
                )
            handle.truncate(sum(sizes))

    def _sweep_states(self) -> None:
        folder = self.path / "state"
        for state in folder.glob("*"):
            if state != self.state:
                shutil.rmtree(state, ignore_errors=True)
        if self.nights and not self.state.is_dir():
            raise BadRun(f"{self.state} is missing: the run cannot be resumed")


def _phase_of(line: bytes) -> Any:
    """What tells the phase of an answer, or a night."""
    try:
        found = json.loads(line)
        return found.get("step", found.get("night"))
    except (ValueError, AttributeError):
        return None  # half of it is from another write


def _sync(file: Path) -> None:
    with open(file, "rb") as handle:
        os.fsync(handle.fileno())


def _difference(saved: dict[str, Any], meta: dict[str, Any], name: str) -> str:
    """The first field in which two specifications differ, in words."""
    old, new = saved[name], meta[name]
    if name == "model_digest":
        model = saved["spec"]["model"]
        if new is None:
            return f"its model {model!r} is not found from here: name its folder by --model"
        return (
            f"the files of model {model!r} are others: SHA-256 {old!s:.12} there, {new!s:.12} here"
        )
    if not isinstance(old, dict):
        return f"{name}: its data differ"
    for key in sorted({*old, *new}):
        if old.get(key) != new.get(key):
            if isinstance(old.get(key), dict) and isinstance(new.get(key), dict):
                return _difference(old, new, key)
            return f"{key} is {old.get(key)!r} there and {new.get(key)!r} here"
    return name
