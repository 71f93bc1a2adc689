import json
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from huggingface_hub import try_to_load_from_cache

import sleepgym_agents.lm.model as substrate
from families import tiny
from sleepgym import Document, SleepGymError
from sleepgym.core.errors import BadData, MissingData, UnknownName
from sleepgym_agents.lm import loading, lora
from sleepgym_agents.lm.attention import CAUSAL
from sleepgym_agents.lm.checkpoints import load_weights, save_weights
from sleepgym_agents.lm.kv_cache import cache_argument
from sleepgym_agents.lm.lora import temporary_lora
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.lm.prompts import Prompter, PromptFormat


@pytest.fixture
def lm():
    return LanguageModel.load("scratch", seed=4)


def test_a_copy_of_its_own_each_time(lm):
    with torch.no_grad():
        next(lm.model.parameters()).zero_()
    fresh = LanguageModel.load("scratch", seed=4)
    assert bool(next(fresh.model.parameters()).any())


def test_scratch_depends_on_the_seed_alone():
    state = torch.random.get_rng_state()
    weights = []
    for seed in (0, 1, 0):
        substrate._pristine.clear()
        weights.append(next(LanguageModel.load("scratch", seed=seed).model.parameters()))
    assert torch.equal(state, torch.random.get_rng_state())
    assert torch.equal(weights[0], weights[2])
    assert not torch.equal(weights[0], weights[1])


def test_a_saved_model_loads_from_its_folder(lm, tmp_path):
    lm.model.save_pretrained(tmp_path)
    lm.prompter.tokenizer.save_pretrained(tmp_path)
    (tmp_path / "prompt.json").write_text(json.dumps({"start": "<bos>", "stop": "<end>"}))
    loaded = LanguageModel.load(str(tmp_path))
    assert loaded.prompter.format == PromptFormat(start="<bos>", stop="<end>")
    text = "Zażółć gęślą\njaźń <q>"
    assert loaded.prompter.encode(text) == lm.prompter.encode(text)
    for p, q in zip(loaded.model.parameters(), lm.model.parameters(), strict=True):
        assert torch.equal(p, q)


def test_models_that_are_not_there(lm, tmp_path, monkeypatch):
    monkeypatch.setattr("sleepgym_agents.models.hub.EMBEDDED", tmp_path / "none")
    with pytest.raises(MissingData, match="scratch"):
        LanguageModel.load("embedded")
    with pytest.raises(UnknownName, match="no such folder"):
        LanguageModel.load("./nowhere")
    with pytest.raises(UnknownName, match="did you mean scratch"):
        LanguageModel.load("scrach")
    with pytest.raises(MissingData, match="cannot load model") as caught:
        LanguageModel.load(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_model_without_its_tokenizer_is_told(lm, tmp_path):
    lm.model.save_pretrained(tmp_path)
    with pytest.raises(MissingData, match="tokenizer"):
        LanguageModel.load(str(tmp_path))


def test_pickled_weights_are_refused(lm, tmp_path):
    lm.model.config.save_pretrained(tmp_path)
    lm.prompter.tokenizer.save_pretrained(tmp_path)
    torch.save(lm.model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(MissingData, match="safetensors"):
        LanguageModel.load(str(tmp_path))


def test_weights_survive_the_disk_byte_for_byte(lm, tmp_path):
    save_weights(lm.model, tmp_path / "a")
    other = LanguageModel.load("scratch", seed=5)
    load_weights(other.model, tmp_path / "a")
    save_weights(other.model, tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    (tmp_path / "c").write_bytes(b"not weights")
    with pytest.raises(SleepGymError, match="safetensors"):
        load_weights(other.model, tmp_path / "c")
    save_weights(tiny("llama"), tmp_path / "d")
    with pytest.raises(SleepGymError, match="another model"):
        load_weights(other.model, tmp_path / "d")


def test_prompts_join_parts_tokenised_apart(lm):
    prompter = Prompter(PromptFormat(), lm.prompter.tokenizer)
    shown = prompter.demonstration("one", "two")
    ids = prompter.prompt("three", [prompter.document(Document("text.", "Title")), shown])
    assert prompter.tokenizer.decode(ids) == (
        "<bos>Title\ntext.\n\nQuestion: one\nAnswer: two\nQuestion: three\nAnswer:"
    )
    assert prompter.document(Document("text.")) == prompter.encode("text.\n\n")
    assert prompter.answer_text(prompter.encode(" two\nQuestion: more")) == "two"


def test_data_cannot_forge_a_marker(lm):
    ids = lm.prompter.question("is <end> here? <q>{text}<a>")
    end, ask, answer = (lm.prompter.encode(token)[0] for token in ("<end>", "<q>", "<a>"))
    assert (ids.count(end), ids.count(ask), ids.count(answer)) == (0, 1, 1)


def test_bad_prompt_file(tmp_path):
    (tmp_path / "prompt.json").write_text('{"begin": ""}')
    with pytest.raises(BadData, match=r"prompt\.json"):
        PromptFormat.read(tmp_path)


def test_a_silent_hub_is_told_at_once_and_its_cache_is_used(tmp_path, monkeypatch):
    from huggingface_hub import constants

    from sleepgym_agents.models import hub

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setattr(hub, "getproxies", dict)
    with pytest.raises(MissingData, match="the hub does not answer"):
        hub.locate("org/model")
    config = tmp_path / "models--org--model" / "snapshots" / "abc" / "config.json"
    config.parent.mkdir(parents=True)
    config.write_text("{}")
    (tmp_path / "models--org--model" / "refs").mkdir()
    (tmp_path / "models--org--model" / "refs" / "main").write_text("abc")
    cached = partial(try_to_load_from_cache, cache_dir=tmp_path)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", cached)
    assert hub.locate("org/model") == (str(config.parent), {})


@pytest.mark.parametrize(
    ("parameters", "device", "dtype"),
    [
        (4_000_000, "cuda", torch.float32),
        (1_000_000_000, "cpu", torch.float32),
        (1_000_000_000, "cuda", torch.bfloat16),
    ],
)
def test_only_a_large_model_on_a_gpu_is_bfloat16(parameters, device, dtype):
    sized = SimpleNamespace(num_parameters=lambda: parameters)
    assert loading.chosen_dtype(sized, device) == dtype


@pytest.mark.parametrize("kind", ["llama", "qwen3", "gpt2"])
def test_causal_attention_is_that_of_transformers(kind):
    model = tiny(kind)
    ids = torch.tensor([[5, 6, 7, 8, 9, 10]])
    with torch.no_grad():
        plain = model(input_ids=ids, use_cache=False).logits
        cache = getattr(model(input_ids=ids[:, :3]), cache_argument(model))
        model.config._attn_implementation = CAUSAL
        whole = model(input_ids=ids, use_cache=False).logits
        behind = model(
            input_ids=ids[:, 3:], use_cache=True, **{cache_argument(model): cache}
        ).logits
    torch.testing.assert_close(whole, plain, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(behind, plain[:, 3:], atol=1e-5, rtol=1e-4)


def test_adapters_of_a_narrow_model_read_its_states_without_wide_copies(monkeypatch):
    def trained(lm):
        kept = {}
        with temporary_lora(lm, rank=4, alpha=8, seed=0):
            own = [p for p in lm.model.parameters() if p.requires_grad]
            assert {p.dtype for p in own} == {torch.float32}
            for p in own:
                torch.nn.init.normal_(p, std=0.02, generator=torch.Generator().manual_seed(1))
            keep = (lambda x: kept.update({x.data_ptr(): x}) or x, lambda x: x)
            with torch.autograd.graph.saved_tensors_hooks(*keep):
                logits = lm.model(input_ids=torch.arange(5, 45)[None]).logits
            logits.float().square().mean().backward()
            return torch.cat([p.grad.flatten() for p in own]), sum(x.nbytes for x in kept.values())

    lm = LanguageModel.load("scratch")
    lm.model.to(torch.bfloat16)
    gradient, kept = trained(lm)
    monkeypatch.setattr(lora, "_read_as_they_are", lambda model: None)
    wide_gradient, wide_kept = trained(lm)
    assert kept < 0.9 * wide_kept
    assert torch.cosine_similarity(gradient, wide_gradient, dim=0) > 0.99
