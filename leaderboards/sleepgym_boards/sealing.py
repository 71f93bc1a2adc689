"""A sealed round, step by step: what its maintainer publishes, and when."""

from __future__ import annotations

from pathlib import Path

from sleepgym_boards.board import Board
from sleepgym_boards.sealed_seeds import commitment, new_salt, read_salt


def next_step(board: Board, salt_file: Path, count: int) -> str:
    """What the maintainer of a sealed round does next, in words to print.

    The first step draws the salt and writes it to ``salt_file``.

    Raises:
        SleepGymError: If the salt cannot be written or read, or is not the board's.
    """
    seal = board.seal
    if seal is None:
        made = commitment(board.terms(count), new_salt(salt_file))
        return f"""\
Step 1 of 4, commit. The salt is in {salt_file}: keep it secret, keep it safe.
Put this into the file of board {board.name} in place of its seeds, publish it, and call for code:

[seal]
commitment = "{made}"
count = {count}

It binds the board's version, environment, base model and number of streams: change none of them."""
    if not seal.codes:
        return f"""\
Step 2 of 4, fix the code. When the call is over, add to [seal] of board {board.name} the commit of
every method that takes part, whole, and publish it before you go on:

codes = [
    "40 or 64 hexadecimal digits",
]

The streams depend on this list: whoever is added later changes them all."""
    if seal.salt is None:
        seeds = board.sealed_seeds(read_salt(salt_file))
        return f"""\
Step 3 of 4, run. Check out each of the {len(seal.codes)} commits and run it on the seeds

{",".join(map(str, seeds))}

Pack each with sleepgym submit --salt {salt_file}; the card's commit must be the one of the list.
Then add to [seal] of board {board.name}, and publish it together with the submissions:

salt = "{read_salt(salt_file)}"
submissions = [
    "sha256 of each file, as sha256sum prints it",
]

Who knows the salt can make up answers, so only files of this list have the mark `sealed`."""
    board.sealed_seeds(seal.salt)
    return f"""\
Step 4 of 4, done. The salt of board {board.name} is public and opens its commitment. Anyone can
verify the submissions of the list ({len(seal.submissions)}) with sleepgym verify; those that keep
every rule have the mark `sealed`."""
