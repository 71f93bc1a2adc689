import pytest
import torch
from transformers import DynamicCache

from sleepgym_agents.lm import generation
from sleepgym_agents.lm.generation import _without, generate
from sleepgym_agents.lm.kv_cache import DecodingCache
from sleepgym_agents.lm.model import LanguageModel, common_prefix
from sleepgym_agents.lm.prompts import Prompter, PromptFormat

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


def test_rows_that_end_leave_the_others_as_they_are(lm):
    """The start marker ends a continuation; each of these ends at a step of its own."""
    asked = prompts(lm, "The sky is green on Tuesdays. ")[::-1] + prompts(lm)
    alone = [reference(lm, ids, 24) for ids in asked]
    marker = max(set(alone[0]), key=lambda token: sum(token in ids for ids in alone))
    prompter = Prompter(PromptFormat(start=""), lm.prompter.tokenizer)
    prompter.start = [marker]
    wanted = [ids[: ids.index(marker) + 1] if marker in ids else ids for ids in alone]
    assert len(set(map(len, wanted))) > 3
    assert generate(LanguageModel(lm.model, prompter), asked, 24, stop_at_answer=False) == wanted


def test_free_places_are_taken_by_the_last_rows():
    assert _without({1, 4}, 6) == [0, 5, 2, 3]
    for bits in range(2**6):
        ended = {row for row in range(6) if bits >> row & 1}
        kept = _without(ended, 6)
        assert sorted(kept) == sorted(set(range(6)) - ended)
        assert all(row == place or place in ended for place, row in enumerate(kept))


def test_equal_prompts_are_read_once(lm):
    first, *_, last = prompts(lm)
    before = lm.meter.copy()
    written = generate(lm, [first, last, first, first], 6, temperature=1.0, seed=2)
    spent = lm.meter.since(before)
    shared = common_prefix([first, last])
    read = len(first) + len(last) - (shared if shared >= 16 else 0)
    assert spent["read_tokens"] == read
    assert written[0] != written[2] != written[3]
    assert generate(lm, [first] * 3, 6) == [reference(lm, first, 6)] * 3


def test_cache_is_a_dynamic_cache_with_fewer_copies():
    torch.manual_seed(0)
    states = torch.randn(2, 4, 3, 5, 8)  # keys and values, rows, heads, tokens, size
    plain = DynamicCache()
    plain.update(*states, 0)
    cache = DecodingCache(plain, [0, 1, 2, 3, 1], 3)
    plain.batch_select_indices(torch.tensor([0, 1, 2, 3, 1]))
    for kept in ([0, 1, 2, 3, 4], [0, 4, 2, 3], [3, 1]):
        cache.keep(kept)
        plain.batch_select_indices(torch.tensor(kept))
        new = torch.randn(2, len(kept), 3, 1, 8)
        for found, wanted in zip(cache.update(*new, 0), plain.update(*new, 0), strict=True):
            assert torch.equal(found, wanted)
    assert cache.get_seq_length() == 8


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


@pytest.mark.parametrize("context", ["", "The sky is green on Tuesdays. " * 20])
@pytest.mark.parametrize("options", [{}, {"temperature": 1.0}, {"temperature": 1.0, "top_p": 0.8}])
def test_static_steps_write_what_growing_ones_do(lm, monkeypatch, context, options):
    asked = prompts(lm, context)
    before = lm.meter.copy()
    grown = generate(lm, asked, 20, seed=2, **options)
    spent, before = lm.meter.since(before), lm.meter.copy()
    monkeypatch.setattr(lm, "captures", lambda steps: True)
    lm.captured.clear()
    for _ in range(2):  # a new step, and the same again
        assert generate(lm, asked, 20, seed=2, **options) == grown
    assert {k: 2 * v for k, v in spent.items()} == lm.meter.since(before)
    monkeypatch.setattr(generation, "CHOSEN_LOGITS", 700)  # two rows of logits at once
    assert generate(lm, asked, 20, seed=2, **options) == grown
    assert len(lm.captured) == 1
    monkeypatch.setattr(lm, "batch_rows", lambda length, attended, logits: 2)
    assert generate(lm, asked, 20, seed=2, **options) == grown  # read two at a time
    assert len(lm.captured) == 1
    assert generate(lm, asked[:1], 70, seed=2, **options)  # another shape: a step of its own
    assert len(lm.captured) == 2


def test_a_static_step_is_thrown_away_when_weights_move(lm, monkeypatch):
    monkeypatch.setattr(lm, "captures", lambda steps: True)
    generate(lm, prompts(lm), 6)
    (step,) = list(lm.captured.values())[-1:]
    head = lm.model.lm_head.weight
    head.data = head.data.clone()
    generate(lm, prompts(lm), 6)
    assert step not in lm.captured.values()
    assert len(lm.captured) == 1
