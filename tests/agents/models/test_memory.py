"""What will not fit is refused before it is read."""

import pytest

from families import tiny, write
from sleepgym.cli import run_command
from sleepgym_agents.models import memory

RUN = ["run", "--env", "toy:Toy", "--env-set", "days=1", "--agent-set", "max_answer_tokens=4"]


@pytest.fixture
def model(tmp_path):
    return write(tiny("llama"), tmp_path / "model")


def refused(arguments, capsys, out):
    assert run_command([*RUN, *arguments, "--out", str(out)]) == 2
    assert not out.exists()
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_parameters_are_counted_by_headers(model, tmp_path):
    assert memory.parameters_of(tmp_path / "model") == tiny("llama").num_parameters()
    (tmp_path / "model" / "model.safetensors").write_bytes(b"\xff" * 20)
    assert memory.parameters_of(tmp_path / "model") == 0


def test_weights_that_do_not_fit_are_not_read(model, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(memory, "free_bytes", lambda device: 100_000)
    said = refused(["--agent", "frozen", "--model", model], capsys, tmp_path / "run")
    assert (
        "in float32 takes 0.0 GB of memory, and cpu has 0.0 GB free: set --dtype bfloat16" in said
    )


def test_what_is_free_here():
    assert (memory.free_bytes("cpu") or 1) > 0
    assert memory.free_bytes("mps") is None
