import pytest
import torch

from sleepgym_agents.generation import generate
from sleepgym_agents.model import LanguageModel, common_prefix
from sleepgym_agents.prompts import Prompter, PromptFormat

TEXTS = ["a", "who is it?", "a much longer question about nothing at all", "bb", "who was it?"]


@pytest.fixture(scope="module")
def lm():
    model = LanguageModel.load("scratch", seed=3)
    with torch.no_grad():  # larger weights, so that it does not repeat one token
        for layer in model.model.model.layers:
            for parameter in layer.parameters():
                parameter.mul_(2)
    return model


def prompts(lm, context=""):
    parts = [lm.prompter.encode(context)] if context else []
    return [lm.prompter.prompt(text, parts) for text in TEXTS]


def reference(lm, ids, max_new_tokens):
    """Transformers' own greedy decoding of one prompt."""
    output = lm.model.generate(
        torch.tensor([ids]),
        attention_mask=torch.ones(1, len(ids), dtype=torch.long),
        max_new_tokens=max_new_tokens,
        do_sample=False,
        pad_token_id=0,
    )
    return output[0, len(ids) :].tolist()


@pytest.mark.parametrize("context", ["", "The sky is green on Tuesdays. " * 20])
def test_greedy_equals_transformers_generate(lm, context):
    asked = prompts(lm, context)
    assert len({tuple(ids) for ids in generate(lm, asked, 20)}) == len(asked)
    assert generate(lm, asked, 20) == [reference(lm, ids, 20) for ids in asked]


def test_batches_do_not_change_what_is_written(lm, monkeypatch):
    asked = prompts(lm)
    together = generate(lm, asked, 12, temperature=1.0, top_p=0.9, seed=5)
    monkeypatch.setattr(LanguageModel, "batch_tokens", 1)
    assert generate(lm, asked, 12, temperature=1.0, top_p=0.9, seed=5) == together
    assert generate(lm, asked, 12, temperature=1.0, top_p=0.9, seed=6) != together


def test_sampling_follows_the_distribution(lm):
    ids = lm.prompter.prompt("a")
    with torch.inference_mode():
        wanted = lm.model(torch.tensor([ids])).logits[0, -1].softmax(-1)
    drawn = torch.tensor(generate(lm, [ids] * 4000, 1, temperature=1.0))[:, 0]
    found = torch.bincount(drawn, minlength=len(wanted)) / len(drawn)
    assert float((found - wanted).abs().sum()) < 0.25  # total variation of 4000 draws, 261 tokens
    likeliest = torch.tensor(generate(lm, [ids] * 50, 1, temperature=1.0, top_p=1e-6))
    assert (likeliest == wanted.argmax()).all()


def test_stops_at_the_marker(lm):
    ids = lm.prompter.prompt("a")
    written = generate(lm, [ids], 20)[0]
    characters = [lm.prompter.tokenizer.decode([token]) for token in written]
    at = next(i for i, c in enumerate(characters) if c.isascii() and c not in characters[:i])
    marker = PromptFormat(stop=characters[at])
    stopping = LanguageModel(lm.model, Prompter(marker, lm.prompter.tokenizer))
    assert generate(stopping, [ids], 20)[0] == written[: at + 1]
    assert generate(stopping, [ids], 20) == generate(stopping, [ids] * 2, 20)[:1]


def test_nothing_to_do(lm):
    assert generate(lm, [], 5) == []


def test_tokens_are_charged_once(lm):
    asked = prompts(lm, "x" * 100)
    before = lm.meter.copy()
    written = generate(lm, asked, 7)
    spent = lm.meter.since(before)
    shared = common_prefix(asked)
    assert spent["generated_tokens"] == sum(map(len, written))
    assert spent["read_tokens"] == shared + sum(len(ids) - shared for ids in asked)
    assert spent["flops"] > 2 * lm.parameters * spent["read_tokens"]


def test_common_prefix_leaves_a_token():
    assert common_prefix([[1, 2], [1, 2]]) == 1
    assert common_prefix([[1, 2, 3], [1, 2, 4], [1, 9]]) == 1
    assert common_prefix([[1]]) == 0
