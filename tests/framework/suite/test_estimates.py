import os

import pytest

from sleepgym.cli import run_command
from sleepgym.core.cost import Cost, Scale
from sleepgym.core.env import make_env
from sleepgym.core.registry import agent_class
from sleepgym.runs.spec import RunSpec
from sleepgym.suite.estimates import Device, hours, measure, scale_of
from sleepgym.suite.suite import load_suite, suite_names

PAPER = [name for name in suite_names() if name.startswith("paper-")]


def test_the_size_of_a_stream_is_counted_from_its_phases():
    stream = make_env("toy:Toy", days=1, facts=1).family.stream(3)
    town, home = len(stream.key["d1q0"][0]), len(stream.key["base0"][0])
    base, asked, drill = len("Where is home?"), len("Where is Person10?"), len("red?")
    document = len("Person10") + len("Person10 is in .") + town
    size = measure(stream)
    assert (size.days, size.documents, size.practised) == (1, 1, 1)
    assert (size.questions, size.free_questions) == (6, 5)
    assert size.day_tokens == (document / 4 + 4) + (drill / 4 + 4) + (len("warm") / 4 + 1)
    exams = 2 * (base + asked) + drill + len("warmcold") + asked
    assert size.asked_tokens == exams / 4 + 6 * 4
    assert size.answer_tokens == (2 * home + 3 * town) / 4 + 5
    # before practice the document was read, before the evening exam the practice, too
    assert size.context_tokens == (document / 4 + 4) + size.day_tokens


def test_the_context_is_gone_after_the_night():
    one, two = (measure(make_env("toy:Toy", days=n).family.stream(3)) for n in (1, 2))
    assert two.documents == 2 * one.documents
    assert two.context_tokens == pytest.approx(2 * one.context_tokens, rel=0.1)


def test_an_agent_that_says_nothing_costs_nothing():
    scale = Scale(days=2, documents=3, day_tokens=100, asked_tokens=1000, free_questions=7)
    assert agent_class("nearest").estimate(None, scale) == Cost()


def test_costs_add_up_and_are_counted_as_the_meter_counts():
    cost = Cost(1, 2, 3) + Cost(read=10)
    assert cost == Cost(11, 2, 3)
    assert cost.flops(5) == 5 * (2 * 13 + 6 * 3)


def test_answers_are_as_long_as_the_right_ones_and_no_longer_than_allowed():
    scale = Scale(1, 0, 0, 0, free_questions=10, answer_tokens=40)
    assert scale.answered_tokens(64) == 60
    assert scale.answered_tokens(2) == 20


def test_hours_are_operations_over_speed():
    device = Device("x", flops=1e12, reading=0.5, generating=0.1)
    cost = Cost(read=1e6, trained=1e6)
    assert hours(cost, 1e9, device) == pytest.approx(8e15 / 0.5e12 / 3600)
    assert hours(Cost(generated=1e6), 1e9, device) == pytest.approx(2e15 / 0.1e12 / 3600)


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
