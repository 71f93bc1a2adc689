from dataclasses import dataclass
from pathlib import Path

from sleepgym import Agent


@dataclass(frozen=True)
class RoteConfig:
    """Settings of :class:`Rote`.

    Attributes:
        reply: What it answers to everything.
    """

    reply: str = "unknown"


class Rote(Agent):
    """Answers everything alike."""

    Config = RoteConfig

    def answer(self, questions):
        return [q.choices[0] if q.choices else self.config.reply for q in questions]

    def save(self, path: Path) -> None:
        (path / "nothing").touch()

    def load(self, path: Path) -> None:
        pass
