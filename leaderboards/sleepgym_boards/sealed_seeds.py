"""Sealed seeds: streams that nobody can know before the code is fixed, and anyone can check after.

1. The maintainer draws a salt and publishes its hash together with the terms of the round: the
   board and its version, the environment with every setting, and the number of streams. Another
   environment, version or number does not fit the commitment.
2. Methods are handed in as commits of their code, and the list of commits is published. The seeds
   are HMACs under the salt of the terms *and that list*: a commit that is added, changed or left
   out later gives other streams.
3. The maintainer runs every commit on the seeds and publishes the salt. Whoever reads it derives
   the same seeds and sees that they were fixed all along.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Sequence
from pathlib import Path

from sleepgym.core.errors import SleepGymError

SALT_BYTES = 32
_RESERVED_FROM = 1_000  # seeds from here on belong to no public round


def commitment(terms: str, salt: str) -> str:
    """SHA-256 (hex) of a round's terms and a salt; the salt cannot be guessed from it."""
    key = bytes.fromhex(salt)
    return hmac.new(key, b"sleepgym-seal:" + terms.encode(), hashlib.sha256).hexdigest()


def derive_sealed_seeds(terms: str, codes: Sequence[str], count: int, salt: str) -> tuple[int, ...]:
    """The seeds of a sealed round, in ascending order.

    Args:
        terms: What the commitment binds, as text.
        codes: The commits that take part; their order does not matter.
        count: How many.
        salt: Hexadecimal.
    """
    key, seeds = bytes.fromhex(salt), set()
    round_words = "\n".join([terms, *sorted(set(codes))])
    for number in range(count):
        words = f"sleepgym-seed {number}:{round_words}".encode()
        digest = hmac.new(key, words, hashlib.sha256).digest()
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
