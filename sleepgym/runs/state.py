"""What kinds of bytes a saved state is made of: weights, keys, text.

An agent declares nothing; its files are read. What does not prove to be numbers counts as text:

- ``keys``: floating-point tensors in safetensors files whose name begins with ``keys``;
- ``weights``: floating-point tensors in other safetensors files, and what their headers need
  beside names and shapes;
- ``text``: everything else. Names of files, names, types and shapes of tensors, integer tensors
  (they can spell tokens), metadata in headers, headers with names that are no identifiers, what
  is printable in the bytes of a tensor, every other file.

Names are counted as a file could hold them: by their bytes, or compressed where that is less.
"""

from __future__ import annotations

import bz2
import hashlib
import json
import math
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

KINDS: tuple[str, ...] = ("weights", "keys", "text")
_ITEM_BYTES = {"BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1} | {
    f"{kind}{8 * size}": size for kind in ("U", "I", "F") for size in (2, 4, 8)
}
_ITEM_BYTES["BF16"] = 2
_BLOCK_BYTES = 16
_CHUNK_BYTES = 1 << 26
_FEWEST_LETTERS = 8  # a constant tensor may be printable; a text has more different bytes
_PRINTABLE = np.zeros(256, dtype=bool)
_PRINTABLE[[9, 10, 13, *range(32, 127)]] = True


def sizes_by_kind(folder: Path, names: bool = True) -> dict[str, int]:
    """Kind -> bytes of a saved state.

    Args:
        folder: A state in canonical form.
        names: Whether names of files, and names and shapes of tensors, count as text. Until 0.2
            they did not: the kinds added up to the size of the files.
    """
    sizes = dict.fromkeys(KINDS, 0)
    files = []
    for file in sorted(folder.rglob("*")):
        if not file.is_file():
            continue
        files.append(file.relative_to(folder).as_posix())
        size, numbers, naming = file.stat().st_size, 0, 0
        if file.suffix == ".safetensors" and size:
            numbers, naming = _numbers_bytes(np.memmap(file, dtype=np.uint8, mode="r"))
        numbers -= naming if names else 0
        sizes["keys" if file.name.startswith("keys") else "weights"] += numbers
        sizes["text"] += size - numbers
    sizes["text"] += _text_bytes("\n".join(files)) if names else 0
    return sizes


def float_parameters(folder: Path) -> int:
    """How many floating-point numbers the safetensors files of a saved state hold.

    Every other file counts as text, by its bytes, and so holds none.
    """
    return sum(math.prod(shape) for _, shape, _ in _float_tensors(folder))


def numbers_digest(folder: Path) -> str:
    """SHA-256 (hex) over the floating-point tensors of a saved state: their names and bytes."""
    digest = hashlib.sha256()
    for name, _, content in _float_tensors(folder):
        digest.update(f"{name}\0{content.size}\0".encode("utf-8", "surrogatepass"))
        for start in range(0, content.size, _CHUNK_BYTES):
            digest.update(content[start : start + _CHUNK_BYTES].tobytes())
    return digest.hexdigest()


def _float_tensors(folder: Path) -> Iterator[tuple[str, list[int], NDArray[np.uint8]]]:
    """Name (with the file's), shape and bytes of each, in the order of the names."""
    for file in sorted(folder.rglob("*.safetensors")):
        if not file.is_file() or not file.stat().st_size:
            continue
        content = np.memmap(file, dtype=np.uint8, mode="r")
        length, tensors = _header(content) or (0, {})
        for name, entry in sorted(tensors.items()):
            if _is_float(entry):
                begin, end = (8 + length + offset for offset in entry["data_offsets"])
                place = file.relative_to(folder).as_posix()
                yield f"{place}\0{name}", entry["shape"], content[begin:end]


def _is_float(entry: dict[str, Any]) -> bool:
    return entry["dtype"].startswith(("F", "BF"))


def _numbers_bytes(content: NDArray[np.uint8]) -> tuple[int, int]:
    """Bytes of a safetensors file that are floating-point numbers or name them; the latter."""
    header = _header(content)
    if header is None:
        return 0, 0
    length, tensors = header
    needed = json.dumps(tensors, separators=(",", ":")).encode()
    named = tensors and all(re.fullmatch(r"[\w.-]{1,200}", name) for name in tensors)
    numbers = min(8 + length, 16 + len(needed)) if named else 0
    naming = json.dumps([[name, e["dtype"], e["shape"]] for name, e in tensors.items()])
    for entry in tensors.values():
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        if _is_float(entry):
            numbers += end - begin - _printable_bytes(content[begin:end])
    return numbers, _text_bytes(naming) if named else 0


def _text_bytes(text: str) -> int:
    content = text.encode("utf-8", "surrogateescape")
    return min(len(content), len(bz2.compress(content)))


def _header(content: NDArray[np.uint8]) -> tuple[int, dict[str, Any]] | None:
    """Length of the header and its tensors; None where the file is not plain safetensors.

    The format (https://github.com/huggingface/safetensors): eight bytes of length, little-endian, a
    JSON object, and tensors that fill the rest without gap or overlap, each as long as its shape
    says.
    """
    length = int.from_bytes(content[:8].tobytes(), "little")
    if not 2 <= length <= content.size - 8:
        return None
    try:
        tensors = json.loads(content[8 : 8 + length].tobytes())
        tensors.pop("__metadata__", None)
        spans = sorted(tuple(entry["data_offsets"]) for entry in tensors.values())
        known = all(map(_is_sized, tensors.values()))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    edges = [(0, 0), *spans, (content.size - 8 - length, 0)]
    filled = known and all(a[1] == b[0] for a, b in pairwise(edges))
    ordered = filled and all(begin <= end for begin, end in spans)
    return (length, tensors) if ordered else None


def _is_sized(entry: dict[str, Any]) -> bool:
    """Whether a tensor's entry has its three fields, and as many bytes as its shape says."""
    numbers = (*entry["shape"], *entry["data_offsets"])
    if set(entry) != {"dtype", "shape", "data_offsets"} or any(type(n) is not int for n in numbers):
        return False
    begin, end = entry["data_offsets"]
    return (
        min(numbers) >= 0 and math.prod(entry["shape"]) * _ITEM_BYTES[entry["dtype"]] == end - begin
    )


def _printable_bytes(data: NDArray[np.uint8]) -> int:
    """Bytes of runs of printable ASCII, 32 and more, to within a block at either end of a run.

    Every run of 47 bytes, and most of 32, hold two whole blocks of 16; random floating-point
    numbers practically never do.
    """
    found = 0
    for start in range(0, data.size, _CHUNK_BYTES):
        chunk = data[start : start + _CHUNK_BYTES]
        blocks = chunk[: len(chunk) // _BLOCK_BYTES * _BLOCK_BYTES].reshape(-1, _BLOCK_BYTES)
        printable = _PRINTABLE[blocks].all(axis=1)
        if not printable.any():  # as in nearly every tensor
            continue
        edges = np.diff(np.r_[0, printable.astype(np.int8), 0])
        for first, last in zip(
            np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True
        ):
            run = blocks[first:last]
            if last - first >= 2 and len(np.unique(run)) >= _FEWEST_LETTERS:
                found += run.size
    return found
