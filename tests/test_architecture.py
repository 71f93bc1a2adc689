"""The house: four rooms, arrows one way, light imports."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = {
    "sleepgym": ROOT / "sleepgym",
    "sleepgym_agents": ROOT / "agents" / "sleepgym_agents",
    "sleepgym_tasks": ROOT / "tasks" / "sleepgym_tasks",
    "sleepgym_boards": ROOT / "leaderboards" / "sleepgym_boards",
}
HEAVY = {"torch", "transformers", "trl", "peft", "datasets", "pandas", "matplotlib", "scipy"}
HEAVY |= {"pydantic", "typer", "rich", "jinja2", "sacrebleu"}


def imported(file):
    """Top-level names of the packages that a file imports anywhere."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_only_the_framework(room):
    files = sorted(ROOMS[room].rglob("*.py"))
    assert files
    for file in files:
        allowed = {room} if room == "sleepgym" else {room, "sleepgym"}
        assert set(imported(file)) & set(ROOMS) <= allowed, file


def test_the_framework_and_the_tasks_never_import_torch():
    for room in ("sleepgym", "sleepgym_tasks", "sleepgym_boards"):
        for file in ROOMS[room].rglob("*.py"):
            assert not {"torch", "transformers", "trl", "peft"} & set(imported(file)), file


def test_import_sleepgym_is_light():
    code = f"import sleepgym, sys; print(*sorted({HEAVY!r} & set(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == ""


def test_files_are_short():
    long = {
        str(file.relative_to(ROOT)): lines
        for room in ROOMS.values()
        for file in room.rglob("*.py")
        if (lines := len(file.read_text().splitlines())) > 300
    }
    assert not long


def test_top_level_is_what_the_card_says():
    folders = {"sleepgym", "agents", "tasks", "leaderboards", "tests", "docs"}
    assert folders <= {path.name for path in ROOT.iterdir() if path.is_dir()}
