"""Settings: inherited text and ranges, renamed names, presets."""

import typing
from dataclasses import dataclass, fields
from typing import Annotated, Any, ClassVar

import pytest
from annotated_types import Ge, Gt, Interval, Le, Lt
from hypothesis import given
from hypothesis import strategies as st

import sleepgym_agents  # noqa: F401
import sleepgym_tasks  # noqa: F401
from sleepgym import Settings
from sleepgym.core import registry
from sleepgym.core.errors import BadSetting, UnknownName
from sleepgym.core.settings import (
    build_config,
    meanings,
    ranges,
    renamed_settings,
    upgrade_settings,
)


@dataclass(frozen=True)
class Parent(Settings):
    """Born here.

    Attributes:
        rate: A rate.
        size: A size.
    """

    renamed: ClassVar = {"speed": "rate", "colour": None}

    rate: Annotated[float, Interval(gt=0, le=1)] = 0.5
    size: Annotated[int, Ge(1)] = 4


@dataclass(frozen=True)
class Child(Parent):
    """With another default, and presets."""

    presets: ClassVar = {"small": {"size": 2, "rate": 0.25}}

    rate: float = 0.1
    size: Annotated[int, Le(8)] = 8
    preset: typing.Literal["none", "small"] = "none"


def _configs():
    return [
        pytest.param(entry.load().Config, id=name)
        for table in (registry.agents, registry.envs)
        for name, entry in table.items()
        if entry.entry_point.startswith(("sleepgym_agents", "sleepgym_tasks"))
    ]


def _outside(bound: Any) -> list[Any]:
    """Values just outside a bound of ``annotated_types``."""
    found = []
    for name, step in (("ge", -1), ("gt", 0), ("le", 1), ("lt", 0)):
        limit = getattr(bound, name, None)
        if limit is not None:
            found.append(limit + step)
    return found


def _bounds(cls: type) -> list[tuple[str, Any]]:
    """Every (field, value outside a range) of a class, wherever in its bases the range is."""
    found = []
    own = {field.name for field in fields(cls)}
    for base in cls.__mro__:
        hints = typing.get_type_hints(base, include_extras=True)
        for name in vars(base).get("__annotations__", {}):
            if name not in own:
                continue
            for part in (hints[name], *typing.get_args(hints[name])):
                for bound in getattr(part, "__metadata__", ()):
                    found += [(name, value, part) for value in _outside(bound)]
    return found


@pytest.mark.parametrize("config", _configs())
def test_a_value_outside_any_inherited_range_is_refused(config):
    for name, value, _ in _bounds(config):
        default = next(field.default for field in fields(config) if field.name == name)
        given_value = (value,) if isinstance(default, tuple) else value
        if isinstance(default, float):
            given_value = float(value)
        with pytest.raises(BadSetting, match=name):
            config(**{name: given_value})
        with pytest.raises(BadSetting, match=name):
            build_config(config, {name: given_value}, "x")


def test_most_agents_have_ranges_to_test():
    counts = [len(_bounds(param.values[0])) for param in _configs()]
    assert sum(counts) > 200


def test_ranges_of_parent_and_child_both_hold():
    for bad in ({"rate": -1.0}, {"rate": 2.0}, {"size": 0}, {"size": 9}):
        with pytest.raises(BadSetting):
            Child(**bad)
    assert meanings(Child) == {"rate": "A rate.", "size": "A size."}
    assert ranges(Child)["rate"] == "> 0, <= 1"
    assert ranges(Child)["size"] == "<= 8, >= 1"
    assert ranges(Child)["preset"] == "none, small"


@pytest.mark.parametrize("config", _configs())
def test_every_setting_has_a_meaning(config):
    assert set(meanings(config)) == {field.name for field in fields(config)}


def test_a_preset_is_overridden_by_what_is_set_beside_it():
    assert Child(preset="small") == Child(preset="small", size=2, rate=0.25)
    assert Child(preset="small", size=3).size == 3
    assert build_config(Child, {"size": "3", "preset": "small"}, "x").rate == 0.25
    with pytest.raises(BadSetting, match="preset=large"):
        Child(preset="large")


@pytest.mark.parametrize("config", _configs())
def test_presets_name_settings_within_their_ranges(config):
    for preset, settings in getattr(config, "presets", {}).items():
        made = config(preset=preset)
        assert {name: getattr(made, name) for name in settings} == dict(settings)


@pytest.mark.parametrize("config", _configs())
def test_renamed_settings_of_records_are_read_and_new_runs_are_told(config):
    names = {field.name for field in fields(config)}
    for old, new in renamed_settings(config).items():
        if old in names:
            continue
        assert new is None or new in names
        value = None if new is None else getattr(config(), new)
        assert upgrade_settings(config, {old: value}) == ({} if new is None else {new: value})
        with pytest.raises(BadSetting, match=f"{old} is (gone|called {new} now)"):
            build_config(config, {old: value}, "x")


@given(
    st.dictionaries(
        st.sampled_from(["rate", "size", "preset", "speed", "colour", "unknown"]), st.integers()
    )
)
def test_upgrading_keeps_what_it_knows_and_is_done_once(settings):
    upgraded = upgrade_settings(Child, settings)
    assert upgrade_settings(Child, upgraded) == upgraded
    assert not {"speed", "colour"} & set(upgraded)
    kept = {name: value for name, value in settings.items() if name not in ("speed", "colour")}
    if "speed" in settings:
        kept.setdefault("rate", settings["speed"])  # a name of today wins
    assert upgraded == kept


def test_an_unknown_setting_gets_the_nearest():
    with pytest.raises(UnknownName, match="rate"):
        build_config(Child, {"rat": 1}, "x")


def test_helpers_of_this_file_see_what_they_should():
    assert _outside(Interval(gt=0, le=1)) == [0, 2]
    assert _outside(Gt(3)) == [3]
    assert _outside(Lt(3)) == [3]
    assert _outside(Ge(3)) == [2]
    assert [(name, value) for name, value, _ in _bounds(Parent)] == [
        ("rate", 0),
        ("rate", 2),
        ("size", 0),
    ]
    assert len(_bounds(Child)) == 4


@dataclass(frozen=True)
class Listed(Settings):
    """With a list.

    Attributes:
        kinds: Some.
        name: One, which may hold a comma.
    """

    kinds: tuple[str, ...] = ()
    name: str = ""


@pytest.mark.parametrize("text", ["a,b", " a , b ", '["a", "b"]', ["a", "b"]])
def test_lists_are_comma_separated_or_json(text):
    assert build_config(Listed, {"kinds": text, "name": "x,y"}, "it") == Listed(("a", "b"), "x,y")
    assert build_config(Listed, {"kinds": ""}, "it") == Listed()


@pytest.mark.parametrize("value", ["inf", "1e400", float("inf"), "nan"])
def test_numbers_that_no_record_can_hold_are_refused(value):
    @dataclass(frozen=True)
    class Limited(Settings):
        """With a number that may be unset.

        Attributes:
            limit: A limit.
        """

        limit: Annotated[float, Ge(0)] | None = None

    with pytest.raises(BadSetting, match=r"limit=(inf|nan)"):
        build_config(Limited, {"limit": value}, "it")
    with pytest.raises(BadSetting, match=r"limit=(inf|nan)"):
        Limited(float(value))
    assert build_config(Limited, {"limit": "none"}, "it") == Limited()
