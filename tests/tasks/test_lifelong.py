"""Lifelong: parts keep their sense in the mixture, and a long stream is made as it is lived."""

from __future__ import annotations

import resource
import time
from collections import Counter

import pytest

import family_checks
from sleepgym.core.errors import BadSetting
from sleepgym.core.types import Phase
from sleepgym.runs.runner import run
from sleepgym.runs.spec import RunSpec
from sleepgym.scoring.regrading import regrade
from sleepgym_tasks.envs.composed.lifelong import PARTS

ID = "sleepgym/Lifelong-v0"


def test_every_part_comes_up_and_names_itself_in_the_kind():
    env, stream = family_checks.make(ID, days=40)
    kinds = {item.kind.partition("-")[0] for day in stream.days for item in day.exam}
    assert kinds == set(PARTS)
    for day, outline in zip(stream.days, stream.outlines, strict=True):
        assert outline.reads == bool(day.documents)
        assert outline.rounds == len(day.practice)
        assert outline.asks == bool(day.exam)
        assert all(item.day == day.number for items in (*day.practice, day.exam) for item in items)
    family_checks.gold_scores_one(env)
    assert {item.kind.partition("-")[0] for item in stream.base} == {"almanac", "math"}


def test_nothing_leaks():
    # a worked rule may map an input to itself, and arithmetic may repeat a number
    env, stream = family_checks.make(ID, days=24)
    echoes = {
        i.kind for d in stream.days for i in d.exam if i.kind.startswith(("code", "grid", "math"))
    }
    echoes |= {item.kind for item in stream.base if item.kind.startswith("math")}
    family_checks.no_leaks(env, allowed=echoes)


def test_weights_say_how_often_a_part_comes_up():
    settings = {"families": ("math", "codebook", "haystack"), "weights": (3.0, 1.0, 0.0)}
    _, stream = family_checks.make(ID, days=200, **settings)
    days = Counter(day.exam[0].kind.partition("-")[0] for day in stream.days)
    assert set(days) == {"math", "codebook"}
    assert 130 < days["math"] < 170


def test_a_day_of_several_parts_has_the_material_of_each():
    _, stream = family_checks.make(
        ID, days=6, families=("almanac", "math", "haystack"), families_per_day=2
    )
    for day in stream.days:
        assert len({item.kind.partition("-")[0] for item in day.exam}) == 2
        assert len(day.documents) == len(tuple(day.documents)) > 0
        if any(item.kind.startswith("math") for item in day.exam):
            assert len(day.practice) == 1


def test_facts_change_across_the_days_of_other_parts():
    """An item is asked up to the night before the day of its part that changed it."""
    env, stream = family_checks.make(ID, days=60, families=("almanac", "math"))
    almanac = [d.number for d in stream.days if d.exam[0].kind.startswith("almanac")]
    dated = [i for d in stream.days for i in d.exam if i.until is not None]
    assert dated
    for item in dated:
        assert item.until + 1 in almanac
        assert item.until >= item.day
    one = dated[0]
    asked = [s.night for s in env.steps if s.closed_book and one.id in {i.id for i in s.items}]
    assert asked[-1] == one.until


def test_items_are_graded_as_their_parts_grade():
    env, stream = family_checks.make(ID, days=30, families=("math", "languages"))
    (number,) = stream.key[stream.base[0].id]
    assert env.family.score_item(stream.base[0].id, f"It is {number}", number) == 1.0
    sentence = next(i for d in stream.days for i in d.exam if i.kind.startswith("languages"))
    (gold,) = stream.key[sentence.id]
    assert 0.0 < env.family.score_item(sentence.id, gold[: len(gold) // 2], gold) < 1.0


def test_a_record_is_graded_again_by_the_same_parts(tmp_path):
    settings = {"days": 2, "families": ("languages",), "exams": "spaced"}
    record = run(RunSpec(ID, "nearest", settings), tmp_path / "run")
    found = regrade(record)
    assert (found.record, found.problems, found.reason) == (record, (), None)
    assert any(0.0 < line["score"] < 1.0 for line in record.answers)


def test_no_question_of_another_part_has_other_answers():
    for seed in range(3):
        _, stream = family_checks.make(ID, days=60, seed=seed)
        asked = {}
        for day in stream.days:
            for item in day.exam:
                if item.until is None and not item.question.choices:
                    text = item.question.text
                    assert asked.setdefault(text, stream.key[item.id]) == stream.key[item.id], text


def test_a_thousand_days_begin_at_once():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    env, stream = family_checks.make(ID, preset="thousand")
    assert time.process_time() - started < 1.5  # 0.7 s where nothing else runs
    assert len(env.steps) > 4000
    assert env.steps[0].phase is Phase.EXAM
    assert len(stream.days._made) == 1
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < 150


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"families": ()}, "name one at least"),
        ({"families": ("math", "math")}, "each once"),
        ({"families": ("math",), "weights": (1.0, 2.0)}, "2 numbers for 1 families"),
        ({"families": ("math", "grids"), "weights": (0.0, 0.0)}, "weight above 0"),
        ({"families": ("math",), "families_per_day": 2}, "families_per_day=2"),
        ({"weights": (-1.0,)}, "weights"),
    ],
)
def test_bad_settings_are_one_line(settings, match):
    family_checks.settings_refused(ID, BadSetting, match, **settings)
