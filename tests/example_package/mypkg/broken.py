from dataclasses import dataclass
from pathlib import Path

from sleepgym import Agent


@dataclass
class BrokenConfig:
    """Settings."""

    reply: str = "unknown"


class Broken(Agent):
    """Breaks every rule of the contract."""

    Config = BrokenConfig
    born = 0

    def __init__(self, config=None, **kwargs) -> None:
        super().__init__(config, **kwargs)
        Broken.born += 1
        self.identity, self.asked, self.read = Broken.born, 0, 0

    def study(self, documents):
        self.read += len(documents)

    def answer(self, questions):
        self.asked += 1
        return [f"{self.identity} {self.asked}"]

    def sleep(self, night):
        if not self.read:
            raise ValueError("nothing to sleep on")
        self.meter.train_tokens += 1
        return {"mood": "good"}

    def save(self, path: Path) -> None:
        (path / "asked").write_text(f"{self.identity} {self.asked}")

    def load(self, path: Path) -> None:
        pass
