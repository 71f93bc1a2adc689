"""Count the repository's largest generated things: ``python docs/tools/sizes.py``.

Prints a row for each, as the table in CONTRIBUTING. Sizes there are rounded, so that they stay true
while a thing grows a little.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Generated:
    """Files that a command makes.

    Attributes:
        what: In a few words.
        places: Globs from the repository's root.
        made: The command, or where it is told.
    """

    what: str
    places: tuple[str, ...]
    made: str

    @property
    def files(self) -> list[Path]:
        """The files that are there."""
        return sorted(file for place in self.places for file in ROOT.glob(place))


GENERATED = (
    Generated(
        "the embedded model",
        ("agents/sleepgym_agents/base/*.safetensors", "agents/sleepgym_agents/base/*.json"),
        "[pretraining/README.md](pretraining/README.md): ten minutes on one GPU",
    ),
    Generated(
        "the adapter of smollm2-reader",
        ("agents/sleepgym_agents/models/smollm2-reader/adapter.safetensors",),
        "[pretraining/README.md](pretraining/README.md): five minutes on one GPU",
    ),
    Generated(
        "what two baselines need beside the embedded model",
        ("agents/sleepgym_agents/baselines/long_context/trained/*.safetensors",),
        "`sleepgym prepare-agent NAME`",
    ),
    Generated(
        "submissions",
        ("leaderboards/submissions/*/*.json.?z",),
        "a suite, then `leaderboards/submit_reference.py` ([how](docs/leaderboards.md))",
    ),
    Generated(
        "verdicts on them",
        ("leaderboards/submissions/*/*.verdict.json",),
        "`sleepgym board verdicts leaderboards/submissions`",
    ),
    Generated(
        "pictures",
        ("docs/images/*.png",),
        "`make docs` (results); `make demo`, its report (demo)",
    ),
    Generated(
        "trials of the search",
        ("agents/tuning/trials.jsonl",),
        "`python agents/tuning/tune.py --out DIR`",
    ),
    Generated(
        "reference pages",
        ("docs/reference/*.md", "docs/agents/*.md", "docs/reproduction.md", "docs/results.md"),
        "`make docs`",
    ),
)


def size_in_words(size_bytes: float) -> str:
    """Two digits and a unit: ``8.9 MB``, ``95 kB``."""
    unit, size = ("MB", size_bytes / 1e6) if size_bytes >= 1e6 else ("kB", size_bytes / 1e3)
    return f"{size:.1f} {unit}" if size < 9.95 else f"{float(f'{size:.2g}'):.0f} {unit}"


def table() -> str:
    """A row for each generated thing, the largest first."""
    sizes = {g: sum(file.stat().st_size for file in g.files) for g in GENERATED}
    lines = ["| what | size | made anew by |", "|---|---|---|"]
    for thing, size in sorted(sizes.items(), key=lambda pair: -pair[1]):
        places = ", ".join(f"`{place}`" for place in thing.places)
        lines.append(f"| {thing.what}: {places} | {size_in_words(size)} | {thing.made} |")
    return "\n".join(lines)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    print(table())
