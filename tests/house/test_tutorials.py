"""Every block of the tutorials runs as it stands, in an empty folder, only smaller."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from checkout import ROOT

DOCS = ROOT / "docs"
PAGES = ["quickstart.md", *(f"tutorials/{p.name}" for p in sorted((DOCS / "tutorials").glob("*")))]
FAST = ["tutorials/own-task.md"]
TINY = "--env-set days=1 --env-set passages=1 --env-set questions=2 --env-set base_questions=2"
SMALLER = [
    (r"(--env sleepgym/Almanac-v1) --env-set days=\d", rf"\1 {TINY}"),
    (r"SIZE=.*", "SIZE="),
    (r"--seeds 0-\d", "--seeds 0-1"),
    (r"SAMPLES, TOKENS = 24, 160", "SAMPLES, TOKENS = 2, 40"),
    (r"(passes: .*) = 8", r"\1 = 2"),
]
BLOCK = re.compile(r'^```(\w*)(?: title="([^"]+)")?\n(.*?)^```$', re.M | re.S)
RUN = {"bash", "python"}
NOT_RUN = {"text"}


def blocks(page):
    """(language, title, text) of each block of a page."""
    return BLOCK.findall((DOCS / page).read_text(encoding="utf-8"))


def run_page(page, folder):
    """Write and run its blocks in order; what they printed."""
    program = folder / "bin" / "sleepgym"
    program.parent.mkdir()
    call = "from sleepgym.cli import main; main()"  # as the installed command, which adds no folder
    program.write_text(f"#!/bin/sh\nexec {sys.executable} -P -c '{call}' \"$@\"\n")
    program.chmod(0o755)
    work = folder / "work"
    work.mkdir()
    inherited = os.environ.get("PYTHONPATH", "")
    environment = {
        **os.environ,
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "PYTHONPATH": f"{ROOT}:{inherited}",
    }
    printed = ""
    for language, title, text in blocks(page):
        for pattern, smaller in SMALLER:
            text = re.sub(pattern, smaller, text)
        if title:
            (work / title).write_text(text, encoding="utf-8")
        elif language in RUN:
            command = [sys.executable, "-c"] if language == "python" else ["bash", "-euc"]
            done = subprocess.run(
                [*command, text], cwd=work, env=environment, capture_output=True, text=True
            )
            assert done.returncode == 0, f"{page}:\n{text}\n{done.stdout}\n{done.stderr}"
            printed += done.stdout
    return printed


def test_every_block_says_what_it_is():
    for page in PAGES:
        languages = {language for language, _, _ in blocks(page)}
        assert languages <= RUN | NOT_RUN, (page, languages)
        assert languages & RUN, page


@pytest.mark.parametrize(
    "page", [p if p in FAST else pytest.param(p, marks=pytest.mark.slow) for p in PAGES]
)
def test_the_blocks_of_a_page_run(page, tmp_path):
    assert run_page(page, tmp_path)
