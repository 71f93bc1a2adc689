"""Seeding or dreaming: the answer follows from paired differences."""

from __future__ import annotations

import json
import re

import pytest

from checkout import ROOT
from sleepgym_boards.board import load_board
from sleepgym_boards.catalogue.entries import load_entries
from sleepgym_boards.site.ablation import ablate
from sleepgym_boards.site.building import build_site
from sleepgym_boards.site.methods import order_methods
from sleepgym_boards.submission.files import sha256
from synthetic_verdicts import copy_submission, make_verdict, write_submission

ROLES = ("sleep", "seeding", "dreaming")


def pinned(board, folder, **files):
    """The board with the files of these slugs in its roles."""
    place = folder / board.name
    return board.model_copy(
        update={
            "roles": {
                role: sha256((place / f"{slug}.json.gz").read_bytes())
                for role, slug in files.items()
            }
        }
    )


def ablation(**skills):
    board = load_board("ablation")
    entries = []
    for place, (slug, skill) in enumerate(skills.items()):
        settings = {"imitation": slug != "without"}
        agent = "sleep" if slug == "without" else slug
        verdict = make_verdict(slug, board, skill, 1.0, seed=place, agent=agent, settings=settings)
        entries.append((slug, verdict))
    return board, entries


@pytest.mark.parametrize(
    ("skills", "answer"),
    [
        ({"sleep": 0.9, "seeding": 0.7, "dreaming": 0.3}, "Both"),
        ({"sleep": 0.9, "seeding": 0.9, "dreaming": 0.3}, "Seeding: dreaming .* adds nothing"),
        ({"sleep": 0.6, "seeding": 0.8, "dreaming": 0.3}, "Seeding: dreaming .* takes something"),
        ({"sleep": 0.9, "seeding": 0.3, "dreaming": 0.9}, "Dreaming: seeding"),
        ({"sleep": 0.5, "seeding": 0.5, "dreaming": 0.5}, "Undecided"),
        ({"sleep": 0.9, "seeding": 0.7}, "Not answered yet"),
    ],
)
def test_the_ablation_answers_from_paired_differences(tmp_path, skills, answer):
    board, made = ablation(**skills, without=0.5)
    for slug, verdict in made:
        write_submission(tmp_path, slug, verdict, board.name)
    board = pinned(board, tmp_path, **{slug: slug for slug in skills if slug in ROLES})
    result = ablate(board, order_methods(board, load_entries(tmp_path)))
    assert re.match(answer, result.answer), result.answer
    (variant,) = result.groups["parts and controls"]
    assert variant.changed == "imitation=false"
    if not result.missing:
        assert result.adds["seeding"].mean == pytest.approx(
            skills["sleep"] - skills["dreaming"], abs=0.03
        )
        assert variant.difference.mean == pytest.approx(0.5 - skills["sleep"], abs=0.03)
        assert variant.significant == (skills["sleep"] != 0.5)


def ablated(tmp_path, *variants, **roles):
    """The ablation of (slug, name, skill) rows, with slugs in the roles."""
    board = load_board("ablation")
    for place, (slug, name, skill) in enumerate(variants):
        verdict = make_verdict(name, board, skill, 1.0, seed=place, agent="sleep")
        write_submission(tmp_path, slug, verdict, board.name)
    board = pinned(board, tmp_path, **roles)
    return ablate(board, order_methods(board, load_entries(tmp_path)))


ROWS = (("a", "x", 0.9), ("b", "x", 0.7), ("c", "x", 0.3), ("z", "z", 0.5))


def test_roles_are_played_by_the_files_that_the_board_names(tmp_path):
    result = ablated(tmp_path, *ROWS, sleep="a", seeding="b", dreaming="c")
    assert result.answer == "Both: each stage adds to the other."
    assert [v.method.slug for v in result.groups["one stage alone"]] == ["b", "c"]
    assert [v.method.slug for v in result.groups["parts and controls"]] == ["z"]


def test_no_name_takes_a_role(tmp_path):
    rows = [("sleep", "Sleep", 0.99), ("seeding", "Seeding", 0.1), *ROWS]
    result = ablated(tmp_path, *rows, sleep="a")
    (whole,) = result.groups["both stages"]
    assert whole.method.slug == "a"
    assert result.missing == ["seeding", "dreaming"]
    assert result.groups["parts and controls"][0].method.slug == "sleep"


def test_a_file_that_was_changed_loses_its_role(tmp_path):
    board = load_board("ablation")
    write_submission(tmp_path, "sleep", make_verdict("Sleep", board, 0.9), board.name)
    board = pinned(board, tmp_path, sleep="sleep")
    write_submission(tmp_path, "sleep", make_verdict("Sleep", board, 0.99), board.name)
    (tmp_path / board.name / "sleep.json.gz").write_bytes(b"other")
    assert ablate(board, order_methods(board, load_entries(tmp_path))).missing == list(ROLES)


def test_the_board_names_files_that_are_there():
    board, folder = load_board("ablation"), ROOT / "leaderboards" / "submissions" / "ablation"
    files = {sha256(file.read_bytes()): file.name for file in folder.glob("*.json.gz")}
    assert {role: files[digest] for role, digest in board.roles.items()} == {
        "sleep": "sleep.json.gz",
        "seeding": "without-dreaming.json.gz",
        "dreaming": "without-seeding.json.gz",
    }


def test_one_stage_is_compared_before_the_other_is_there(tmp_path):
    result = ablated(tmp_path, *ROWS[:2], sleep="a", seeding="b")
    assert result.answer == "Not answered yet."
    assert result.missing == ["dreaming"]
    assert list(result.adds) == ["dreaming"]
    assert result.adds["dreaming"].mean == pytest.approx(0.2, abs=0.03)


def test_kinds_of_questions_show_what_each_stage_adds(tmp_path):
    board, folder = load_board("ablation-v1"), tmp_path / "submissions"
    slugs = {"sleep": "sleep", "seeding": "without-dreaming", "dreaming": "without-seeding"}
    own = {}
    for role, slug in slugs.items():
        file = copy_submission(folder, board.name, slug)
        verdict = json.loads(file.with_name(f"{slug}.verdict.json").read_text())
        rows = verdict["results"]["seeds"]
        own[role] = {row["seed"]: row["metrics"]["accuracy_two_hop_days"] for row in rows}
    result = ablate(board, order_methods(board, load_entries(folder)))
    (kind,) = (kind for kind in result.kinds if kind.metric == "accuracy_two_hop_days")
    for stage, other in (("seeding", "dreaming"), ("dreaming", "seeding")):
        gains = [own["sleep"][seed] - own[other][seed] for seed in own["sleep"]]
        assert kind.adds[stage].mean == pytest.approx(sum(gains) / len(gains))
        assert kind.significant(stage) == (kind.adds[stage].interval.low > 0)
    text = page(folder, tmp_path)
    assert '<th scope="row">two hop days</th>' in text
    assert "seeding adds</th>" in text


def page(folder, tmp_path):
    build_site(tmp_path / "site", load_entries(folder))
    return (tmp_path / "site" / "ablation.html").read_text()


def test_an_empty_page_says_so(tmp_path):
    (tmp_path / "submissions").mkdir()
    text = page(tmp_path / "submissions", tmp_path)
    assert "needs verified submissions of sleep, seeding, dreaming. Nobody has submitted" in text
    assert "<table" not in text
    assert "Every row" not in text


def test_variants_without_the_whole_stand_without_a_difference(tmp_path):
    board, folder = load_board("ablation"), tmp_path / "submissions"
    write_submission(folder, "seeding", make_verdict("Seeding", board, 0.7), board.name)
    write_submission(folder, "bad", make_verdict("Bad", board, broken="grades"), board.name)
    write_submission(folder, "new", None, board.name)
    text = page(folder, tmp_path)
    assert (
        "needs verified submissions of sleep, seeding, dreaming. Until there is one of sleep"
        in text
    )
    assert '<td data-label="difference to sleep">–</td>' in text
    assert "Bad</a> (refused by rule grades)" in text
    assert "new</a> (not verified yet)" in text
