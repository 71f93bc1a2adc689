"""Labels as tries of tokens, cut into rows of about equal size that one forward pass can read."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

ROW_TOKENS = 24


class LabelTries:
    """Tokens of all labels, common beginnings merged, packed into rows.

    A row is a small forest: a token sees its ancestors only, so that one pass over the rows gives
    the likelihood of every label. The last token of a label is predicted but never read.

    Attributes:
        labels: Number of distinct labels.
        original: For each label as given, its index among the distinct ones.
        first_places: For each distinct label, where it was first given.
        first_tokens: The first token of each distinct label.
        rows: Number of rows.
        tokens: Token ids, (rows, size).
        depths: Distance of each token from the prompt's end, (rows, size).
        visible: Which tokens of its row each token sees, (rows, size, size).
        sizes: Real tokens of each row, (rows,).
    """

    def __init__(self, labels: Sequence[tuple[int, ...]], device: torch.device | str) -> None:
        distinct = list(dict.fromkeys(labels))
        self.labels = len(distinct)
        index = {label: i for i, label in enumerate(distinct)}
        self.original = torch.tensor([index[label] for label in labels])
        self.first_places = torch.tensor([labels.index(label) for label in distinct])
        self.first_tokens = torch.tensor([label[0] for label in distinct])
        rows = _pack(sorted(distinct))
        self.rows = len(rows)
        size = max(1, *(len(nodes) for nodes, _ in rows))
        most = max(len(members) for _, members in rows)
        longest = max(map(len, distinct))
        self.tokens = torch.zeros(self.rows, size, dtype=torch.long)
        self.depths = torch.zeros(self.rows, size, dtype=torch.long)
        self.visible = torch.eye(size, dtype=torch.bool).repeat(self.rows, 1, 1)
        self.sizes = torch.tensor([len(nodes) for nodes, _ in rows])
        # of each label in a row: its index, first token, and the (node, next token) of the rest
        self._label = torch.full((self.rows, most), -1)
        self._first = torch.zeros(self.rows, most, dtype=torch.long)
        self._nodes = torch.zeros(self.rows, most, longest - 1, dtype=torch.long)
        self._next = torch.full((self.rows, most, longest - 1), -1)
        for r, (nodes, members) in enumerate(rows):
            for path, n in nodes.items():
                self.tokens[r, n] = path[-1]
                self.depths[r, n] = len(path) - 1
                for length in range(1, len(path)):
                    self.visible[r, n, nodes[path[:length]]] = True
            for m, label in enumerate(members):
                self._label[r, m] = index[label]
                self._first[r, m] = label[0]
                for step in range(1, len(label)):
                    self._nodes[r, m, step - 1] = nodes[label[:step]]
                    self._next[r, m, step - 1] = label[step]
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(self, name, value.to(device))

    def row_bounds(self, bounds: Tensor) -> Tensor:
        """The highest of a row's labels, (questions, rows), from (questions, labels)."""
        values = bounds[:, self._label.clamp(min=0).flatten()].unflatten(1, self._label.shape)
        return values.masked_fill(self._label < 0, -torch.inf).amax(-1)

    def label_scores(
        self, row: Tensor, logits: Tensor, first: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probabilities of the labels of some rows.

        Args:
            row: Which row each entry of the batch read, (batch,).
            logits: After each of its tokens, (batch, size, vocabulary).
            first: Log-probabilities after the prompt, (batch, vocabulary).

        Returns:
            Index into the batch, index of the label, log-probability; one of each a label.
        """
        batch = torch.arange(len(row), device=row.device)[:, None, None]
        nodes, following = self._nodes[row], self._next[row]
        steps = logits.log_softmax(-1)[batch, nodes, following.clamp(min=0)]
        values = steps.masked_fill(following < 0, 0.0).sum(-1) + first.gather(1, self._first[row])
        pairs, members = (self._label[row] >= 0).nonzero(as_tuple=True)
        return pairs, self._label[row[pairs], members], values[pairs, members]


@lru_cache(maxsize=8)
def label_tries(labels: tuple[tuple[int, ...], ...], device: torch.device) -> LabelTries:
    """Tries of labels, kept: a task offers the same ones to question after question."""
    return LabelTries(labels, device)


def _pack(
    labels: Sequence[tuple[int, ...]],
) -> list[tuple[dict[tuple[int, ...], int], list[tuple[int, ...]]]]:
    """Rows of sorted labels: (path -> place in the row, labels)."""
    rows: list[tuple[dict[tuple[int, ...], int], list[tuple[int, ...]]]] = []
    for label in labels:
        paths = [label[:length] for length in range(1, len(label))]
        new = sum(path not in rows[-1][0] for path in paths) if rows else 0
        if not rows or len(rows[-1][0]) + new > ROW_TOKENS:
            rows.append(({}, []))
        nodes, members = rows[-1]
        for path in paths:
            nodes.setdefault(path, len(nodes))
        members.append(label)
    return rows
