"""Count what is in a wheel: ``python docs/tools/wheel.py dist/sleepgym-*.whl``."""

from __future__ import annotations

import argparse
import zipfile
from collections import defaultdict
from pathlib import PurePosixPath


def count(wheel: str) -> dict[tuple[str, str], tuple[int, int, int]]:
    """(Package, ending) -> files, their bytes, their bytes packed."""
    found: dict[tuple[str, str], tuple[int, int, int]] = defaultdict(lambda: (0, 0, 0))
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            path = PurePosixPath(entry.filename)
            key = path.parts[0], path.suffix or path.name
            files, size, packed = found[key]
            found[key] = files + 1, size + entry.file_size, packed + entry.compress_size
    return dict(found)


def table(wheel: str) -> str:
    """The counts as Markdown, the largest first."""
    rows = sorted(count(wheel).items(), key=lambda row: -row[1][1])
    lines = ["| package | files | number | kB | kB packed |", "|---|---|---|---|---|"]
    for (package, ending), (files, size, packed) in rows:
        lines.append(f"| {package} | {ending} | {files} | {size / 1e3:.0f} | {packed / 1e3:.0f} |")
    total = [sum(row[1][i] for row in rows) for i in range(3)]
    lines.append(f"| all | | {total[0]} | {total[1] / 1e3:.0f} | {total[2] / 1e3:.0f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wheels", nargs="+")
    for name in parser.parse_args().wheels:
        print(table(name))
