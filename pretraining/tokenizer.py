"""Train the tokenizer: byte-level BPE over the worlds' own text and Python's docstrings.

    python pretraining/tokenizer.py --out DIR [--vocabulary 4096]
    python pretraining/tokenizer.py --out DIR --measure FILE.json ...

The second form prints how many tokens a word of the files' texts costs with the tokenizer in DIR.

A space is put before every text, so that a word costs the same tokens at the start of an answer
as inside a passage; the decoder takes it away again. The result is committed, because the
docstrings differ between Python releases.
"""

import argparse
import ast
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from sleepgym_tasks.worlds.language import names
from sleepgym_tasks.worlds.language.seeds import derive
from sleepgym_tasks.worlds.language.values import VALUES
from sleepgym_tasks.worlds.language.words import english
from sleepgym_tasks.worlds.passages import Author
from sleepgym_tasks.worlds.rules import rules
from sleepgym_tasks.worlds.world import base_world

SPECIAL = ("<pad>", "<bos>", "<end>", "<doc>", "<text>", "<q>", "<a>", "<dream>")
PIECES = r" ?[^\W\d_]+| ?\d| ?[^\w\s]| ?_|\s+"
SKIPPED_FOLDERS = {"site-packages", "test", "tests", "idlelib", "lib2to3", "turtledemo"}


def docstrings() -> Iterator[str]:
    """Yield the docstrings of Python's standard library."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    root = Path(os.__file__).parent
    for path in sorted(root.rglob("*.py")):
        if SKIPPED_FOLDERS & set(path.relative_to(root).parts):
            continue
        try:
            tree = ast.parse(path.read_text(encoding="utf-8", errors="ignore"))
        except (SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, kinds) and (text := ast.get_docstring(node)):
                yield re.sub(r"[^\w\s]{3,}", " ", text)


def corpus(scenes: int = 1500) -> Iterator[str]:
    """Yield the tokenizer's training text: docstrings, words, passages, values and rules."""
    yield from docstrings()
    for word in english():
        yield from (f" {word}", f"a_{word} {word.capitalize()}")
    world = base_world()
    for entries in VALUES.values():
        yield " ".join(entries)
        yield "_".join(entries)
    for scene in range(scenes):
        rng = derive(0, "tokenizer", scene)
        author = Author(rng, names.Register(rng, world.taken, reserved=False), world)
        for passage in author.write(4):
            yield passage.text
        rule = rules.make_rule(rng, rng.choice(rules.FAMILIES))
        for question, answer in rules.draw_pairs(rng, rule, 2):
            yield f"{question} {answer}"


def train(vocabulary: int) -> Tokenizer:
    """Train a tokenizer of that many entries, special tokens and bytes included."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Prepend(" ")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.ByteLevel(), decoders.Strip(" ", left=1, right=0)]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    return tokenizer


def save(tokenizer: Tokenizer, folder: Path) -> None:
    """Write the files that transformers loads a tokenizer from."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<bos>",
        "eos_token": "<end>",
        "pad_token": "<pad>",
        "additional_special_tokens": list(SPECIAL[3:]),
        "clean_up_tokenization_spaces": False,
        "model_max_length": 4096,
        "padding_side": "left",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")


def texts(value: object) -> Iterator[str]:
    """Yield every string of a parsed JSON value, keys aside."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for part in value.values() if isinstance(value, dict) else value:
            yield from texts(part)


def measure(tokenizer: Tokenizer, path: Path) -> float:
    """Return the mean number of tokens of a word between spaces, punctuation included."""
    found = [text for text in texts(json.loads(path.read_text(encoding="utf-8"))) if text.strip()]
    tokens = sum(len(encoding.ids) for encoding in tokenizer.encode_batch(found))
    return tokens / sum(len(text.split()) for text in found)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--vocabulary", type=int, default=4096)
    parser.add_argument("--measure", type=Path, nargs="*", default=[])
    settings = parser.parse_args()
    if not settings.measure:
        save(train(settings.vocabulary), settings.out)
    for file in settings.measure:
        cost = measure(Tokenizer.from_file(str(settings.out / "tokenizer.json")), file)
        print(f"{file.name}: {cost:.2f} tokens a word")
