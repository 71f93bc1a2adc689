"""The house: four rooms, arrows one way, light imports."""

import ast
import subprocess
import sys

import pytest

from checkout import ROOT

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


def folders_imported(room):
    """Folder of a room -> the other folders of it whose modules its files import.

    A file at the top of the room is a folder of its own.
    """
    base, found = ROOMS[room], {}
    for file in base.rglob("*.py"):
        own = file.relative_to(base).parts[0].removesuffix(".py")
        if own == "__init__":
            continue  # the face of a package hands names on
        for node in ast.walk(ast.parse(file.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            for name in names:
                top, _, rest = name.partition(".")
                other = rest.split(".")[0]
                inside = (base / other).is_dir() or (base / f"{other}.py").is_file()
                if top == room and inside and other != own:
                    found.setdefault(own, set()).add(other)
    return found


def floors(arrows):
    """Folder -> its floor: 1 stands on nothing; a circle of them raises."""
    names = set(arrows).union(*arrows.values()) if arrows else set()
    return {name: _floor(name, arrows, ()) for name in names}


def _floor(name, arrows, above):
    assert name not in above, f"a circle: {' -> '.join([*above, name])}"
    return 1 + max((_floor(n, arrows, (*above, name)) for n in arrows.get(name, ())), default=0)


@pytest.mark.parametrize(
    ("room", "highest"),
    [("sleepgym", 6), ("sleepgym_agents", 6), ("sleepgym_tasks", 6), ("sleepgym_boards", 7)],
)
def test_folders_import_downward_without_a_circle(room, highest):
    found = floors(folders_imported(room))
    assert found
    assert max(found.values()) <= highest, found


def test_a_circle_of_folders_is_found():
    with pytest.raises(AssertionError, match=r"a circle: (a -> b -> a|b -> a -> b)"):
        floors({"a": {"b"}, "b": {"a"}})


def test_no_folder_holds_more_than_fifteen_files():
    for room in ROOMS.values():
        for folder in {file.parent for file in room.rglob("*.py")}:
            files = [file for file in folder.iterdir() if file.is_file()]
            assert len(files) <= 15, folder


def test_top_level_is_what_the_card_says():
    folders = {"sleepgym", "agents", "tasks", "leaderboards", "tests", "docs"}
    assert folders <= {path.name for path in ROOT.iterdir() if path.is_dir()}
