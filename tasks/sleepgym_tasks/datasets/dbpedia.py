"""DBpedia topics: level 2 of "DBPedia Classes" (70 classes), or the 14 classes of Zhang et al.

``dbpedia``: the hierarchical set "DBPedia Classes" (Kaggle danofer/dbpedia-classes, on the Hugging
Face hub as DeveloperOats/DBPedia_Classes; from DBpedia, CC BY-SA 3.0): files
``dbpedia/DBPEDIA_train.csv`` and ``dbpedia/DBPEDIA_test.csv``, CSV with the columns text, l1, l2,
l3; the label is l2. No exact version of it could be pinned, so it is never downloaded: bring the
files with ``--data``.

``dbpedia14``: X. Zhang, J. Zhao, Y. LeCun, "Character-level Convolutional Networks for Text
Classification", NIPS 2015 (CC BY-SA 3.0), in the layout of O-LoRA's CL_Benchmark: files
``olora_cl_benchmark/CL_Benchmark/TC/dbpedia/labels.json`` and ``test.json``, a list of {label,
sentence}. Its training part is not used: of each label's records in ``test.json``, every fifth
(the 5th, 10th, ...) is a test text here and the others are training texts.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from sleepgym_tasks.data.parsing import as_fields, as_label, as_list, as_text, read_csv, read_json
from sleepgym_tasks.data.sources import locate
from sleepgym_tasks.datasets.banking77 import parse_categories
from sleepgym_tasks.datasets.labelled import LabelledTexts, Row, by_label, check_label

CLASSES_PER_DAY = 10  # seven days of the 70 classes
CLASSES_PER_DAY_14 = 2  # seven days of the 14 classes
_EVERY = 5


def load(data: Path | None = None) -> LabelledTexts:
    """The 70 classes of level 2, from the original files.

    Raises:
        MissingData: If a file is not at hand.
        BadData: If a file is malformed.
    """
    train, test = (locate("dbpedia", f"DBPEDIA_{part}.csv", data) for part in ("train", "test"))
    train_rows = parse_rows(train, "train")
    labels = tuple(sorted({label for label, _ in train_rows}))
    return LabelledTexts(
        train=by_label(train_rows, labels, train),
        test=by_label(parse_rows(test, "test", labels), labels, test),
        groups=(labels,),
        classes_per_day=CLASSES_PER_DAY,
    )


def load14(data: Path | None = None) -> LabelledTexts:
    """The 14 classes, from ``test.json`` of the O-LoRA layout.

    Raises:
        MissingData: If a file is not at hand.
        BadData: If a file is malformed.
    """
    folder = "CL_Benchmark/TC/dbpedia"
    labels = parse_categories(locate("olora_cl_benchmark", f"{folder}/labels.json", data))
    path = locate("olora_cl_benchmark", f"{folder}/test.json", data)
    train, test = parse_records(path, labels)
    return LabelledTexts(
        train=by_label(train, labels, path),
        test=by_label(test, labels, path),
        groups=(labels,),
        classes_per_day=CLASSES_PER_DAY_14,
    )


def parse_rows(
    path: Path, part: str, labels: tuple[str, ...] | None = None
) -> list[tuple[str, Row]]:
    """(level-2 label, row) of a CSV file of "DBPedia Classes".

    Args:
        path: The file.
        part: ``"train"`` or ``"test"``, for the rows' ids.
        labels: The labels that may occur; any where None.

    Raises:
        BadData: If the file is malformed.
    """
    rows = []
    for index, (record, (text, label)) in enumerate(read_csv(path, ("text", "l2"))):
        as_label(label, path, record, "l2")
        if labels is not None:
            check_label(label, labels, path, record)
        text = as_text(text, path, record, "the text").strip()
        rows.append((label, Row(f"{part}/{index}", text)))
    return rows


def parse_records(
    path: Path, labels: tuple[str, ...]
) -> tuple[list[tuple[str, Row]], list[tuple[str, Row]]]:
    """Training and test (label, row) of a list of {label, sentence}.

    Raises:
        BadData: If the file is malformed.
    """
    train: list[tuple[str, Row]] = []
    test: list[tuple[str, Row]] = []
    seen: Counter[str] = Counter()
    for index, value in enumerate(as_list(read_json(path), path)):
        record = f"[{index}]"
        label, sentence = as_fields(value, ("label", "sentence"), path, record)
        check_label(as_label(label, path, record), labels, path, record)
        text = as_text(sentence, path, record, "the sentence").strip()
        seen[label] += 1
        part = test if seen[label] % _EVERY == 0 else train
        part.append((label, Row(f"test/{index}", text)))
    return train, test
