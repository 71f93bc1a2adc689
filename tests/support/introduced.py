"""A toy stream that begins with an instruction and an exemplar."""

from dataclasses import replace

from sleepgym import Document, Question
from sleepgym.core.types import Experience, Introduction
from toy import Toy

SHOWN = Experience((Document("Ann is in Oslo.", "Ann"),), (Question("Where is Ann?"),), ("Oslo",))
TOLD = "Name a town.; Ann; Where is Ann? Oslo"


class Introduced(Toy):
    """The toy stream with an introduction."""

    def stream(self, seed):
        return replace(super().stream(seed), introduction=Introduction("Name a town.", (SHOWN,)))
