"""A uniform sample of a stream of texts within a byte budget."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from sleepgym.core.errors import BadRun, BadSetting
from sleepgym.core.rng import derive_rng
from sleepgym_agents.stores.text_store import Note


@dataclass(frozen=True, slots=True)
class Entry:
    """A note and its place in the draw.

    Attributes:
        draw: Uniform in [0, 1); the smallest draws are kept.
        note: The text.
    """

    draw: float
    note: Note


class Reservoir:
    """Notes drawn uniformly from all that were offered, whatever their number.

    Reservoir sampling (Vitter 1985) with a budget in bytes in place of a count: every note draws a
    number, and those with the smallest numbers are kept, as many as the budget holds. Whether a
    note is kept depends on its draw and on sizes, never on when it came.

    Attributes:
        budget_bytes: Largest size of the saved texts.
        size_bytes: Their size now.
        entries: What is kept, smallest draw first.
        offered: Notes offered so far.
        limit: The smallest draw that was ever turned away.
    """

    def __init__(self, budget_bytes: int, seed: int) -> None:
        self.budget_bytes = budget_bytes
        self.seed = seed
        self.size_bytes = 0
        self.entries: list[Entry] = []
        self.offered = 0
        self.limit = 1.0

    def offer(self, note: Note) -> None:
        """Draw for a note; keep it or turn it away, with whatever it displaces.

        Raises:
            BadSetting: If the note alone is larger than the budget.
        """
        size = len(note.line)
        if size > self.budget_bytes:
            raise BadSetting(
                f"store_bytes={self.budget_bytes}: one item takes {size} bytes; "
                f"set store_bytes to {size} or more"
            )
        draw = float(derive_rng(self.seed, "reservoir", self.offered).random())
        self.offered += 1
        if draw >= self.limit:
            return
        self.entries.append(Entry(draw, note))
        self.entries.sort(key=lambda entry: entry.draw)
        self.size_bytes += size
        while self.size_bytes > self.budget_bytes:
            last = self.entries.pop()
            self.limit = last.draw
            self.size_bytes -= len(last.note.line)

    def save(self, folder: Path) -> None:
        """Write the texts, and beside them what the next draws need."""
        lines = b"".join(entry.note.line for entry in self.entries)
        (folder / "buffer.jsonl").write_bytes(lines)
        draws = [entry.draw for entry in self.entries]
        counts = {"offered": self.offered, "limit": self.limit, "draws": draws}
        (folder / "draws.json").write_text(json.dumps(counts))

    def load(self, folder: Path) -> None:
        """Read what :meth:`save` wrote.

        Raises:
            BadRun: If a file is not of that form.
        """
        path = folder / "buffer.jsonl"
        try:
            counts = json.loads((folder / "draws.json").read_text())
            notes = [Note(**json.loads(line)) for line in path.read_bytes().splitlines()]
            pairs = zip(counts["draws"], notes, strict=True)
            self.entries = [Entry(draw, note) for draw, note in pairs]
            self.offered, self.limit = counts["offered"], counts["limit"]
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise BadRun(f"{path}: not a buffer with its draws: {error}") from error
        self.size_bytes = sum(len(note.line) for note in notes)
