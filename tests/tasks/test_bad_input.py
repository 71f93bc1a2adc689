"""Damaged files: every family refuses them in one line that names the file, or reads past them."""

from __future__ import annotations

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
