import os

import pytest

from sleepgym.cli import run_command
from sleepgym.core.env import make_env
from sleepgym.runs.spec import RunSpec
from sleepgym.suite.estimates import Cost, Device, Scale, cost, measure, scale_of
from sleepgym.suite.suite import load_suite, suite_names

PAPER = [name for name in suite_names() if name.startswith("paper-")]


def test_the_size_of_a_stream_is_counted_from_its_phases():
    stream = make_env("toy:Toy", days=1, facts=1).family.stream(3)
    town = len(stream.key["d1q0"][0])
    base, asked, drill = len("Where is home?"), len("Where is Person10?"), len("red?")
    day = len("Person10") + len("Person10 is in .") + town + drill + len("warm")
    exams = 2 * (base + asked) + drill + len("warmcold") + (asked + day)
    assert measure(stream) == Scale(1, 1, day / 4, exams / 4, free_questions=5)


def test_the_context_is_gone_after_the_night():
    one, two = (measure(make_env("toy:Toy", days=n).family.stream(3)) for n in (1, 2))
    assert two.documents == 2 * one.documents
    assert two.asked_tokens < 3 * one.asked_tokens + one.day_tokens


def test_costs_are_the_documented_formulas():
    scale = Scale(days=2, documents=3, day_tokens=100, asked_tokens=1000, free_questions=7)
    assert cost(scale, {}) == Cost(1000, 0, 0)
    assert cost(scale, {"max_answer_tokens": 4, "epochs": 5}) == Cost(1000 + 200, 28, 500)
    seal = {"epochs": 2, "edits": 4, "edit_tokens": 10}
    assert cost(scale, seal) == Cost(1000 + 200 + 120, 120, 2 * (100 + 120))
    dreams = {"samples": 6, "dreams": 4, "dream_tokens": 10, "epochs": 2, "copy_steps": 3}
    dreams |= {"kept_by_importance": 2, "kept_at_random": 1, "dream_epochs": 5}
    trained = 2 * (100 + 200) + 2 * 3 * 8 * 10
    assert cost(scale, dreams) == Cost(1000 + 200 + 200, 200, trained)


def test_hours_are_operations_over_speed():
    device = Device("x", flops=1e12, reading=0.5, generating=0.1)
    assert Cost(read=1e6, trained=1e6).hours(1e9, device) == pytest.approx(8e15 / 0.5e12 / 3600)
    assert Cost(generated=1e6).hours(1e9, device) == pytest.approx(2e15 / 0.1e12 / 3600)


def test_a_plan_never_downloads(tmp_path, monkeypatch):
    monkeypatch.delenv("SLEEPGYM_OFFLINE", raising=False)
    monkeypatch.setenv("SLEEPGYM_CACHE", str(tmp_path))

    def refuse(*args, **options):
        raise AssertionError("a download")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    assert scale_of(RunSpec("sleepgym/SQuAD-v0", "frozen", data=tmp_path)) is None
    assert "SLEEPGYM_OFFLINE" not in os.environ


@pytest.mark.parametrize("name", PAPER)
def test_paper_scale_suites_tell_what_they_would_take(name, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("SLEEPGYM_CACHE", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.chdir(tmp_path)
    assert run_command(["suite", name, "--dry-run", "--data", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    suite = load_suite(name)
    assert "not run here" in suite.summary
    assert f"Model: {suite.model}" in text
    gigabytes = 2 * suite.parameters / 1e9  # in bf16
    assert suite.downloads[0][0].startswith(suite.model)
    assert suite.downloads[0][1] == pytest.approx(gigabytes, rel=0.02)
    assert all(what in text for what, _ in suite.downloads)
    assert "hours on one H200 in all" in text
    assert "?" not in text.partition("Estimated")[0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", PAPER)
def test_the_sizes_they_name_are_those_of_the_data(name, real_data):
    suite = load_suite(name)
    for env in suite.envs:
        if env.scale is None:
            continue
        specs = [s for s, _ in suite.runs(real_data, real_data) if s.label == suite.agents[0].label]
        sizes = [scale_of(spec) for spec in specs]
        if None in sizes:
            pytest.skip(f"no original data for {name}")
        for field in Scale.__dataclass_fields__:
            mean = sum(getattr(size, field) for size in sizes) / len(sizes)
            assert getattr(env.scale, field) == pytest.approx(mean, rel=0.03), field


def test_a_suite_without_sizes_says_so(capsys, tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(
        'summary = "x"\nseeds = "1-60"\n[[envs]]\nid = "toy:Toy"\n'
        '[[envs]]\nid = "sleepgym/SQuAD-v0"\n[[agents]]\nid = "toy:Notes"\n'
    )
    arguments = ["suite", str(file), "--dry-run", "--data", str(tmp_path)]
    assert run_command(arguments) == 0
    text = capsys.readouterr().out
    assert "and 80 more" in text
    rows = [line.split() for line in text.splitlines() if line.strip().endswith("?")]
    assert ["toy:Toy", "toy:Notes", "0", "0", "0", "?"] in rows
    assert ["sleepgym/SQuAD-v0", "toy:Notes", "?", "?", "?", "?"] in rows
    file.write_text('parameters = 1e6\nmodel = "embedded"\n' + file.read_text())
    assert run_command([*arguments, "--agents", "toy:Notes"]) == 0
    assert "hours on two CPU cores" in capsys.readouterr().out
