"""Randomness derived by hashing a seed with names, so that no two uses ever share a stream."""

import hashlib
import random


def derive(seed: int, *names: object) -> random.Random:
    """Return a generator that depends on the seed and on every name, in order.

    Args:
        seed: The seed of the stream, battery or run.
        *names: What the randomness is for, such as `("almanac", "day", 3)`.
    """
    text = "\x1f".join(map(str, (seed, *names)))
    return random.Random(int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big"))
