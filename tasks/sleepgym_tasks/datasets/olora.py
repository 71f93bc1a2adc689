"""Classification tasks in the layout of O-LoRA's CL_Benchmark.

X. Wang et al., "Orthogonal Subspace Learning for Language Model Continual Learning", Findings of
EMNLP 2023 (arXiv:2310.14152). ``CL_Benchmark/GROUP/NAME/`` holds ``labels.json`` (a list),
``train.json`` and ``test.json`` (lists of ``{"label", "sentence"}``). Sets keep their own terms.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from sleepgym.core.errors import MissingData, unknown_name
from sleepgym_tasks.data.parsing import as_fields, as_label, as_list, as_text, bad, read_json
from sleepgym_tasks.data.sources import data_folder, locate
from sleepgym_tasks.datasets.labelled import Row, by_label, check_label

FOLDER = "olora_cl_benchmark"
_TOPIC = "What is the topic of the following paragraph? Choose one from the option."
_SENTIMENT = "What is the sentiment of the following paragraph? Choose one from the option."
_RELATION = (
    "What is the logical relationship between the sentence 1 and the sentence 2?"
    " Choose one from the option."
)
_TRUTH = (
    "According to the following passage, is the question true or false? Choose one from the option."
)
_SENSE = (
    "Given a word and two sentences, whether the word is used with the same sense in both sentence?"
    " Choose one from the option."
)
_SAME = (
    'Whether the "first sentence" and the "second sentence" have the same meaning?'
    " Choose one from the option."
)
_CANDIDATE = (
    "According to the following passage and question, is the candidate answer true or false?"
    " Choose one from the option."
)
# Name -> folder in CL_Benchmark, and the prompt that the source puts before a sentence.
TASKS: dict[str, tuple[str, str]] = {
    "dbpedia": ("TC/dbpedia", _TOPIC),
    "agnews": ("TC/agnews", _TOPIC),
    "yahoo": ("TC/yahoo", _TOPIC),
    "amazon": ("SC/amazon", _SENTIMENT),
    "yelp": ("SC/yelp", _SENTIMENT),
    "imdb": ("SC/IMDB", _SENTIMENT),
    "sst-2": ("SC/SST-2", _SENTIMENT),
    "mnli": ("NLI/MNLI", _RELATION),
    "cb": ("NLI/CB", _RELATION),
    "rte": ("NLI/RTE", _RELATION),
    "boolqa": ("BoolQA/BoolQA", _TRUTH),
    "copa": ("COPA/COPA", ""),
    "wic": ("WiC/WiC", _SENSE),
    "qqp": ("QQP/QQP", _SAME),
    "multirc": ("MultiRC/MultiRC", _CANDIDATE),
}
SPLIT = 5  # where there is no train.json, every fifth record of a label is a test record
NO_LABEL = "-"


class Classification(NamedTuple):
    """A task.

    Attributes:
        name: As asked for.
        prompt: What stands before a sentence; may be empty.
        labels: In file order.
        train: Label -> training sentences.
        test: Label -> test sentences; no label without one.
    """

    name: str
    prompt: str
    labels: tuple[str, ...]
    train: dict[str, tuple[Row, ...]]
    test: dict[str, tuple[Row, ...]]


def load(name: str, data: Path | None) -> Classification:
    """A task by its name in ``TASKS``, or by its folder ``GROUP/NAME`` in ``CL_Benchmark``.

    Raises:
        UnknownName: If the name is neither.
        MissingData: If its files are not at hand.
        BadData: If a file is malformed or a label has no record.
    """
    if "/" in name:
        folder, prompt = name, ""
    elif name.lower() in TASKS:
        folder, prompt = TASKS[name.lower()]
    else:
        raise unknown_name("task of TaskSequence", name, TASKS)
    paths = {part: _path(folder, part, data) for part in ("labels", "train", "test")}
    labels_path, test_path = paths["labels"], paths["test"]
    if labels_path is None or test_path is None:
        raise MissingData(
            f"no {FOLDER}/CL_Benchmark/{folder}/labels.json and test.json under --data DIR: the"
            " original is at https://github.com/cmnfriend/O-LoRA"
        )
    labels = tuple(
        as_label(label, labels_path, f"[{index}]")
        for index, label in enumerate(as_list(read_json(labels_path), labels_path))
    )
    if len(set(labels)) < max(2, len(labels)):
        raise bad(labels_path, f"{len(labels)} labels, {len(set(labels))} of them different")
    test = by_label(_records(test_path, labels), labels, test_path)
    train_path = paths["train"]
    if train_path is not None:
        train = by_label(_records(train_path, labels), labels, train_path)
    else:
        few = [label for label, rows in test.items() if len(rows) < SPLIT]
        if few:
            raise bad(
                test_path, f"under {SPLIT} records of {few[0]!r}, and no train.json beside it"
            )
        whole, test = test, {}
        train = {}
        for label, rows in whole.items():
            train[label] = tuple(r for i, r in enumerate(rows) if i % SPLIT != SPLIT - 1)
            test[label] = rows[SPLIT - 1 :: SPLIT]
    return Classification(name, prompt, labels, train, test)


def _path(folder: str, part: str, data: Path | None) -> Path | None:
    """Where a file of a task is: what the user brings, else a pinned download, else nowhere."""
    name = f"CL_Benchmark/{folder}/{part}.json"
    try:
        path = data_folder(data, f"{FOLDER}/{name}") / FOLDER / name
        if path.is_file():
            return path
    except MissingData:
        if data is not None:
            raise
    try:
        return locate(FOLDER, name, data)
    except KeyError:  # not among the files that are pinned
        return None


def _records(path: Path, labels: tuple[str, ...]) -> list[tuple[str, Row]]:
    records = []
    for index, value in enumerate(as_list(read_json(path), path)):
        record = f"[{index}]"
        label, sentence = as_fields(value, ("label", "sentence"), path, record)
        if label == NO_LABEL and NO_LABEL not in labels:
            continue  # annotators did not agree (MNLI)
        label = check_label(as_label(label, path, record), labels, path, record)
        text = as_text(sentence, path, record, "the sentence").strip()
        records.append((label, Row(f"{path.stem}/{index}", text)))
    return records
