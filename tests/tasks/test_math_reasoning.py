"""Problems with numbers and expressions as answers, from a file or invented."""

from __future__ import annotations

import re
import sys
from fractions import Fraction

import pytest

import data_files
import family_checks
from sleepgym.core.errors import BadData, BadSetting, MissingData
from sleepgym_tasks.envs.math_reasoning import equal_expressions, last_number

ID = "sleepgym/MathReasoning-v0"


def write(folder, records):
    data_files.write_jsonl(folder / "math" / "problems.jsonl", records)
    return folder


def records(count):
    return [
        {"problem": f"Find {n} * 2.", "answer": 2 * n, "subject": "doubling"} for n in range(count)
    ]


def test_the_twin_practises_examines_and_never_repeats():
    env, stream = family_checks.make(ID)
    assert len(stream.base) == 16
    assert [(len(day.practice[0]), len(day.exam)) for day in stream.days] == [(8, 8)] * 4
    items = [*stream.base, *(i for d in stream.days for i in (*d.practice[0], *d.exam))]
    assert len({item.question.text for item in items}) == len(items) == 80
    assert {item.kind for item in items} == {"sum", "difference", "product", "mixed", "story"}
    family_checks.gold_scores_one(env)
    for item in items:
        question = item.question.text
        if found := re.fullmatch(r"What is ([\d +*-]+)\?", question):
            assert eval(found[1]) == int(stream.key[item.id][0])
        else:
            has, finds, gives = map(int, re.findall(r"\d+", question))
            assert has + finds - gives == int(stream.key[item.id][0])


def test_nothing_leaks():
    """A problem is in no other phase, and seldom holds its answer: 46 - 23 cannot be helped."""
    asked = held = 0
    for seed in range(5):
        env, stream = family_checks.make(ID, seed=seed, days=8)
        items = [*stream.base, *(item for day in stream.days for item in day.exam)]
        family_checks.no_leaks(env, allowed={item.kind for item in items})
        practised = {i.question.text for d in stream.days for r in d.practice for i in r}
        assert not practised & {item.question.text for item in items}
        asked += len(items)
        held += sum(
            stream.key[item.id][0] in re.findall(r"-?\d+", item.question.text) for item in items
        )
    assert held / asked < 0.04


def test_samples_ask_again():
    stream = family_checks.make(ID, preset="average@8", days=1)[1]
    texts = [item.question.text for item in stream.days[0].exam]
    assert len(texts) == 64
    assert len(set(texts)) == 8


def test_a_file_is_drawn_without_repetition(tmp_path):
    write(tmp_path, records(80))
    env, stream = family_checks.make(ID, tmp_path, preset="file")
    items = [*stream.base, *(i for d in stream.days for i in (*d.practice[0], *d.exam))]
    assert len({item.question.text for item in items}) == 80
    assert {item.kind for item in items} == {"doubling"}
    family_checks.gold_scores_one(env)
    write(tmp_path, records(79))
    family_checks.settings_refused(
        ID, BadSetting, "needs 80 problems, and math/problems.jsonl has 79", tmp_path, preset="file"
    )


def test_there_are_only_so_many_problems():
    family_checks.settings_refused(
        ID, BadSetting, "arithmetic has", kinds=("product",), digits=2, days=60
    )
    family_checks.settings_refused(ID, BadSetting, "digits=1 has too few", kinds=("sum",), digits=1)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("72", 72),
        ("The answer is $1,234.", 1234),
        ("so -0.50", Fraction(-1, 2)),
        ("3/4", Fraction(3, 4)),
        ("first 5, then 7", 7),
        ("1/0", None),
        ("none", None),
        ("", None),
    ],
)
def test_the_last_number_counts(text, number):
    assert last_number(text) == number


def test_a_wrong_number_or_silence_scores_nothing():
    family = family_checks.make(ID)[0].family
    assert family.score("I add and get 0.5", "1/2") == 1.0
    assert family.score("17", "7") == 0.0
    assert family.score("", "7") == 0.0


def test_expressions_are_compared_by_the_library():
    pytest.importorskip("math_verify")
    for answer, target in (
        ("1/2", "\\frac{1}{2}"),
        ("1+x^2", "x^2 + 1"),
        ("It is $\\sqrt{18}$.", "3\\sqrt{2}"),
        ("\\text{Evelyn}", "\\text{Evelyn}"),
        ("\\boxed{7}", "7"),
    ):
        assert equal_expressions(answer, target), answer
    for answer, target in (("x^2 - 1", "x^2 + 1"), ("", "7"), ("7" * 9, "7"), ("((((", "x")):
        assert not equal_expressions(answer, target), answer


def test_a_missing_library_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "math_verify", None)
    with pytest.raises(MissingData, match=r"pip install 'sleepgym\[math\]'"):
        equal_expressions("a", "b")


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"answer": 3}, "line 2: problem is None, not text"),
        ({"problem": "p", "answer": "x"}, "line 2: the answer 'x' is no number: use metric=expr"),
        ({"problem": "p", "answer": None}, "line 2: answer is None"),
        ({"problem": "p", "answer": True}, "line 2: answer is True"),
        (
            {"problem": "Find 0 * 2.", "answer": 1},
            "line 2: the same problem occurs before, on line 1",
        ),
        ({"problem": " ", "answer": 1}, "line 2: problem is empty"),
    ],
)
def test_bad_records_are_named(bad, words, tmp_path):
    write(tmp_path, [*records(1), bad])
    family_checks.settings_refused(ID, BadData, re.escape(words), tmp_path, preset="file")


def test_a_missing_file_is_named(tmp_path):
    family_checks.settings_refused(
        ID, MissingData, r"no file 'math/problems\.jsonl' under", tmp_path, preset="file"
    )
