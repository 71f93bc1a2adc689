"""Fuzz the reading and verifying of submissions with atheris (`pip install atheris`).

Usage: `python benchmarks/fuzzing.py [SECONDS]`. The first byte of an input chooses a way in: bytes
as a file; bytes as the JSON in a file; a list of edits to an honest submission, signed again, which
reaches the rules behind the schema. Whatever comes in, there must be a verdict.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from pydantic import ValidationError

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

DEFAULT_S = 600
VALUES = (
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        2**53,
        10**30,
        0.5,
        1e308,
        "",
        "none",
        "a" * 3000,
        "<b>",
        "../x",
    ),
    *(
        [],
        {},
        [0],
        {"a": 1},
        "\u202e",
        "100-99999999999",
        "2026-01-01",
        "evening",
        "sleep",
        "9" * 16,
    ),
)


def expert_ids(plain, path=()):
    """Every place of some JSON but its top."""
    items = enumerate(plain) if isinstance(plain, list) else ()
    for key, value in plain.items() if isinstance(plain, dict) else items:
        yield (*path, key)
        yield from expert_ids(value, (*path, key))


def edit(plain, given):
    """One edit: put another value somewhere, or take something away, or repeat it."""
    found = list(expert_ids(plain))
    path = found[given.ConsumeIntInRange(0, len(found) - 1)]
    target = plain
    for key in path[:-1]:
        target = target[key]
    act = given.ConsumeIntInRange(0, 9)
    if act == 0:
        del target[path[-1]]
    elif act == 1 and isinstance(target, list):
        target.append(target[path[-1]])
    elif act == 2:
        target[path[-1]] = given.ConsumeUnicodeNoSurrogates(20)
    elif act == 3:
        target[path[-1]] = given.ConsumeInt(8)
    elif act == 4:
        target[path[-1]] = given.ConsumeRegularFloat()
    else:
        target[path[-1]] = VALUES[given.ConsumeIntInRange(0, len(VALUES) - 1)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", nargs="?", type=int, default=DEFAULT_S)
    seconds = parser.parse_args().seconds
    import atheris  # not needed to be told what this is

    with atheris.instrument_imports(include=["sleepgym_boards", "sleepgym"]):
        from sleepgym_boards.submission.files import compress, decompress
        from sleepgym_boards.verification.verifier import verify
    import board_files

    with tempfile.TemporaryDirectory() as folder:
        content, board = board_files.packed("Honest", Path(folder), "100")

        def edited(given):
            def change(plain):
                for _ in range(given.ConsumeIntInRange(1, 4)):
                    edit(plain, given)

            try:
                return board_files.edited(content, change)
            except (
                ValidationError,
                LookupError,
                TypeError,
                AttributeError,
            ):  # it cannot be signed any more
                return None

        def one(data: bytes) -> None:
            if not data:
                return
            kind, rest = data[0] % 4, data[1:]
            if kind == 0:
                given = rest
            elif kind == 1:
                given = compress(rest)
            else:
                given = edited(atheris.FuzzedDataProvider(rest))
            if given is not None:
                assert verify(given, board).rules

        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        (corpus / "file").write_bytes(b"\0" + content)
        (corpus / "text").write_bytes(b"\1" + decompress(content))
        (corpus / "edits").write_bytes(b"\2" + bytes(range(64)))
        options = [f"-max_total_time={seconds}", "-max_len=20000", "-timeout=20", "-verbosity=0"]
        atheris.Setup([sys.argv[0], *options, "-print_final_stats=1", str(corpus)], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
