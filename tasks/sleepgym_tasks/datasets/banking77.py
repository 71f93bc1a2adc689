"""Banking77: 77 fine-grained intents of one domain, online banking.

I. Casanueva et al., "Efficient Intent Detection with Dual Sentence Encoders", NLP4ConvAI 2020.
License CC BY 4.0. Files: ``banking77/train.csv`` and ``test.csv`` (header ``text,category``) and
``banking77/categories.json`` (a list of the 77 names), as in the folder ``banking_data`` of the
repository PolyAI-LDN/task-specific-datasets. 10,003 training and 3,080 test rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sleepgym_tasks.data.parsing import as_label, as_list, as_text, bad, read_csv, read_json
from sleepgym_tasks.data.sources import locate
from sleepgym_tasks.datasets.labelled import LabelledTexts, Row, by_label, check_label

CLASSES_PER_DAY = 11  # seven days


def load(data: Path | None = None) -> LabelledTexts:
    """The set from its original files.

    Raises:
        MissingData: If a file is not at hand.
        BadData: If a file is malformed.
    """
    labels = parse_categories(locate("banking77", "categories.json", data))
    train, test = (locate("banking77", f"{part}.csv", data) for part in ("train", "test"))
    return LabelledTexts(
        train=by_label(parse_rows(train, labels, "train"), labels, train),
        test=by_label(parse_rows(test, labels, "test"), labels, test),
        groups=(labels,),
        classes_per_day=CLASSES_PER_DAY,
    )


def parse_categories(path: Path) -> tuple[str, ...]:
    """The names in ``categories.json``, in file order.

    Raises:
        BadData: If the file is malformed.
    """
    content = as_list(read_json(path), path)
    names = tuple(as_label(name, path, f"[{i}]", "a name") for i, name in enumerate(content))
    for index, name in enumerate(names):
        if name in names[:index]:
            raise bad(path, f"the name {name!r} occurs twice", f"[{index}]")
    return names


def parse_rows(path: Path, labels: tuple[str, ...], part: str) -> Iterator[tuple[str, Row]]:
    """(label, row) of ``train.csv`` or ``test.csv``.

    Raises:
        BadData: If the file is malformed.
    """
    for index, (record, (text, label)) in enumerate(read_csv(path, ("text", "category"))):
        check_label(as_label(label, path, record), labels, path, record)
        yield label, Row(f"{part}/{index}", as_text(text, path, record, "the text").strip())
