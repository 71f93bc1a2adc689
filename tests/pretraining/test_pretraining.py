"""Pretraining: the fast encoder is the tokenizer, rows are whole, the model is Qwen3."""

import sys
import time

import pytest
import torch
from tokenizers import Tokenizer

from checkout import ROOT
from sleepgym_tasks.worlds.language.seeds import derive

sys.path.insert(0, str(ROOT / "pretraining"))

import mixture
import model
import optimizers
import sequences
import train

BASE = ROOT / "agents" / "sleepgym_agents" / "base"


@pytest.fixture(scope="module")
def encoder():
    return mixture.Encoder(BASE / "tokenizer.json")


@pytest.mark.parametrize("kind", sequences.MAKERS)
@pytest.mark.parametrize("long", [False, True])
def test_the_fast_encoder_is_the_tokenizer(encoder, kind, long):
    tokenizer = Tokenizer.from_file(str(BASE / "tokenizer.json"))
    rng = derive(1, kind, long)
    for _ in range(15):
        parts = sequences.MAKERS[kind](rng, long)
        text = "".join(marker + text for marker, text, _ in parts)
        ids, weights = encoder.encode_parts(parts)
        assert ids == tokenizer.encode(text).ids
        assert len(ids) == len(weights)


def test_rows_are_full_and_kinds_keep_their_shares(encoder):
    rows = mixture.rows(encoder, derive(2, "rows"), 1024, False)
    for _ in range(20):
        ids, weights = next(rows)
        assert ids.shape == weights.shape == (1024,)
        assert ids[0] == encoder.special["<bos>"]
        assert weights.max() <= mixture.WEIGHT_STEPS
    assert sum(mixture.SHARES.values()) == pytest.approx(1)
    assert mixture.SHARES["study"] >= 0.29


def test_the_shipped_files_load_and_any_text_comes_back():
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(BASE)
    shipped = AutoModelForCausalLM.from_pretrained(BASE)
    assert sum(path.stat().st_size for path in BASE.iterdir()) <= 16 * 2**20
    assert shipped.config.vocab_size == len(tokenizer)
    for text in ("Tavo Brelin", " two  spaces\n", "é 日本 \x00 exchange_rate"):
        ids = tokenizer(text, add_special_tokens=False).input_ids
        assert tokenizer.decode(ids) == text


def test_the_plain_model_is_the_one_transformers_loads(tmp_path):
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    ours = model.LanguageModel(model.Shape(vocab_size=64, num_hidden_layers=2))
    for parameter in ours.parameters():
        parameter.data = parameter.data.bfloat16().float()
    ours.save(tmp_path)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    ids = torch.randint(0, 64, (2, 20))
    torch.testing.assert_close(ours(ids), theirs(ids).logits, atol=1e-5, rtol=1e-4)


def test_a_few_steps_learn():
    torch.manual_seed(0)
    tiny = model.LanguageModel(model.Shape(vocab_size=64, num_hidden_layers=1))
    muon = optimizers.Muon([p for p in tiny.model.layers.parameters() if p.dim() == 2])
    ids, weights = torch.randint(0, 64, (2, 32)), torch.ones(2, 32)
    losses = []
    for _ in range(5):
        loss = train.weighted_loss(tiny(ids), ids, weights)
        loss.backward()
        muon.step(1e-2)
        tiny.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_orthogonalize_brings_singular_values_near_one():
    values = torch.linalg.svdvals(optimizers.orthogonalize(torch.randn(3, 16, 40)).float())
    assert values.min() > 0.4
    assert values.max() < 1.6


def test_the_schedule_rises_holds_and_falls():
    plan = train.Plan()
    assert plan.rate_at(0, 0.0) < plan.rate / 100
    assert plan.rate_at(5000, 0.39) == plan.rate
    assert plan.rate_at(5000, 1.0) == pytest.approx(plan.rate * plan.floor)


def test_the_generator_is_fast(encoder):
    rows = mixture.rows(encoder, derive(4, "speed"), 1024, False)
    for _ in range(50):
        next(rows)
    started = time.process_time()
    for _ in range(100):
        next(rows)
    assert 100 * 1024 / (time.process_time() - started) > 100_000  # a busy machine's floor
