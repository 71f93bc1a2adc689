"""Nights on real text, setting by setting: what is drawn, and which is called the best."""

import importlib.util

import pytest

from checkout import ROOT


@pytest.fixture(scope="module")
def nights():
    file = ROOT / "benchmarks" / "squad_nights.py"
    spec = importlib.util.spec_from_file_location("squad_nights", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ranked(nights, capsys, lines):
    nights.print_best(lines)
    said = capsys.readouterr().out.splitlines()
    return said[0], [line.partition(":")[0] for line in said[1:]]


def line(variant, value, seed=0, day=2, **more):
    values = value if isinstance(value, list) else [value]
    return {"variant": variant, "seed": seed, "day": day, "open": values, **more}


def test_of_equals_the_earlier_draw_comes_first(nights, capsys):
    above = 0.1 + 0.2
    assert above > 0.3
    lines = [line("b-10", above), line("b-2", 0.3), line("a-3", 0.3), line("b", above)]
    assert ranked(nights, capsys, lines) == ranked(nights, capsys, lines[::-1])
    assert ranked(nights, capsys, lines)[1] == ["b", "a-3", "b-2", "b-10"]


def test_the_last_morning_of_all_seeds_decides(nights, capsys):
    lines = [
        *(line("whole-0", [0.2, 0.4], seed) for seed in (0, 1)),
        *(line("whole-1", [0.1, 0.7], seed) for seed in (0, 1)),
        *(line("whole-1", [0.1], seed, day=1) for seed in (0, 1)),  # of another call
        line("half-0", 0.9),
        {"variant": "broken-0", "seed": 0, "error": "x"},
    ]
    assert ranked(nights, capsys, lines) == ("2 of 3 are whole", ["whole-1", "whole-0", "half-0"])


def test_draws_begin_with_the_rest_of_the_table_differ_and_end(nights):
    variants = {"one": {"agent": "naive", "epochs": [1, 2]}, "two": {"agent": "ewc", "epochs": 3}}
    found = nights.drawn(variants, 9)
    assert found.pop("two") == variants["two"]
    assert found["one-0"] == {"agent": "naive"}
    assert sorted(found.values(), key=str) == [
        {"agent": "naive", "epochs": 1},
        {"agent": "naive", "epochs": 2},
        {"agent": "naive"},
    ]


def test_an_unknown_variant_is_named_beside_the_known_ones(nights, tmp_path, monkeypatch, capsys):
    file = tmp_path / "variants.toml"
    file.write_text('[one]\nagent = "naive"\nepochs = [1, 2]\n')
    monkeypatch.setattr(
        "sys.argv", ["x", "--variants", str(file), "--draws", "2", "--only", "one-7"]
    )
    with pytest.raises(SystemExit) as ended:
        nights.main()
    assert ended.value.code == 2
    assert "no variant 'one-7'; there are one-0, one-1" in capsys.readouterr().err
