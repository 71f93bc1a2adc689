"""Runs made at a level of isolation: their salt is bound, checked, and used in a rerun."""

import json

import pytest

import board_files
from board_files import broken, edited
from sleepgym.runs.isolation.sandbox import strictest_isolation
from sleepgym_boards.packing import NotReady
from sleepgym_boards.submission.files import compress, decompress, parse
from sleepgym_boards.verification.replay_night import replay_night
from sleepgym_boards.verification.rerun import compare
from sleepgym_boards.verification.verifier import verify
from tampering import be_old


@pytest.fixture(scope="module")
def salted(tmp_path_factory):
    """A run in a process of its own, of an agent whose nights depend on its seed."""
    folder = tmp_path_factory.mktemp("salted")
    return board_files.packed("Dicer", folder, "100", isolation="process")


def test_a_run_made_at_a_level_is_verified_with_its_salt(salted):
    content, board = salted
    run = parse(content).runs[0]
    assert len(run.salt) == 32
    verdict = verify(content, board)
    assert verdict.ok
    assert verdict.header.isolation == "process"
    command = verdict.header.commands[100]
    assert f"--isolation process --salt {run.salt} " in command
    assert verdict.to_text().count('"isolation": "process"') == 1


def test_a_night_is_executed_again_with_the_seed_that_follows_from_the_salt(salted):
    content, board = salted
    run = parse(content).runs[0]
    compared = compare(run, 2, replay_night(run, 2, board), board)
    assert compared.same
    assert not compared.problems


def test_with_another_salt_the_night_is_another(salted):
    def change(plain):
        plain["runs"][0]["salt"] = "0" * 32

    content, board = salted
    assert broken(verify(edited(content, change, sign=False), board)) == ["digest"]
    forged = edited(content, change)
    assert verify(forged, board).ok
    run = parse(forged).runs[0]
    assert not compare(run, 3, replay_night(run, 3, board), board).same


def test_a_run_in_one_process_needs_no_salt(tmp_path):
    content, board = board_files.packed("Dicer", tmp_path, "100")
    assert "salt" not in json.loads(decompress(content))["runs"][0]
    verdict = verify(content, board, reruns=2, workers=2)
    assert verdict.ok
    assert verdict.rules[-1].note.count("same state") == 2
    assert verdict.header.isolation == "in-process"
    assert verdict.mark.reruns.isolation == strictest_isolation()


def test_files_of_the_first_schema_stay_valid(tmp_path):
    content, board = board_files.packed("Honest", tmp_path, "100")
    old = edited(content, be_old)
    verdict = verify(old, board)
    assert verdict.ok
    assert '"isolation"' not in verdict.to_text()
    assert verify(content, board).results == verdict.results


def give(**changes):
    def change(plain):
        run = plain["runs"][0]
        for name, value in changes.items():
            place = run if name == "salt" else run["method"]
            place.pop(name, None) if value is None else place.update({name: value})

    return change


def be_both(plain):
    plain["runs"][0]["method"]["audit"] = "process"


def pass_for_old(plain):
    plain["schema_version"] = 1


@pytest.mark.parametrize(
    "change",
    [
        give(salt=None),
        give(salt="0" * 31),
        give(salt="G" * 32),
        give(salt="0" * 129),
        give(isolation="off"),
        give(isolation="Sandbox"),
        give(isolation=None),
        give(isolation=None, audit="process"),
        give(isolation=None, audit="process", salt=None),
        be_both,
        pass_for_old,
    ],
)
def test_what_no_run_can_be_is_refused(salted, change):
    assert broken(verify(edited(salted[0], change, sign=False))) == ["schema"]


def test_a_field_that_is_there_without_a_value_is_no_form(tmp_path):
    content, board = board_files.packed("Honest", tmp_path, "100")
    text = decompress(content)
    assert b'"salt"' not in text
    null = text.replace(b',"platform":', b',"salt":null,"platform":')
    assert broken(verify(compress(null), board)) == ["canonical"]


def test_all_runs_of_a_submission_are_of_one_level(tmp_path):
    board = board_files.write_board(tmp_path)
    runs = tmp_path / "runs"
    board_files.make_runs("Honest", runs, range(100, 104))
    board_files.make_runs("Honest", runs, [104], isolation="process")
    with pytest.raises(NotReady, match="seeds 100 and 104 differ in isolation"):
        board_files.pack([runs], board, board_files.write_card(tmp_path))
