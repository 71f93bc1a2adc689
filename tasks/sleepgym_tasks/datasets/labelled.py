"""What every loader of a classification set returns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sleepgym_tasks.data.parsing import bad


class Row(NamedTuple):
    """A text and where it came from.

    Attributes:
        id: Split and row number in the original file, for example ``"train/17"``.
        text: The text, without white space at its ends.
    """

    id: str
    text: str


@dataclass(frozen=True)
class LabelledTexts:
    """A classification set, ready to be cut into days.

    Attributes:
        train: Label -> its training texts, in file order.
        test: Label -> its test texts, in file order.
        groups: The labels, in groups that belong together (domains); one group where none are
            given. Every label is in exactly one group.
        classes_per_day: Classes a day where the user does not choose.
        out_of_scope_train: Training texts that belong to no label.
        out_of_scope_test: Test texts that belong to no label.
    """

    train: Mapping[str, tuple[Row, ...]]
    test: Mapping[str, tuple[Row, ...]]
    groups: tuple[tuple[str, ...], ...]
    classes_per_day: int
    out_of_scope_train: tuple[Row, ...] = ()
    out_of_scope_test: tuple[Row, ...] = ()


def by_label(
    rows: Iterable[tuple[str, Row]], labels: Iterable[str], path: Path
) -> dict[str, tuple[Row, ...]]:
    """Label -> rows, for every one of ``labels``, in the order of ``labels``.

    Args:
        rows: (label, row); labels are known to be among ``labels``.
        labels: All labels.
        path: The file, for messages.

    Raises:
        BadData: If a label has no row.
    """
    gathered: dict[str, list[Row]] = {label: [] for label in labels}
    for label, row in rows:
        gathered[label].append(row)
    for label, own in gathered.items():
        if not own:
            raise bad(path, f"no example of the label {label!r}")
    return {label: tuple(own) for label, own in gathered.items()}


def check_label(label: str, labels: Iterable[str], path: Path, record: str) -> str:
    """``label``, if it is one of ``labels``.

    Raises:
        BadData: If it is not, with the file and record.
    """
    if label not in labels:
        raise bad(path, f"the label {label!r} is not one of the data set's", record)
    return label
