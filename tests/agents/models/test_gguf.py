"""GGUF files are read as the model that they hold, or refused in one line."""

import json

import pytest
import torch

from sleepgym.cli import run_command
from sleepgym.runs.models.base_model import model_digest
from sleepgym_agents.lm.model import LanguageModel

pytest.importorskip("gguf")
from gguf_files import write_gguf

RUN = ["run", "--env", "toy:Toy", "--env-set", "days=1", "--agent", "frozen"]
RUN += ["--agent-set", "max_answer_tokens=4"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SLEEPGYM_CACHE", str(tmp_path / "cache"))


def test_a_run_on_a_gguf_file(tmp_path):
    file = tmp_path / "tiny.gguf"
    wanted = write_gguf(file)
    out = tmp_path / "run"
    assert run_command([*RUN, "--model", str(file), "--out", str(out)]) == 0
    assert json.loads((out / "run.json").read_text())["model_digest"] == model_digest(str(file))
    lm = LanguageModel.load(str(file))
    ids = torch.tensor([[5, 6, 7, 100, 200]])
    torch.testing.assert_close(lm.model(ids).logits, wanted(ids).logits)
    assert lm.prompter.tokenizer.decode(lm.prompter.encode("as it is\n")) == "as it is\n"


def test_an_unknown_architecture_is_one_line_and_leaves_nothing(tmp_path, capsys):
    write_gguf(tmp_path / "odd.gguf", "nonesuch")
    out = tmp_path / "run"
    assert run_command([*RUN, "--model", str(tmp_path / "odd.gguf"), "--out", str(out)]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "architecture nonesuch is not supported" in said
    assert "give the folder of its safetensors" in said
    assert not out.exists()
    assert not list((tmp_path / "cache").rglob("*.safetensors"))
