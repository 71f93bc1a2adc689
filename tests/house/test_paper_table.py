"""The table of the paper's figures beside ours."""

import importlib.util
import json
import sys

from checkout import ROOT


def load():
    path = ROOT / "docs" / "tools" / "paper_table.py"
    spec = importlib.util.spec_from_file_location("paper_table", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["paper_table"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    del sys.modules["paper_table"]
    return module


def test_signs_are_compared_where_an_interval_decides():
    module = load()
    seeds = range(100, 110)
    scores = {
        ("squad-200", "sleep"): {s: 0.4 + 0.01 * (s % 3) for s in seeds},
        ("squad-200", "seal"): {s: 0.3 + 0.01 * (s % 3) for s in seeds},
        ("squad-200", "frozen"): dict.fromkeys(seeds, 0.5),
        ("squad-200", "sleep-no-dreaming"): {s: 0.41 + 0.05 * (-1) ** s for s in seeds},
        ("squad-200", "naive"): {100: 0.1},
    }
    rows = module.TABLES["Knowledge incorporation (SQuAD, without the passage)"]
    lines = {
        line.split(" | ")[0].strip("| "): line for line in module.table(rows, "squad-200", scores)
    }
    assert "| SEAL | 43.2 | 31.0 | 10 | -1.1 | -10.0 [" in lines["SEAL"]
    assert lines["SEAL"].endswith("| yes |")
    assert lines["Base model"].endswith("| no |")
    assert lines["without dreaming"].endswith("| open |")
    assert "| 10.0 | 1 | -12.3 |" in lines["Fine-tuned, no dreaming"]  # one stream decides nothing
    assert "not run" in lines["Sleep, 4 levels"]
    assert module.table(rows, "squad-1", scores) == []


def test_rankings_without_figures_have_a_sign_too():
    module = load()
    scores = {
        ("clinc150", "sleep"): dict.fromkeys(range(100, 105), 0.4),
        ("clinc150", "inca"): {s: 0.7 + s / 1e4 for s in range(100, 105)},
    }
    rows = module.TABLES["Class-incremental classification (CLINC150)"]
    (line,) = (line for line in module.table(rows, "clinc150", scores) if "InCA" in line)
    assert "| below | +31.0 [" in line
    assert line.endswith("| no |")


def test_few_streams_are_resampled_by_passage_and_boards_are_read(tmp_path):
    module = load()
    passages = {f"q{i}": i // 3 for i in range(60)}
    answers = {
        ("squad-200", label): {seed: dict.fromkeys(passages, value) for seed in (100, 101)}
        for label, value in (("sleep", 0.5), ("naive", 0.25))
    }
    answers["squad-200", "naive"][101]["q0"] = 1.0
    scores = {
        place: {seed: sum(own.values()) / len(own) for seed, own in seeds.items()}
        for place, seeds in answers.items()
    }
    rows = module.TABLES["Knowledge incorporation (SQuAD, without the passage)"]
    lines = module.table(rows, "squad-200", scores, answers, passages)
    (naive,) = (line for line in lines if "Fine-tuned" in line)
    assert "| -24.4 [-25.0, -23.1] | yes |" in naive  # 20 passages, one of which is better

    board = tmp_path / module.BOARDS["clinc150"]
    board.mkdir()
    row = {"seed": 100, "metrics": {module.METRIC: 0.7}}
    (board / "inca.verdict.json").write_text(module.json.dumps({"results": {"seeds": [row]}}))
    worse = row | {"metrics": {module.METRIC: 0.6}}  # searched on the track itself
    (board / "inca-clinc150.verdict.json").write_text(
        module.json.dumps({"results": {"seeds": [worse]}})
    )
    (board / "ewc.verdict.json").write_text('{"results": null}')
    assert module.read_submissions(tmp_path) == {("clinc150", "inca"): {100: 0.7}}


def test_the_first_nights_of_a_track_are_compared_without_base_questions(tmp_path):
    module = load()
    for label, right in (("sleep", 1.0), ("sleep-no-dreaming", 0.0)):
        for seed in range(100, 105):
            run = tmp_path / "squad-8" / label / f"seed-{seed}"
            run.mkdir(parents=True)
            said = {"days": 4, "spec": {"seed": seed}}
            (run / "run.json").write_text(module.json.dumps(said))
            about = {"step": 8, "phase": "morning", "night": 2, "day": 2, "kind": "direct"}
            lines = [
                about | {"item_day": day, "id": f"d{day}", "answer": "", "score": score}
                for day, score in ((0, 0.0), (1, right), (2, 0.9), (3, 0.0))
            ]
            text = "".join(module.json.dumps(line) + "\n" for line in lines)
            (run / "answers.jsonl").write_text(text)
    page = module.page(tmp_path, {"squad-8": 2}, None, tmp_path)
    assert "| Sleep | 44.3 | 95.0 | 5 |  |  |  |" in page
    assert "| without dreaming | 36.2 | 45.0 | 5 | -8.1 | -50.0 [-50.0, -50.0] | yes |" in page


def test_a_row_that_lacks_a_stream_is_not_read(tmp_path):
    module = load()
    board = tmp_path / "squad-8"
    board.mkdir()
    for slug, second in (("whole", 0.5), ("lacking", None)):
        seeds = [
            {"seed": seed, "metrics": {module.METRIC: value}}
            for seed, value in ((100, 0.3), (101, second))
        ]
        said = json.dumps({"results": {"seeds": seeds}})
        (board / f"{slug}.verdict.json").write_text(said)
    assert module.read_submissions(tmp_path) == {("squad-8", "whole"): {100: 0.3, 101: 0.5}}
