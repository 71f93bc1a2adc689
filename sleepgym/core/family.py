"""A task family: configuration -> stream, and the grade of an answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from sleepgym.core.types import Stream


class TaskFamily(ABC):
    """Subclass this, name a frozen ``Config`` dataclass, and register it to make an environment.

    Attributes:
        Config: Frozen dataclass of the family's settings; the class docstring documents each.
        presets: Named protocols: preset name -> settings (family settings, ``exams``, budgets).
    """

    Config: ClassVar[type]
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    def __init__(self, config: Any = None, data: Path | None = None) -> None:
        """Keep the configuration.

        Args:
            config: An instance of ``Config``; its defaults where None.
            data: Folder of the original data files; ``SLEEPGYM_DATA`` where None.
        """
        self.config = self.Config() if config is None else config
        self.data = data

    @abstractmethod
    def stream(self, seed: int) -> Stream:
        """The stream of this configuration and seed; the same bytes every time."""

    @abstractmethod
    def score(self, answer: str, target: str) -> float:
        """The grade of an answer, in [0, 1]; 1.0 for the target itself."""

    def score_item(self, item_id: str, answer: str, target: str) -> float:
        """The grade of an answer to an item: :meth:`score`, unless a family mixes others."""
        return self.score(answer, target)
