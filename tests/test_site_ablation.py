"""Seeding or dreaming: the answer follows from paired differences."""

from __future__ import annotations

import re

import pytest

from sleepgym_boards.board import load_board
from sleepgym_boards.entries import load_entries
from sleepgym_boards.site.ablation import ablate
from sleepgym_boards.site.methods import order_methods
from synthetic_verdicts import make_verdict, write_submission


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
    result = ablate(board, order_methods(board, load_entries(tmp_path)))
    assert re.match(answer, result.answer), result.answer
    (variant,) = result.groups["parts and controls"]
    assert variant.changed == "imitation=false"
    if result.adds:
        assert result.adds["seeding"].mean == pytest.approx(
            skills["sleep"] - skills["dreaming"], abs=0.03
        )
        assert variant.difference.mean == pytest.approx(0.5 - skills["sleep"], abs=0.03)
        assert variant.significant == (skills["sleep"] != 0.5)
