"""bAbI tasks v1.2 in their original format (J. Weston et al. 2015, arXiv:1502.05698; CC BY 3.0).

A statement is ``ID text``, a question ``ID question<TAB>answer<TAB>supporting IDs``. IDs count from
1 in every story; a question sees the statements above it in its story.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from sleepgym.core.errors import MissingData
from sleepgym_tasks.data.parsing import bad, read_lines
from sleepgym_tasks.data.source_files import FILES
from sleepgym_tasks.data.sources import data_folder, locate
from sleepgym_tasks.worlds.stories import Sample

NAMES = {
    "qa1": "qa1_single-supporting-fact",
    "qa2": "qa2_two-supporting-facts",
    "qa3": "qa3_three-supporting-facts",
    "qa4": "qa4_two-arg-relations",
    "qa5": "qa5_three-arg-relations",
}
FOLDERS = ("tasks_1-20_v1-2/en-10k", "tasks_1-20_v1-2/en", "en-10k", "en", ".")


def find_task(task: str, part: str, data: Path | None) -> Path:
    """The file of a task: what the user brings, else a pinned download.

    Args:
        task: ``qa1`` to ``qa5``.
        part: ``train`` or ``test``.
        data: Folder of original data files; ``SLEEPGYM_DATA`` where None.

    Raises:
        MissingData: If it is nowhere.
    """
    name = f"{NAMES[task]}_{part}.txt"
    pinned = f"{FOLDERS[0]}/{name}"
    with suppress(MissingData):  # no folder is named: there is the download
        for place in FOLDERS:
            path = data_folder(data, f"babi/{pinned}") / "babi" / place / name
            if path.is_file():
                return path
    if ("babi", pinned) in FILES:
        return locate("babi", pinned, data)
    raise MissingData(
        f"babi/{pinned} is missing: put it under DIR and pass --data DIR; it is in"
        " tasks_1-20_v1-2.tar.gz of https://research.facebook.com/downloads/babi"
    )


def parse(path: Path) -> tuple[Sample, ...]:
    """The questions of a file, each with the statements above it in its story.

    Raises:
        BadData: If a line is in another format, an ID is out of order, or a supporting ID is not of
            a statement above.
    """
    samples: list[Sample] = []
    facts: dict[int, str] = {}
    last = 0
    for record, line in read_lines(path):
        match = re.fullmatch(r"(\d+) (.*\S)\s*", line)
        if not match:
            raise bad(path, f"{line:.40} does not begin with an ID and a space", record)
        number, text = int(match[1]), match[2]
        if number == 1:
            facts = {}
        elif number != last + 1:
            wanted = f"{last + 1} or 1" if last else "1"
            raise bad(path, f"the ID {number} follows {last}, not {wanted}", record)
        last = number
        question, *rest = (part.strip() for part in text.split("\t"))
        if not rest:
            if "?" in text or "|" in text:
                raise bad(
                    path,
                    "a question without TAB, answer, TAB, supporting IDs (the release)",
                    record,
                )
            facts[number] = text
            continue
        if len(rest) != 2 or not rest[0]:
            raise bad(path, "a question is not ID question, TAB, answer, TAB, IDs", record)
        for support in rest[1].split():
            if not support.isdecimal() or int(support) not in facts:
                raise bad(path, f"supporting ID {support:.20} is of no statement above it", record)
        samples.append(Sample(tuple(facts.values()), question, rest[0]))
    if not samples:
        raise bad(path, "there is no question in it")
    return tuple(samples)
