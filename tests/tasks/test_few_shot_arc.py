"""Grid puzzles: ARC's files, SEAL's subsets, and the invented twin solved by its own rules."""

from __future__ import annotations

import random

import pytest

import data_files
import family_checks
from sleepgym.core.errors import BadData, BadSetting
from sleepgym_tasks.datasets.arc_files import parse
from sleepgym_tasks.envs.few_shot_arc import SEAL, read_grid, write_grid
from sleepgym_tasks.worlds.grids import FAMILIES, invent, mirror, quarter

ID = "sleepgym/FewShotARC-v0"
RULES = {
    "rotation": lambda g: {quarter(g), quarter(quarter(g)), quarter(quarter(quarter(g)))},
    "flip": lambda g: {mirror(g), g[::-1], quarter(g[::-1])},
    "symmetry": lambda g: {tuple(r + r[::-1] for r in g), g + g[::-1]},
}


def test_the_twin_has_rounds_of_demonstrations_and_grows():
    env, stream = family_checks.make(ID)
    assert [len(day.practice) for day in stream.days] == [4] * 6
    assert [day.exam[0].kind for day in stream.days] == [*FAMILIES, "rotation"]
    sides = []
    for day in stream.days:
        grids = [read_grid(i.question.text.partition(": ")[2]) for i in day.exam]
        sides.append(max(max(len(g), len(g[0])) for g in grids))
    assert sides[0] <= 3
    assert 8 <= sides[-1] <= 10
    family_checks.gold_scores_one(env)
    family_checks.no_leaks(env, allowed=("counting",))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("side", [3, 6, 10])
def test_demonstrations_leave_one_rule_standing(family, side):
    for seed in range(20):
        puzzle = invent(random.Random(seed), family, side, 4, 2)
        pairs = [*puzzle.train, *puzzle.test]
        assert len({grid for grid, _ in pairs}) == 6
        for grid, output in pairs:
            assert max(len(grid), len(grid[0])) <= side
            assert max(len(output), len(output[0])) <= max(side, 4)
            assert output != grid
        if family in RULES:
            assert all(output in RULES[family](grid) for grid, output in pairs)
        if family == "recolouring":
            maps = [dict(zip(sum(g, ()), sum(o, ()), strict=True)) for g, o in pairs]
            assert all(one == maps[0] for one in maps)
            assert len(set(maps[0].values())) == 4
        if family == "counting":
            (colour,) = {cell for _, output in pairs for cell in output[0]}
            assert all(sum(g, ()).count(colour) == len(o[0]) for g, o in pairs)


@pytest.mark.parametrize(
    "text",
    ["1 2 / 3 4", "12/34", "1, 2\n3, 4", "[[1, 2], [3, 4]]", " 1 2 | 3 4 ", "1 2;3 4"],
)
def test_grids_are_read_in_many_ways(text):
    assert read_grid(text) == ((1, 2), (3, 4))


@pytest.mark.parametrize(
    "text", ["", "1 2 / 3", "a b", "[1, 2]", "[[1], [", "1 2 // 3 4", "[" * 9999]
)
def test_what_is_no_grid_scores_nothing(text):
    env, _ = family_checks.make(ID)
    assert read_grid(text) is None
    assert env.family.score(text, "1 2 / 3 4") == 0.0


@pytest.mark.parametrize("part", ["training", "evaluation"])
def test_seal_tasks_are_the_presets(part, data_dir):
    env, stream = family_checks.make(ID, data_dir, preset=f"seal-{part}")
    names = {item.question.text[5:13] for day in stream.days for item in day.exam}
    assert names == set(SEAL[part])
    assert sum(len(day.exam) for day in stream.days) == {"training": 11, "evaluation": 9}[part]
    assert len(stream.days) == {"training": 10, "evaluation": 8}[part]
    family_checks.gold_scores_one(env)


def test_too_many_days_are_refused(data_dir):
    match = "needs 20 tasks, and there are 14"
    family_checks.settings_refused(
        ID, BadSetting, match, data_dir, dataset="training", days=10, tasks_per_day=2
    )
    family_checks.settings_refused(ID, BadSetting, "tasks=seal needs", tasks="seal")
    family_checks.settings_refused(ID, BadSetting, "rules is empty", rules=())


def test_seal_needs_its_tasks(tmp_path):
    pair = {"input": [[1]], "output": [[2]]}
    write(tmp_path, {"a": {"train": [pair], "test": [{"input": [[3]]}]}}, {"a": [[[4]]]})
    family_checks.settings_refused(
        ID, BadData, "lacks the task 6150a2bd", tmp_path, preset="seal-training"
    )


def write(folder, challenges, solutions):
    data_files.write_json(folder / "arc_agi_1/arc-agi_training_challenges.json", challenges)
    data_files.write_json(folder / "arc_agi_1/arc-agi_training_solutions.json", solutions)


def task(grid=((1,),), train=None):
    shown = [{"input": grid, "output": [[2]]}] if train is None else train
    return {"a": {"train": shown, "test": [{"input": [[3]]}]}}


@pytest.mark.parametrize(
    ("challenges", "solutions", "words"),
    [
        (task([[1, 2], [3]]), {"a": [[[4]]]}, r"challenges\.json, a\.train\[0\]: rows of 2 and 1"),
        (task([[11]]), {"a": [[[4]]]}, r"a\.train\[0\]: a cell is 11"),
        (task([[True]]), {"a": [[[4]]]}, r"a\.train\[0\]: a cell is True"),
        (task([[1] * 31]), {"a": [[[4]]]}, "a grid of 1 x 31: at most 30 a side"),
        (task([]), {"a": [[[4]]]}, "a grid is not a list with something in it"),
        (task([[]]), {"a": [[[4]]]}, "a row of a grid is not a list with something in it"),
        (task(train=[]), {"a": [[[4]]]}, "a: train is not a list with something in it"),
        (task(), {"a": [[[4]], [[5]]]}, r"solutions\.json, a: 2 outputs for 1 test inputs"),
        (task(), {"b": [[[4]]]}, r"solutions\.json, a: no solution of this task"),
        ([1], {"a": [[[4]]]}, "not an object of tasks by id"),
        ({"a": [1]}, {"a": [[[4]]]}, "a: not an object with train, test"),
    ],
)
def test_bad_files_are_named(challenges, solutions, words, tmp_path):
    write(tmp_path, challenges, solutions)
    family_checks.settings_refused(ID, BadData, words, tmp_path, dataset="training")


# -- the original files -------------------------------------------------------------------------


def test_original_files_have_the_published_sizes(real_data):
    for part, pairs in (("training", 416), ("evaluation", 419)):
        files = (f"arc_agi_1/arc-agi_{part}_{what}.json" for what in ("challenges", "solutions"))
        tasks = parse(*(real_data / file for file in files))
        assert (len(tasks), sum(len(one.test) for one in tasks)) == (400, pairs)
        env, stream = family_checks.make(ID, real_data, preset=f"seal-{part}")
        family_checks.gold_scores_one(env)
        for one in tasks:
            assert all(read_grid(write_grid(grid)) == grid for pair in one.test for grid in pair)
    assert len(stream.days) == 8
