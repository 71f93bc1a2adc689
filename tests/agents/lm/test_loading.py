"""Files that are damaged, incomplete or of two models are refused; devices and formats chosen."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from families import tiny, write
from sleepgym.cli import run_command
from sleepgym.core.errors import BadSetting, MissingData
from sleepgym.runs.models.base_model import model_digest
from sleepgym_agents.lm import loading
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.lm.scratch import byte_tokenizer

RUN = ["run", "--env", "sleepgym/Almanac-v0", "--env-set", "days=1", "--agent", "frozen"]


@pytest.fixture
def folder(tmp_path):
    write(tiny("llama"), tmp_path / "model")
    return tmp_path / "model"


def refused(folder, match):
    with pytest.raises(MissingData, match=match) as caught:
        LanguageModel.load(str(folder))
    assert "\n" not in str(caught.value)


def test_a_missing_tensor_is_named(folder):
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    refused(folder, r"lack model\.layers\.1\.mlp\.up_proj\.weight")


def test_a_tied_head_may_be_absent(tmp_path):
    write(tiny("llama", tie_word_embeddings=True), tmp_path)
    assert "lm_head.weight" not in load_file(tmp_path / "model.safetensors")
    assert LanguageModel.load(str(tmp_path)).parameters > 0


@pytest.mark.parametrize(
    "content",
    [b"", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", None],
    ids=["empty", "pointer", "truncated"],
)
def test_damaged_weights_end_in_one_line_and_leave_nothing(folder, content, tmp_path, capsys):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100] if content is None else content)
    refused(folder, "cannot load model")
    out = tmp_path / "run"
    assert run_command([*RUN, "--model", str(folder), "--out", str(out)]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert "cannot load model" in said[-1]
    assert not out.exists()


def test_a_tokenizer_of_a_larger_vocabulary_is_refused(tmp_path):
    write(tiny("llama", vocab_size=200), tmp_path)
    refused(tmp_path, r"goes up to token 260, its embeddings only to 199")


def test_special_tokens_beyond_the_embeddings_are_harmless(tmp_path):
    tiny("llama").save_pretrained(tmp_path)
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({"extra_special_tokens": ["<image>"]})  # as Gemma 3 has
    tokenizer.save_pretrained(tmp_path)
    lm = LanguageModel.load(str(tmp_path))
    assert max(lm.prompter.question("an <image> here")) < 261


def test_every_listed_end_token_ends_an_answer(folder):
    settings = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps({**settings, "eos_token_id": [2, 7]}))
    prompter = LanguageModel.load(str(folder)).prompter
    assert prompter.stopped([9, 7])
    paris = prompter.encode("Paris")
    assert prompter.answer_text([*paris, 7, *prompter.encode("ux")]) == "Paris"
    assert prompter.answer_text([*paris, 2, *prompter.encode("ux")]) == "Paris"


@pytest.mark.parametrize("ends", ["2", [[2]], [2.5], {"a": 2}])
def test_end_tokens_that_are_none_are_refused(folder, ends):
    settings = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps({**settings, "eos_token_id": ends}))
    refused(folder, r"eos_token_id=.*must be token ids")


@pytest.mark.parametrize("name", ["generation_config.json", "special_tokens_map.json"])
def test_settings_that_transformers_would_pass_over_are_refused(folder, name):
    (folder / name).write_text("version https://git-lfs.github.com/spec/v1")
    refused(folder, rf"{name} is no JSON")


def test_weights_that_the_model_does_not_use_are_told(folder, caplog):
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.2.mlp.up_proj.weight"] = torch.zeros(48, 32)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    LanguageModel.load(str(folder))
    assert "does not use model.layers.2.mlp.up_proj.weight" in caplog.text


def test_files_that_decide_what_is_read_are_in_the_digest(folder):
    seen = {model_digest(str(folder))}
    for name in ("merges.txt", "tokenizer.model", "chat_template.jinja", "prompt.json"):
        (folder / name).write_text("{}")
        seen.add(model_digest(str(folder)))
    assert len(seen) == 5


def test_device_and_format_are_chosen_by_options(folder, monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setenv("SLEEPGYM_DEVICE", "cpu")
    monkeypatch.setenv("SLEEPGYM_DTYPE", "bfloat16")
    monkeypatch.setenv("SLEEPGYM_ATTN", "eager")
    assert LanguageModel.load(str(folder)).model.dtype == torch.bfloat16
    assert "LlamaForCausalLM" in caplog.text
    assert "bfloat16 on cpu, attention eager" in caplog.text


def test_an_attention_that_is_none(folder, monkeypatch):
    monkeypatch.setenv("SLEEPGYM_ATTN", "flash_nope")
    with pytest.raises(BadSetting, match=r"attn=flash_nope: .*not supported") as caught:
        LanguageModel.load(str(folder))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("option", "value"), [("DEVICE", "gpu"), ("DTYPE", "int4")])
def test_a_device_or_format_that_is_none(option, value, monkeypatch):
    monkeypatch.setenv(f"SLEEPGYM_{option}", value)
    with pytest.raises(BadSetting, match=rf"{option.lower()}={value}: must be one of auto, "):
        loading.load_model("scratch", 0)


def test_layers_may_be_spread_over_devices(folder, monkeypatch):
    monkeypatch.setenv("SLEEPGYM_DEVICE", "sequential")
    monkeypatch.setenv("SLEEPGYM_DTYPE", "bfloat16")
    lm = LanguageModel.load(str(folder))
    assert lm.model.dtype == torch.bfloat16
    assert lm.read([[1, 2, 3]])[2].shape[0] == 1


def test_norms_are_fused_where_that_is_the_same_function():
    seen = {}
    for kind in ("llama", "gemma3_text"):
        model = tiny(kind)
        ids = torch.tensor([[5, 6, 7]])
        with torch.no_grad():
            before = model(ids).logits
            loading.fuse_norms(model)
            assert model(ids).logits.equal(before)
        seen[kind] = {type(m).forward.__module__ for m in model.modules() if "Norm" in str(type(m))}
    assert seen["llama"] == {"sleepgym_agents.lm.loading"}
    assert "sleepgym_agents.lm.loading" not in seen["gemma3_text"]
