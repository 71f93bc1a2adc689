"""A language in the layout of MTOB, or a table of pairs, as the user brings it.

G. Tanzer et al., "A Benchmark for Learning to Translate a New Language from One Grammar Book", ICLR
2024 (arXiv:2309.16575): Kalamang; its authors ask that the texts are not put on the web unpacked.
Under the language's folder, in ``splits/`` or beside it:

- ``train_examples.json``: a list of ``{"original", "translation"}``, the original in the language
  and the translation in English;
- ``test_examples_ke.json`` (to English) and ``test_examples_ek.json`` (from English): lists of
  ``{"original", "ground_truth"}``; without ``ground_truth``, ``translation`` stands for it;
- ``resources/wordlist.json`` (optional): ``{"ke": {word: entry}}``, an entry a text or a list of
  texts; ``resources/grammar_book.txt`` (optional).

The first element of a list may be a canary (an object with ``canary`` in a key).

Manchu (R. Pei et al. 2025, arXiv:2502.11862) is published as a table: ``test_sens337.txt``, a line
a pair, sentence TAB English. Without ``train_examples.json`` every fifth pair of it is a test here,
the others are learned from; a sentence that comes again is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from sleepgym.core.errors import MissingData
from sleepgym_tasks.data.parsing import as_fields, as_list, as_text, bad, read_json, read_lines
from sleepgym_tasks.data.sources import data_folder

Direction = Literal["to-english", "from-english"]
TESTS: dict[Direction, str] = {
    "to-english": "test_examples_ke.json",
    "from-english": "test_examples_ek.json",
}
FOLDERS = {"kalamang": ("kalamang", "mtob")}
TABLE = "test_sens337.txt"
_EVERY = 5


class Pair(NamedTuple):
    """A sentence and its translation, in the direction asked for."""

    source: str
    target: str


@dataclass(frozen=True)
class Parallel:
    """A language.

    Attributes:
        train: Pairs to learn from; none of their sources is a source of ``test``.
        test: Pairs to translate.
        words: Entries of the word list, ``word: meaning``; empty where there is none.
        grammar: The grammar book; None where there is none.
    """

    train: tuple[Pair, ...]
    test: tuple[Pair, ...]
    words: tuple[str, ...]
    grammar: Path | None


def load(language: str, direction: Direction, data: Path | None) -> Parallel:
    """A language of the user's data folder.

    Raises:
        MissingData: If its files are not there.
        BadData: If one is malformed.
    """
    names = FOLDERS.get(language, (language,))
    root = data_folder(data, f"{names[0]}/splits/train_examples.json")
    train_path = _find(root, names, "splits", "train_examples.json")
    test_path = _find(root, names, "splits", TESTS[direction])
    table = _find(root, names, ".", TABLE)
    if train_path and test_path:
        pairs, test = _pairs(train_path, "translation"), _pairs(test_path, "ground_truth")
    elif table and not train_path:
        pairs, test = _table(table)
        if direction == "from-english":
            test = [Pair(pair.target, pair.source) for pair in test]
    else:
        missing = TESTS[direction] if train_path else "train_examples.json"
        raise MissingData(
            f"no {names[0]}/splits/{missing} under {root}: bring the language in MTOB's layout"
            f" (Kalamang: https://github.com/lukemelas/mtob), or {names[0]}/{TABLE}"
            " (Manchu: https://github.com/cisnlp/manchu-in-context-mt)"
        )
    if direction == "from-english":
        pairs = [Pair(pair.target, pair.source) for pair in pairs]
    asked = {pair.source for pair in test}
    train = tuple(pair for pair in pairs if pair.source not in asked)
    if not train:
        raise bad(train_path or table, "every sentence of it is a test")
    words_path = _find(root, names, "resources", "wordlist.json")
    words = () if words_path is None else _words(words_path)
    return Parallel(train, tuple(test), words, _find(root, names, "resources", "grammar_book.txt"))


def _find(root: Path, names: tuple[str, ...], folder: str, file: str) -> Path | None:
    for name in names:
        for path in (root / name / folder / file, root / name / file):
            if path.is_file():
                return path
    return None


def _pairs(path: Path, told: str) -> list[Pair]:
    pairs = []
    seen: dict[str, str] = {}
    for index, value in enumerate(as_list(read_json(path), path)):
        record = f"[{index}]"
        if index == 0 and isinstance(value, dict) and any("canary" in key for key in value):
            continue
        (source,) = as_fields(value, ("original",), path, record)
        name = told if told in value else "translation"
        (target,) = as_fields(value, (name,), path, record)
        source = as_text(source, path, record, "original").strip()
        target = as_text(target, path, record, name).strip()
        if not target.strip("-"):
            raise bad(path, f"{name} is dashes: there is no translation in it", record)
        if source in seen and told == "ground_truth":
            raise bad(path, f"the same sentence occurs before, in {seen[source]}", record)
        seen[source] = record
        pairs.append(Pair(source, target))
    if not pairs:
        raise bad(path, "there is no pair in it")
    return pairs


def _table(path: Path) -> tuple[list[Pair], list[Pair]]:
    """Pairs to learn from, and tests: every fifth."""
    pairs: dict[str, Pair] = {}
    for record, line in read_lines(path):
        sides = [side.strip() for side in line.split("\t")]
        if len(sides) != 2 or not all(sides):
            raise bad(path, "not a sentence, TAB, and its translation", record)
        source, target = (as_text(side, path, record, "a side") for side in sides)
        pairs.setdefault(source, Pair(source, target))
    if len(pairs) < _EVERY:
        raise bad(path, f"{len(pairs)} pairs: it takes {_EVERY} for one test")
    kept = list(pairs.values())
    tests = kept[_EVERY - 1 :: _EVERY]
    return [pair for pair in kept if pair not in tests], tests


def _words(path: Path) -> tuple[str, ...]:
    content = read_json(path)
    entries = content.get("ke", content) if isinstance(content, dict) else None
    if not isinstance(entries, dict) or not entries:
        raise bad(path, "not an object of words with their meanings")
    words = []
    for name, entry in entries.items():
        meanings = [one for one in (entry if isinstance(entry, list) else [entry]) if one]
        texts = [as_text(one, path, name, "a meaning").strip() for one in meanings]
        if texts:
            words.append(f"{name}: {', '.join(texts)}")
    return tuple(words)
