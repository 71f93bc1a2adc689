"""Damaged files: every family refuses them in one line that names the file, or reads past them.

So it does with files whose JSON is whole and whose values are of another kind.
"""

from __future__ import annotations

import copy
import json
import shutil

import pytest

import sleepgym
from sleepgym.core.errors import SleepGymError

READS = {
    "clinc150": ("ClassIncremental-v1", {"dataset": "clinc150", "days": 2}),
    "banking77": ("ClassIncremental-v0", {"dataset": "banking77", "days": 2}),
    "dbpedia": ("ClassIncremental-v0", {"dataset": "dbpedia", "days": 2}),
    "dbpedia14": ("ClassIncremental-v0", {"dataset": "dbpedia14", "days": 2}),
    "squad": ("SQuAD-v0", {}),
    "own": ("Jsonl-v0", {}),
    "counterfact": ("KnowledgeEdit-v0", {"dataset": "counterfact", "days": 2}),
    "zsre": ("KnowledgeEdit-v0", {"dataset": "zsre", "days": 2}),
    "arc": ("FewShotARC-v0", {"dataset": "training", "days": 2}),
    "sequence": ("TaskSequence-v0", {}),
    "book": ("Haystack-v0", {"haystack": "text", "words": "ruler", "repeat_text": True}),
    "babi": ("BABILong-v0", {"dataset": "babi", "tokens": 0}),
    "mtob": ("ContinualTranslation-v0", {"languages": ("kalamang",), "pairs": None, "tests": None}),
    "longhealth": ("LongDocs-v0", {"dataset": "longhealth", "days": 1}),
    "qasper": ("LongDocs-v0", {"dataset": "qasper", "days": 1}),
}

VALUES = (None, True, 0, -1, 3.5, float("inf"), 10**30, "", "  ", "x", [], [[]], {}, ["x"])
IN_JSON = [what for what in READS if what not in ("banking77", "dbpedia", "book", "babi", "mtob")]


def damages(content):
    """Name -> the file with something wrong."""
    middle = len(content) // 2
    return {
        "empty": b"",
        "cut": content[:middle],
        "latin-1": content[:middle] + b"\xff\xe9" + content[middle:],
        "byte-order mark": b"\xef\xbb\xbf" + content,
        "utf-16": content.decode("utf-8").encode("utf-16"),
        "a list of nothing": b"[]",
        "an object of nothing": b"{}",
        "null": b"null",
        "a number a line": b"1\n2\n",
        "binary": bytes(range(256)),
        "twice": content + content,
    }


@pytest.mark.parametrize("what", READS)
def test_a_damaged_file_is_refused_in_one_line_or_read(what, data_dir, tmp_path, monkeypatch):
    monkeypatch.setenv("SLEEPGYM_OFFLINE", "1")
    name, settings = READS[what]
    folder = tmp_path / "data"
    shutil.copytree(data_dir, folder)
    make = lambda: sleepgym.make_env(f"sleepgym/{name}", data=folder, **settings)  # noqa: E731
    stream = make().family.stream(0)
    whole = stream.content_hash
    refused = 0
    for file in sorted(folder.rglob("*.*")):
        if not file.is_file():
            continue
        content = file.read_bytes()
        file.unlink()
        try:
            read = make().family.stream(0).content_hash != whole
        except SleepGymError:
            read = True
        file.write_bytes(content)
        if not read:
            continue  # another family's
        for damage, changed in damages(content).items():
            file.write_bytes(changed)
            refusal = None
            try:
                make().family.stream(0).full_hash()
            except SleepGymError as error:
                refusal = str(error)
                refused += 1
            if refusal is not None:
                assert "\n" not in refusal, (file.name, damage)
                assert len(refusal) < 400, (file.name, damage)
                assert str(folder) in refusal or " of " in refusal, (file.name, damage, refusal)
        file.write_bytes(content)
    assert refused > 3


def places(value, path=()):
    """Paths of the first few values at every depth."""
    yield path
    if isinstance(value, dict):
        keys = list(value)[:4]
    else:
        keys = range(min(2, len(value))) if isinstance(value, list) else ()
    for key in keys:
        yield from places(value[key], (*path, key))


def changed(value, path, change):
    """A copy in which ``change(holder, key)`` was done at a path."""
    holder = whole = {"": copy.deepcopy(value)}
    *inner, last = ("", *path)
    for key in inner:
        holder = holder[key]
    change(holder, last)
    return whole.get("")


def put(new):
    return lambda holder, key: holder.__setitem__(key, new)


def say_the_first_twice(holder, key):
    if isinstance(holder[key], list):
        holder[key] = holder[key] + holder[key][:1]


def damaged(value):
    for path in places(value):
        changes = [*map(put, VALUES), say_the_first_twice]
        changes += [lambda holder, key: holder.pop(key)] if path else []
        for change in changes:
            yield path, changed(value, path, change)


def texts(content, suffix):
    """Where it was damaged, and the file; of a JSONL file the first line is."""
    first, *rest = content.split("\n") if suffix == ".jsonl" else [content]
    for path, value in damaged(json.loads(first)):
        yield path, "\n".join([json.dumps(value), *rest])


@pytest.mark.parametrize(
    "what", [w if w == "own" else pytest.param(w, marks=pytest.mark.slow) for w in IN_JSON]
)
def test_values_of_another_kind_are_refused_in_one_line_or_read(
    what, data_dir, tmp_path, monkeypatch
):
    monkeypatch.setenv("SLEEPGYM_OFFLINE", "1")
    name, settings = READS[what]
    folder = tmp_path / "data"
    shutil.copytree(data_dir, folder)

    def refusal():
        try:
            sleepgym.make_env(f"sleepgym/{name}", data=folder, **settings).family.stream(0)
        except SleepGymError as error:
            return str(error)
        return None

    refused = 0
    for file in sorted(folder.rglob("*.json*")):
        content = file.read_text()
        file.write_text("")
        if refusal() is not None:  # else another family's
            for path, text in texts(content, file.suffix):
                file.write_text(text)
                said = refusal()
                refused += said is not None
                assert said is None or ("\n" not in said and len(said) < 500), (file.name, path)
        file.write_text(content)
    assert refused > 20
