"""Sealed seeds: streams that nobody can know before the round is run, and anyone can check after.

The maintainer draws a salt and publishes only its hash (the commitment) in the board's file. The
seeds are HMACs under that salt. After the round the salt goes into the board's file too, and
whoever reads it can derive the same seeds and see that they were fixed all along.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from pathlib import Path

from sleepgym.core.errors import SleepGymError

SALT_BYTES = 32
_RESERVED_FROM = 1_000  # seeds from here on belong to no public round


def commitment(salt: str) -> str:
    """SHA-256 (hex) of a salt; the salt cannot be guessed from it."""
    return hashlib.sha256(b"sleepgym-seal:" + bytes.fromhex(salt)).hexdigest()


def derive_sealed_seeds(round_name: str, count: int, salt: str) -> tuple[int, ...]:
    """The seeds of a sealed round, in ascending order.

    Args:
        round_name: Whose seeds: a board with its version.
        count: How many.
        salt: Hexadecimal.
    """
    seeds = set()
    for number in range(count):
        words = f"{round_name} seed {number}".encode()
        digest = hmac.new(bytes.fromhex(salt), words, hashlib.sha256).digest()
        seeds.add(_RESERVED_FROM + int.from_bytes(digest[:6], "big"))
    return tuple(sorted(seeds))


def new_salt(file: Path) -> str:
    """Draw a salt and write it to a new file that its owner alone can read.

    Raises:
        SleepGymError: If the file exists.
    """
    salt = secrets.token_hex(SALT_BYTES)
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise SleepGymError(f"{file}: the salt cannot be written: {error.strerror}") from error
    with open(handle, "w") as stream:
        stream.write(salt + "\n")
    return salt


def read_salt(file: Path) -> str:
    """The salt in a file.

    Raises:
        SleepGymError: If there is none.
    """
    try:
        salt = file.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SleepGymError(f"{file}: the salt cannot be read: {error}") from error
    if not re.fullmatch(rf"[0-9a-f]{{{2 * SALT_BYTES}}}", salt):
        raise SleepGymError(f"{file} holds no salt: {2 * SALT_BYTES} hexadecimal digits")
    return salt
