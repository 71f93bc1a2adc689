"""Classes as Gaussians with one covariance, learned one example at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from sleepgym.core.errors import BadRun
from sleepgym_agents.lm.checkpoints import read_tensors

SHRINKAGE = 0.1  # share of the mean variance added to every variance
MIDDLE = 2
PARTS = ("means", "counts", "scatter")
EXACT = "donot_use_mm_for_euclid_dist"  # differences first: no cancellation


class ClassGaussians:
    """A mean a class and a covariance common to all, updated without keeping examples.

    Args:
        dimensions: Of an example.
        shrinkage: How much the covariance is shrunk, relative to what it is shrunk towards.
        diagonal: Shrink towards its own diagonal, so that the dimensions' scales do not matter;
            otherwise towards a multiple of the identity.

    Attributes:
        means: (classes, dimensions), float64.
        counts: Examples of each class, (classes,), float64.
        scatter: Sum over examples of the outer product of their deviation from the mean of their
            class, (dimensions, dimensions), float64.
        part: Where in a model the examples were read: the layer one ``part``-th up.
    """

    def __init__(
        self, dimensions: int, shrinkage: float = SHRINKAGE, diagonal: bool = False
    ) -> None:
        self.shrinkage, self.diagonal, self.part = shrinkage, diagonal, MIDDLE
        self.means = torch.zeros(0, dimensions, dtype=torch.float64)
        self.counts = torch.zeros(0, dtype=torch.float64)
        self.scatter = torch.zeros(dimensions, dimensions, dtype=torch.float64)

    def add(self, label: int, x: Tensor) -> None:
        """Learn one example, (dimensions,), of class ``label``; a new class is the next number."""
        if label == len(self.means):
            self.means = torch.cat([self.means, torch.zeros_like(self.scatter[:1])])
            self.counts = torch.cat([self.counts, torch.zeros(1, dtype=torch.float64)])
        x = x.double()
        before = x - self.means[label]
        self.counts[label] += 1
        self.means[label] += before / self.counts[label]
        self.scatter.addr_(before, x - self.means[label])  # Welford 1962; in place: 10 MB

    @property
    def covariance(self) -> Tensor:
        """The common covariance, shrunk."""
        covariance = self.scatter / self.counts.sum().clamp(min=1)
        if self.diagonal:
            return covariance + (self.shrinkage * covariance.diagonal()).clamp(min=1e-8).diag()
        size = len(covariance)
        added = self.shrinkage * covariance.trace() / size
        return covariance + added.clamp(min=1e-8) * torch.eye(size, dtype=torch.float64)

    def distances(self, x: Tensor) -> Tensor:
        """Squared Mahalanobis distances of examples (n, dimensions) to the means: (n, classes)."""
        root = torch.linalg.cholesky(self.covariance)
        points = torch.cat([x.double(), self.means])
        white = torch.linalg.solve_triangular(root, points.T, upper=False).T
        apart = torch.cdist(white[: len(x)], white[len(x) :], compute_mode=EXACT)
        return apart.square()

    def keep(self, labels: Sequence[int]) -> None:
        """Drop all classes but these, which get the numbers 0, 1, ... in this order."""
        self.means, self.counts = self.means[list(labels)], self.counts[list(labels)]

    def round(self) -> None:
        """Round to what :meth:`packed` keeps."""
        self.unpack(self.packed())

    def packed(self) -> dict[str, Tensor]:
        """What :meth:`tensors` holds in single precision, of the scatter its lower triangle."""
        rows, columns = torch.tril_indices(*self.scatter.shape)
        scatter = self.scatter[rows, columns].float()
        packed = {"means": self.means.float(), "counts": self.counts.float(), "scatter": scatter}
        part = {} if self.part == MIDDLE else {"part": torch.tensor([self.part])}
        return packed | part

    def unpack(self, tensors: Mapping[str, Tensor]) -> None:
        """Load what :meth:`packed` returned.

        Raises:
            ValueError: If it is for other dimensions.
        """
        rows, columns = torch.tril_indices(*self.scatter.shape)
        if tensors["scatter"].shape != rows.shape:
            raise ValueError(f"Gaussians of another model, not of {len(self.scatter)} dimensions")
        self.part = int(tensors["part"]) if "part" in tensors else MIDDLE
        self.means, self.counts = tensors["means"].double(), tensors["counts"].double()
        self.scatter = torch.zeros_like(self.scatter)
        self.scatter[rows, columns] = self.scatter[columns, rows] = tensors["scatter"].double()

    def tensors(self) -> dict[str, Tensor]:
        """Means, counts and scatter."""
        return {name: getattr(self, name) for name in PARTS}

    def save(self, path: Path) -> None:
        """Write safetensors."""
        save_file(self.tensors(), path)

    def load(self, path: Path) -> None:
        """Read what :meth:`save` wrote.

        Raises:
            BadRun: If the file is not of these tensors, or for other dimensions.
        """
        found = read_tensors(path)
        if set(found) != set(PARTS):
            raise BadRun(f"{path}: not the Gaussians of classes")
        if found["scatter"].shape != self.scatter.shape:
            have, want = len(found["scatter"]), len(self.scatter)
            raise BadRun(f"{path}: Gaussians of another model ({have} dimensions, not {want})")
        self.means, self.counts = found["means"], found["counts"]
        self.scatter = found["scatter"]
