"""Writing the site: one folder that any host serves, or that opens from a disk."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from sleepgym.core.errors import SleepGymError
from sleepgym.scoring.failures import FATES
from sleepgym.scoring.glossary import GLOSSARY
from sleepgym_boards.board import Board, load_boards
from sleepgym_boards.catalogue.entries import Entry
from sleepgym_boards.floors import floors
from sleepgym_boards.site import ablation, exports
from sleepgym_boards.site.columns import column_groups, labels, main_metrics
from sleepgym_boards.site.drawing import pictures
from sleepgym_boards.site.methods import Method, order_methods
from sleepgym_boards.site.pages import page
from sleepgym_boards.site.ranking import class_order
from sleepgym_boards.site.sharing import compared_metrics, method_script, resamples_script
from sleepgym_boards.site.trajectories import Streams, Trajectory, read_trajectory
from sleepgym_boards.verification.rules import RULES

MARKER = ".sleepgym-site"
_DOWNLOADS = "files"
_TABLES = {
    "metrics": exports.metric_rows,
    "nights": exports.night_rows,
    "matrices": exports.matrix_rows,
}
_EXAMPLE = "almanac-8-v1"  # the board that commands on pages name


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
    def latest(self) -> str:
        """The day of the newest submission; empty where there is none."""
        return max((m.header.date for m in self.ranked if m.header), default="")

    @property
    def classes(self) -> list[str]:
        """The board's budget classes, the one with the best method first."""
        return class_order(self.board, [m.results for m in self.ranked if m.results])

    @property
    def leaders(self) -> list[Method]:
        """The first method of each budget class, the best of them first."""
        first = {m.results.budget_class: m for m in reversed(self.ranked) if m.results}
        return [first[name] for name in self.classes if name in first]


def build_site(out: Path, entries: Sequence[Entry], data: Path | None = None) -> int:
    """Write the site; what an earlier one left in the folder goes.

    Args:
        out: Folder; made if missing, and replaced whole once every page is written.
        entries: The submissions; those with a ``problem``, or of no board, are left out.
        data: Folder of original data files; a run whose stream needs others has no trajectory.

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
        _write(made, standings, Streams(data))
        if out.exists():
            out.rename(Path(scratch) / "earlier")
        made.rename(out)
    return sum(1 for _ in out.rglob("*.html"))


def _write(out: Path, standings: list[Standing], streams: Streams) -> None:
    static = resources.files("sleepgym_boards.site") / "static"
    for file in static.iterdir():
        (out / file.name).write_bytes(file.read_bytes())
    boards = [s.board for s in standings if not s.board.superseded_by]
    _write_index(out, standings)
    _page(out / "rules.html", "rules", boards=boards, rules=RULES)
    exports.write_table(out / "rules", exports.rule_rows(RULES))
    _page(out / "submit.html", "submit", boards=sorted(boards, key=lambda b: b.name != _EXAMPLE))
    results = [m.results for s in standings for m in s.ranked if m.results]
    _page(out / "metrics.html", "metrics", metrics=compared_metrics(list(GLOSSARY), results))
    for standing in standings:
        _write_board(out, standing, streams)
    _write_ablation(out, standings)
    for n in {len(result.seeds) for result in results}:
        (out / f"resamples-{n}.js").write_text(resamples_script(n), encoding="utf-8")


def _write_index(out: Path, standings: list[Standing]) -> None:
    """The front page: busy boards first, then empty ones, then those that were superseded."""
    busiest = sorted(standings, key=lambda s: (-len(s.ranked), s.board.title))
    now = [s for s in busiest if not s.board.superseded_by]
    sections = {
        "": [s for s in now if s.ranked],
        "No submission yet": [s for s in now if not s.ranked],
        "Superseded": [s for s in busiest if s.board.superseded_by],
    }
    titles = {s.board.name: s.board.title for s in standings}
    _page(out / "index.html", "index", sections=sections, titles=titles)
    rows = [row for s in busiest for row in exports.method_rows(s.board, s.methods)]
    exports.write_table(out / "boards", rows)


def _write_ablation(out: Path, standings: list[Standing]) -> None:
    """The page of the newest ablation that answers something, else of the newest with methods."""
    found = {s.board.name: s for s in standings if s.board.name in ablation.BOARDS}
    named = [found[name] for name in ablation.BOARDS if name in found]
    results = {s.board.name: ablation.ablate(s.board, s.methods) for s in named}
    answering = [s for s in named if results[s.board.name].adds]
    chosen = next((s for s in (*answering, *named) if s.ranked), named[0])
    result = results[chosen.board.name]
    _page(out / "ablation.html", "ablation", board=chosen.board, ablation=result)
    exports.write_table(out / "ablation", exports.ablation_rows(chosen.board, result))


def _write_board(out: Path, standing: Standing, streams: Streams) -> None:
    board, methods, ranked = standing.board, standing.methods, standing.ranked
    folder = out / board.name
    for name in ("methods", "trajectories", "verdicts", *_TABLES, _DOWNLOADS):
        (folder / name).mkdir(parents=True)
    results = [method.results for method in ranked if method.results]
    metrics = compared_metrics(main_metrics(board), results)
    groups = column_groups(board, ranked)
    (folder / "labels.css").write_text(labels(board, groups), encoding="utf-8")
    _page(
        folder / "index.html",
        "board",
        depth=1,
        board=board,
        methods=methods,
        ranked=ranked,
        leaders=standing.leaders,
        floor=floors().get(board.name),
        is_ablation=board.name in ablation.BOARDS,
        groups=groups,
        frontiers=pictures.frontiers(board, ranked),
        retention=pictures.retention(ranked),
    )
    exports.write_table(folder / "table", exports.method_rows(board, methods))
    if len(ranked) > 1:
        values = {"metrics": metrics, "first": main_metrics(board), "size": len(results[0].matrix)}
        values["seeds"] = len(results[0].seeds)
        _page(folder / "compare.html", "compare", depth=1, board=board, ranked=ranked, **values)
    for method in methods:
        trajectory = read_trajectory(board, method, streams)
        _write_method(folder, board, method, len(ranked) > 1, trajectory)


def _write_method(
    folder: Path, board: Board, method: Method, comparable: bool, trajectory: Trajectory | None
) -> None:
    shutil.copyfile(method.file, folder / _DOWNLOADS / method.file.name)
    file = folder / "methods" / method.slug
    values = {"board": board, "method": method, "main": main_metrics(board)}
    values |= {"comparable": comparable, "nights": None, "retention": []}
    values["trajectory"] = trajectory
    if method.results:
        values |= {"nights": pictures.nights(method), "retention": pictures.retention([method])}
        script = method_script(method)
        file.with_name(file.name + ".js").write_text(script, encoding="utf-8")
        for name, rows in _TABLES.items():
            exports.write_table(folder / name / method.slug, rows(method))
    if method.entry.verdict:
        exports.write_table(folder / "verdicts" / method.slug, exports.verdict_rows(method))
    if trajectory:
        place = folder / "trajectories" / method.slug
        exports.write_table(place, exports.trajectory_rows(method, trajectory.traces))
        _page(place.with_name(place.name + ".html"), "trajectory", depth=2, **values, fates=FATES)
    _page(file.with_name(file.name + ".html"), "method", depth=2, **values)


def _page(file: Path, template: str, depth: int = 0, **values: object) -> None:
    file.write_text(page(template, depth, **values), encoding="utf-8")
