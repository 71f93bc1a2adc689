"""The router that goes by entities, and by content where a question names none.

A class of practised questions is a Gaussian over their pooled hidden states and a sketch of their
tokens, all classes with one covariance (:mod:`sleepgym_agents.experts.class_gaussians`), learned by
the night from the day's practice. A new question belongs to the nearest one. Where all questions of
a class had one answer, that is the answer; otherwise the expert that learned the class gives it.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Hashable, Iterable, Mapping, Sequence

import torch
from torch import Tensor

from sleepgym_agents.experts.class_gaussians import ClassGaussians
from sleepgym_agents.experts.entity_router import EntityRouter
from sleepgym_agents.experts.routing import ExpertId, ExpertSets, Markers

PREFIX = "classes."  # of their tensors, beside those of names
SHRINKAGE = 0.3  # of the covariance towards its diagonal
TOKEN_NUMBERS = 384  # of a state, for the tokens that a question has


class ContentRouter(EntityRouter):
    """Entities first; a question that names none belongs to the nearest class.

    The forward pass does not look for classes: a class is decided by the whole question. Whoever
    answers asks :meth:`nearest` first, and sets ``active``.

    Attributes:
        documents: Whether days of documents are routed by content too, and nothing by entities.
        width: Of a state without the tokens of its question.
        gaussians: Of the classes, over states.
        answers: The answer of each class; empty for questions with answers of their own.
        owners: The expert of each class; None where the class's answer is all there is to know.
        radii: The largest distance at which a question belongs to a class, (classes,).
        active: The expert that is on within every item for now; None is as entities have it.
    """

    by_content = True

    def __init__(self, markers: Markers, width: int, documents: bool = False) -> None:
        super().__init__(markers)
        self.documents, self.by_entity = documents, not documents
        self.width = width
        self.gaussians = ClassGaussians(width, SHRINKAGE, diagonal=True)
        self.answers: list[str] = []
        self.owners: list[ExpertId | None] = []
        self.radii = torch.zeros(0, dtype=torch.float64)
        self.active: ExpertId | None = None
        self._one: dict[ExpertId, ExpertSets] = {}

    @property
    def knows_tokens(self) -> bool:
        """Whether the states of its classes hold which tokens a question has."""
        return len(self.gaussians.scatter) > self.width

    def learn_tokens(self) -> None:
        """Let states hold which tokens a question has, unless there are classes without."""
        if not self.answers:
            self.gaussians = ClassGaussians(self.width + TOKEN_NUMBERS, SHRINKAGE, diagonal=True)

    def learn(self, owner: ExpertId | None, answer: str, states: Tensor, radius: float) -> int:
        """Add questions of a class.

        Args:
            owner: The expert that answers them from now on, if any.
            answer: Their answer; empty where each has its own.
            states: Of each question, (questions, dimensions of the Gaussians).
            radius: Largest distance of a question of this class.

        Returns:
            Number of the class.
        """
        label = self.answers.index(answer) if answer and answer in self.answers else None
        if label is None:
            label = len(self.answers)
            self.answers.append(answer)
            self.owners.append(owner)
            self.radii = torch.cat([self.radii, self.radii.new_zeros(1)])
        self.owners[label] = owner
        self.radii[label] = max(float(self.radii[label]), radius)
        for state in states:
            self.gaussians.add(label, state)
        self.gaussians.round()
        return label

    def nearest(self, states: Tensor, among: Sequence[int], bounded: bool = False) -> Tensor:
        """The nearest class of each question.

        Args:
            states: Of each question, (questions, dimensions of the Gaussians).
            among: Classes to choose from.
            bounded: Whether a question may be of no class: one beyond its radius.

        Returns:
            Numbers of classes, -1 for none, (questions,).
        """
        distances = self.gaussians.distances(states)
        others = torch.ones(len(self.answers), dtype=torch.bool)
        others[list(among)] = False
        least, best = distances.masked_fill(others, torch.inf).min(-1)
        return torch.where(least <= self.radii[best], best, -1) if bounded else best

    @property
    def key(self) -> Hashable:
        """Experts, names, and which expert is on for all items."""
        return super().key, self.expert_sets

    @property
    def expert_sets(self) -> ExpertSets:
        """The expert that is on for all items alone, or those of entities."""
        if self.active is None:
            return super().expert_sets
        if self.active not in self._one:
            self._one[self.active] = ExpertSets([(self.active,)])
        return self._one[self.active]

    def experts_for(self, texts: Iterable[Sequence[int]]) -> set[ExpertId]:
        """The expert that is on for all items, or those of entities."""
        return super().experts_for(texts) if self.active is None else {self.active}

    def match(self, ids: Tensor, states: Tensor) -> Tensor:
        """The expert that is on for all items at each token of them, or the names that end."""
        if self.active is None:
            return super().match(ids, states)
        return torch.zeros_like(ids[:, ids.shape[1] - states.shape[1] :])

    def known_by_entity(self, expert_ids: Iterable[ExpertId]) -> list[ExpertId]:
        """Those that answer for no class."""
        return [expert_id for expert_id in expert_ids if expert_id not in self.owners]

    def forget(self, expert_id: ExpertId) -> None:
        """Drop an expert, and the entities and classes that only it knew."""
        super().forget(expert_id)
        kept = [i for i, owner in enumerate(self.owners) if owner != expert_id]
        if len(kept) < len(self.owners):
            self.gaussians.keep(kept)
            self.radii = self.radii[kept]
            self.answers = [self.answers[i] for i in kept]
            self.owners = [self.owners[i] for i in kept]

    def tensors(self) -> dict[str, Tensor]:
        """The names, if any; and where there are classes, Gaussians, radii, answers and experts.

        Answers are text, and deflated with the experts' numbers.
        """
        names = super().tensors() if self.table or not self.answers else {}
        if not self.answers:
            return names
        owners = [-1 if x is None else self.expert_ids.index(x) for x in self.owners]
        text = zlib.compress(json.dumps([self.answers, owners]).encode(), 9)
        classes = {
            **self.gaussians.packed(),
            "radii": self.radii,
            "answers": torch.frombuffer(bytearray(text), dtype=torch.uint8),
        }
        return {**names, **{f"{PREFIX}{name}": t for name, t in classes.items()}}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Load names and classes.

        Raises:
            ValueError: If the answers are damaged.
        """
        own = (name for name in tensors if name.startswith(PREFIX))
        classes = {name.removeprefix(PREFIX): tensors[name] for name in own}
        if not classes or len(tensors) > len(classes):
            super().restore(tensors)
        if not classes:
            return
        if classes["means"].shape[1] > self.width:
            self.learn_tokens()
        self.gaussians.unpack(classes)
        self.radii = classes["radii"]
        try:
            text = zlib.decompress(classes["answers"].numpy().tobytes())
        except zlib.error as error:
            raise ValueError(f"{PREFIX}answers: {error}") from error
        self.answers, owners = json.loads(text)
        self.owners = [None if i < 0 else self.expert_ids[i] for i in owners]
