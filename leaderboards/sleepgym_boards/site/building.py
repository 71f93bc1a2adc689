"""Writing the site: one folder that any host serves, or that opens from a disk."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from sleepgym.core.errors import SleepGymError
from sleepgym.scoring.glossary import GLOSSARY
from sleepgym_boards.board import Board, load_boards
from sleepgym_boards.catalogue.entries import SUFFIX, Entry
from sleepgym_boards.site import ablation, pictures
from sleepgym_boards.site.columns import column_groups, main_metrics
from sleepgym_boards.site.methods import Method, order_methods
from sleepgym_boards.site.pages import page
from sleepgym_boards.site.ranking import class_order
from sleepgym_boards.site.sharing import compared_metrics, method_script, resamples_script
from sleepgym_boards.verification.rules import RULES

MARKER = ".sleepgym-site"
_DOWNLOADS = "files"


@dataclass(frozen=True)
class Standing:
    """A board and what stands on it."""

    board: Board
    methods: list[Method]

    @property
    def ranked(self) -> list[Method]:
        """The methods with numbers."""
        return [method for method in self.methods if method.results]

    @property
    def classes(self) -> list[str]:
        """The board's budget classes, the one with the best method first."""
        return class_order(self.board, [m.results for m in self.ranked if m.results])

    @property
    def leaders(self) -> list[Method]:
        """The first method of each budget class, the best of them first."""
        first = {m.results.budget_class: m for m in reversed(self.ranked) if m.results}
        return [first[name] for name in self.classes if name in first]


def build_site(out: Path, entries: Sequence[Entry]) -> int:
    """Write the site; what an earlier one left in the folder goes.

    Args:
        out: Folder; made if missing, and replaced whole once every page is written.
        entries: The submissions; those with a ``problem``, or of no board, are left out.

    Returns:
        How many pages were written.

    Raises:
        SleepGymError: If the folder holds something else than a site.
    """
    out, boards = out.resolve(), load_boards()
    if out.exists() and not (out / MARKER).exists() and (out.is_file() or any(out.iterdir())):
        raise SleepGymError(f"{out} holds something else than a site: give a new folder")
    standings = [
        Standing(board, order_methods(board, [e for e in entries if e.board == board.name]))
        for board in boards
    ]
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".site-") as scratch:
        made = Path(scratch) / "site"
        made.mkdir()
        (made / MARKER).touch()
        _write(made, standings)
        if out.exists():
            out.rename(Path(scratch) / "earlier")
        made.rename(out)
    return sum(1 for _ in out.rglob("*.html"))


def _write(out: Path, standings: list[Standing]) -> None:
    static = resources.files("sleepgym_boards.site") / "static"
    for file in static.iterdir():
        (out / file.name).write_bytes(file.read_bytes())
    boards = [standing.board for standing in standings]
    busiest = sorted(standings, key=lambda s: (-len(s.ranked), s.board.title))
    _page(out / "index.html", "index", standings=busiest)
    _page(out / "rules.html", "rules", boards=boards, rules=RULES)
    _page(out / "submit.html", "submit", boards=boards)
    results = [m.results for s in standings for m in s.ranked if m.results]
    _page(out / "metrics.html", "metrics", metrics=compared_metrics(list(GLOSSARY), results))
    for standing in standings:
        _write_board(out, standing)
        if standing.board.name == ablation.BOARD:
            found = ablation.ablate(standing.board, standing.methods)
            _page(out / "ablation.html", "ablation", board=standing.board, ablation=found)
    for n in {len(result.seeds) for result in results}:
        (out / f"resamples-{n}.js").write_text(resamples_script(n), encoding="utf-8")


def _write_board(out: Path, standing: Standing) -> None:
    board, methods, ranked = standing.board, standing.methods, standing.ranked
    folder = out / board.name
    for name in ("methods", _DOWNLOADS):
        (folder / name).mkdir(parents=True)
    results = [method.results for method in ranked if method.results]
    metrics = compared_metrics(main_metrics(board), results)
    _page(
        folder / "index.html",
        "board",
        depth=1,
        board=board,
        methods=methods,
        ranked=ranked,
        leaders=standing.leaders,
        groups=column_groups(board, ranked),
        frontiers=pictures.frontiers(board, ranked),
        retention=pictures.retention(ranked),
    )
    if len(ranked) > 1:
        values = {"metrics": metrics, "first": main_metrics(board), "size": len(results[0].matrix)}
        values["seeds"] = len(results[0].seeds)
        _page(folder / "compare.html", "compare", depth=1, board=board, ranked=ranked, **values)
    for method in methods:
        _write_method(folder, board, method, len(ranked) > 1)


def _write_method(folder: Path, board: Board, method: Method, comparable: bool) -> None:
    shutil.copyfile(method.file, folder / _DOWNLOADS / (method.slug + SUFFIX))
    file = folder / "methods" / method.slug
    values = {"board": board, "method": method, "main": main_metrics(board)}
    values |= {"comparable": comparable, "nights": None, "retention": []}
    if method.results:
        values |= {"nights": pictures.nights(method), "retention": pictures.retention([method])}
        script = method_script(method)
        file.with_name(file.name + ".js").write_text(script, encoding="utf-8")
    _page(file.with_name(file.name + ".html"), "method", depth=2, **values)


def _page(file: Path, template: str, depth: int = 0, **values: object) -> None:
    file.write_text(page(template, depth, **values), encoding="utf-8")
