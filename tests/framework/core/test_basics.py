"""Randomness, settings, budgets, errors, grades."""

import subprocess
import sys
from dataclasses import dataclass
from typing import Annotated, Literal

import pytest
from annotated_types import Ge
from hypothesis import given, settings
from hypothesis import strategies as st

from sleepgym.core import grading
from sleepgym.core.budget import Budget, Meter, Night
from sleepgym.core.errors import BadSetting, UnknownName, unknown_name
from sleepgym.core.rng import derive_rng, derive_seed
from sleepgym.core.settings import build_config, parse_pairs, plain


@dataclass(frozen=True)
class Config:
    days: Annotated[int, Ge(1)] = 8
    rate: float = 0.5
    mode: Literal["fast", "slow"] = "fast"
    limit: int | None = None
    on: bool = False
    names: tuple[str, ...] = ()


def test_seeds_are_derived_by_name_and_the_same_in_every_process():
    code = "from sleepgym.core.rng import derive_seed; print(derive_seed(3, 'night', 2))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(out.stdout) == derive_seed(3, "night", 2)
    assert len({derive_seed(s, n) for s in range(50) for n in range(50)}) == 2500
    assert derive_seed(1, 23) != derive_seed(12, 3) != derive_seed(1, "23")
    assert derive_rng(4, "a").random() == derive_rng(4, "a").random()


def test_settings_are_read_by_type():
    text = parse_pairs(["days=3", "rate=1e-3", "mode=slow", "limit=none", "on=true"])
    assert build_config(Config, text, "x") == Config(3, 0.001, "slow", None, True)
    assert build_config(Config, {"limit": "7", "names": '["a", "b"]'}, "x").names == ("a", "b")
    assert plain(Config(names=("a",)))["names"] == ["a"]


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ({"days": "0"}, "days=0 of agent x: input should be greater than or equal to 1"),
        ({"days": "many"}, "days=many .* integer"),
        ({"mode": "medium"}, "'fast' or 'slow'"),
        ({"on": "perhaps"}, "boolean"),
    ],
)
def test_a_bad_value_names_value_rule_and_default(setting, says):
    with pytest.raises(BadSetting, match=says):
        build_config(Config, setting, "agent x")


def test_unknown_names_get_the_nearest():
    with pytest.raises(UnknownName, match="unknown setting of agent x 'dayz': did you mean days"):
        build_config(Config, {"dayz": 1}, "agent x")
    assert str(unknown_name("suite", "zzz", ["b", "a"])) == "unknown suite 'zzz': there are: a, b"
    with pytest.raises(BadSetting, match="not of the form key=value"):
        parse_pairs(["days"])


def test_a_night_knows_what_its_budget_allows():
    meter = Meter(train_tokens=1000)
    night = Night(2, Budget(night_train_tokens=100), seed=1, meter=meter)
    assert night.allows(night_train_tokens=100)
    meter.train_tokens += 60
    assert night.spent()["night_train_tokens"] == 60
    assert not night.allows(night_train_tokens=41)
    assert night.allows(night_train_tokens=40, night_generated_tokens=10**9)
    assert Budget(state_bytes=10).exceeded_by({"state_bytes": 11}) == ["state_bytes"]
    assert night.derive_seed("a") != Night(3, Budget(), 1, meter).derive_seed("a")


@pytest.mark.parametrize(
    ("answer", "target", "exact", "f1"),
    [
        ("The Panthers!", "panthers", 1.0, 1.0),
        ("Denver Broncos", "the Broncos", 0.0, 2 / 3),
        ("x b b", "b b c", 0.0, 2 / 3),
        ("", "x", 0.0, 0.0),
        ("the", "the", 1.0, 1.0),
    ],
)
def test_squad_grades(answer, target, exact, f1):
    assert grading.exact_match(answer, target) == exact
    assert grading.f1(answer, target) == pytest.approx(f1)


@given(st.text(), st.text())
@settings(deadline=None)
def test_grades_lie_in_the_unit_interval_and_the_target_earns_one(answer, target):
    for grade in (grading.exact_match, grading.f1, grading.chrf, grading.choice):
        assert 0.0 <= grade(answer, target) <= 1.0
        assert grade(target, target) == 1.0


def test_chrf_is_sacrebleus():
    from sacrebleu import sentence_chrf

    pair = ("the man sees a dog", "the man saw the dog")
    assert grading.chrf(*pair) == sentence_chrf(pair[0], [pair[1]]).score / 100
    assert grading.choice(" card_arrival\n", "card_arrival") == 1.0
    assert grading.choice("Card_arrival", "card_arrival") == 0.0
