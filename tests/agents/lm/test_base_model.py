"""The digest of the base model is of the weights that a run began with."""

import hashlib
import json
import os
import subprocess
import sys

import pytest

import board_files
from sleepgym.cli import run_command
from sleepgym.core.errors import BadRun
from sleepgym.runs.models.base_model import model_digest
from sleepgym.runs.runner import run
from sleepgym.runs.spec import RunSpec
from sleepgym_boards.packing import NotReady, pack


@pytest.fixture
def weights(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"first weights")
    return folder


def spec(model, seed=100, agent="Modelled"):
    return RunSpec("toy:Toy", f"board_agents:{agent}", seed=seed, model=str(model))


def overwrite(folder, content=b"other weights"):
    (folder / "model.safetensors").write_bytes(content)


def forget_digest(record):
    file = record / "run.json"
    meta = json.loads(file.read_text())
    del meta["model_digest"]
    file.write_text(json.dumps(meta))


def test_a_digest_is_of_names_and_bytes(weights):
    (weights / "README.md").write_bytes(b"not part of it")
    expected = hashlib.sha256(b"model.safetensors\x0013\x00first weights").hexdigest()
    assert model_digest(str(weights)) == expected
    overwrite(weights)
    os.utime(weights / "model.safetensors", ns=(1, 1))
    assert model_digest(str(weights)) != expected


@pytest.mark.parametrize("name", ["some/hub-id", "scratch", "nowhere"])
def test_files_not_at_hand_have_no_digest(name, tmp_path, monkeypatch):
    (tmp_path / "scratch").mkdir()
    monkeypatch.chdir(tmp_path)
    assert model_digest(name) is None


def test_a_digest_loads_no_model():
    code = (
        "import sys; from sleepgym.runs.models.base_model import model_digest; "
        "assert model_digest('embedded'); print('torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "False\n"


def test_a_run_records_what_it_began_with(weights, tmp_path):
    record = run(spec(weights), tmp_path / "run", nights=1)
    assert record.meta["model_digest"] == model_digest(str(weights))
    assert run(spec(weights), tmp_path / "run").finished
    assert run(spec(weights, agent="Honest"), tmp_path / "bare").meta["model_digest"] is None


def test_other_weights_do_not_resume_a_run(weights, tmp_path, capsys):
    run(spec(weights), tmp_path / "run", nights=1)
    lived = (tmp_path / "run" / "phases.jsonl").read_bytes()
    overwrite(weights)
    with pytest.raises(BadRun, match=r"files of model .* are others: SHA-256 .* there, .* here"):
        run(spec(weights), tmp_path / "run")
    assert run_command(["resume", str(tmp_path / "run")]) == 2
    assert "are others" in capsys.readouterr().err
    assert (tmp_path / "run" / "phases.jsonl").read_bytes() == lived
    overwrite(weights, b"first weights")
    assert run(spec(weights), tmp_path / "run").finished


def test_a_record_of_an_older_version_is_resumed(weights, tmp_path):
    run(spec(weights), tmp_path / "run", nights=1)
    forget_digest(tmp_path / "run")
    assert "model_digest" not in run(spec(weights), tmp_path / "run").meta


def test_a_submission_takes_the_digest_from_the_records(weights, tmp_path):
    board = board_files.write_board(tmp_path, board_files.BOARD.replace("100-104", "100"))
    began = model_digest(str(weights))
    run(spec(weights), tmp_path / "runs" / "seed-100")
    overwrite(weights)
    submission = pack([tmp_path / "runs"], board, board_files.write_card(tmp_path))
    assert submission.runs[0].method.model_digest == began != model_digest(str(weights))


def test_runs_on_other_weights_than_the_board_names_are_refused(tmp_path):
    text = 'base_model = "sleepgym-base"\n' + board_files.BOARD.replace("100-104", "100")
    board = board_files.write_board(tmp_path, text)
    card, record = board_files.write_card(tmp_path), tmp_path / "runs" / "seed-100"
    run(spec("embedded"), record)
    assert pack([record], board, card).runs[0].method.model_digest == board.base_model.digest
    meta = (record / "run.json").read_text()
    (record / "run.json").write_text(meta.replace(board.base_model.digest, "0" * 64))
    with pytest.raises(NotReady, match="base-model: seed 100: the files of sleepgym-base are oth"):
        pack([record], board, card)
    forget_digest(record)
    with pytest.raises(NotReady, match=r"base-model: .*does not say with which weights it began"):
        pack([record], board, card)


def test_an_agent_without_a_model_needs_no_digest(tmp_path):
    board = board_files.write_board(tmp_path, board_files.BOARD.replace("100-104", "100"))
    record = tmp_path / "runs" / "seed-100"
    run(spec("embedded", agent="Honest"), record)
    forget_digest(record)
    submission = pack([record], board, board_files.write_card(tmp_path))
    assert b'"model":null,"model_digest":null' in board_files.dump(submission)
