"""Classes as Gaussians with one covariance, learned one example at a time."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from sleepgym.core.errors import BadRun
from sleepgym_agents.lm.checkpoints import read_tensors

SHRINKAGE = 0.1  # share of the mean variance added to every variance


class ClassGaussians:
    """A mean a class and a covariance common to all, updated without keeping examples.

    Attributes:
        means: (classes, dimensions), float64.
        counts: Examples of each class, (classes,), float64.
        scatter: Sum over examples of the outer product of their deviation from the mean of their
            class, (dimensions, dimensions), float64.
    """

    def __init__(self, dimensions: int) -> None:
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
        self.scatter += torch.outer(before, x - self.means[label])  # Welford 1962

    @property
    def covariance(self) -> Tensor:
        """The common covariance, shrunk towards a multiple of the identity."""
        covariance = self.scatter / self.counts.sum().clamp(min=1)
        size = len(covariance)
        added = SHRINKAGE * covariance.trace() / size
        return covariance + added.clamp(min=1e-8) * torch.eye(size, dtype=torch.float64)

    def distances(self, x: Tensor) -> Tensor:
        """Squared Mahalanobis distances of examples (n, dimensions) to the means: (n, classes)."""
        root = torch.linalg.cholesky(self.covariance)
        apart = x.double()[:, None] - self.means
        whitened = torch.linalg.solve_triangular(root, apart.flatten(0, 1).T, upper=False)
        return whitened.square().sum(0).view(len(x), len(self.means))

    def save(self, path: Path) -> None:
        """Write safetensors."""
        save_file({"means": self.means, "counts": self.counts, "scatter": self.scatter}, path)

    def load(self, path: Path) -> None:
        """Read what :meth:`save` wrote.

        Raises:
            BadRun: If the file is not of these tensors, or for other dimensions.
        """
        found = read_tensors(path)
        if set(found) != {"means", "counts", "scatter"}:
            raise BadRun(f"{path}: not the Gaussians of classes")
        if found["scatter"].shape != self.scatter.shape:
            have, want = len(found["scatter"]), len(self.scatter)
            raise BadRun(f"{path}: Gaussians of another model ({have} dimensions, not {want})")
        self.means, self.counts = found["means"], found["counts"]
        self.scatter = found["scatter"]
