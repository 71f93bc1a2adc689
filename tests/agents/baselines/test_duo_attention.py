import pytest
import torch

from families import tiny, write
from sleepgym import Budget, Document, Night, Question
from sleepgym.core.errors import BadSetting, MissingData
from sleepgym.core.settings import build_config
from sleepgym_agents.baselines.in_context import InContext
from sleepgym_agents.baselines.long_context import trained_parts
from sleepgym_agents.baselines.long_context.duo_attention import (
    DuoAttention,
    head_gates,
    retrieval_heads,
)
from sleepgym_agents.baselines.long_context.duo_model import DuoModel, Window, turned
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.outer_loops.head_training import hidden_distance, rate_at

DOCUMENT = Document("Mira Tolwen was born in Oslo. She repairs old clocks.", "Mira Tolwen")
OTHER = Document("Ben Arruda keeps forty bees.", "Ben Arruda")
ASKED = (
    Question("Where was Mira born?"),
    Question("red?", ("warm", "cold", "hot")),
    Question("a"),
)
WINDOW = Window(3, 8)
IDS = [(7 * i) % 250 + 5 for i in range(60)]


def make(**values):
    small = {"max_answer_tokens": 6, "sink_tokens": 3, "recent_tokens": 8, **values}
    return DuoAttention(build_config(DuoAttention.Config, small, "test"), seed=1, model="scratch")


def masked_logits(lm, ids, retrieval, window):
    """Logits of a plain forward pass in which each head has its mask, made by hand."""
    lm.model.set_attn_implementation("eager")
    length = len(ids)
    seen = torch.tensor(
        [
            [j <= i and (j < window.sink or i - j < window.recent) for j in range(length)]
            for i in range(length)
        ]
    )
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    handles = []
    for layer, heads in zip(lm.model.model.layers, retrieval, strict=True):
        rows = torch.stack([causal if full else seen for full in heads])
        bias = torch.zeros(1, *rows.shape).masked_fill(~rows, -1e9)

        def put(module, args, options, bias=bias):
            return args, {**options, "attention_mask": bias}

        handles.append(layer.self_attn.register_forward_pre_hook(put, with_kwargs=True))
    with torch.no_grad():
        logits = lm.model(torch.tensor([ids])).logits[0]
    for handle in handles:
        handle.remove()
    return logits


@pytest.mark.parametrize("pieces", [(60,), (1, 2, 3, 14, 30, 10)])
def test_streaming_heads_see_sink_and_recent_tokens_only(pieces):
    lm = LanguageModel.load("scratch", 1)
    retrieval = torch.tensor([[True, False, False], [False, True, False]])
    wanted = masked_logits(LanguageModel.load("scratch", 1), IDS, retrieval, WINDOW)
    duo, at, found = DuoModel(lm, "scratch", retrieval, WINDOW), 0, []
    for size in pieces:
        piece = IDS[at : at + size]
        found.append(duo.read([piece], keep=size)[2][0])
        duo.take_in(piece, 100)
        at += size
    torch.testing.assert_close(torch.cat(found), wanted, atol=2e-4, rtol=1e-4)
    assert duo.tokens == 60


def test_batches_labels_and_decoding_see_the_same_window():
    agent = make(retrieval_share=0.5)
    agent.study([DOCUMENT])
    agent.practice([Question("the weather")], ["warm"])
    window = agent.lm.window
    retrieval = torch.zeros(2, 3, dtype=torch.bool)
    retrieval[0] = True
    together = agent.answer(ASKED)
    assert together == [agent.answer([question])[0] for question in ASKED]
    prompter = agent.lm.prompter
    told = [*prompter.opening, *prompter.document(DOCUMENT)]
    told += prompter.demonstration("the weather", "warm")
    plain = LanguageModel.load("scratch", 1)
    ids, written = [*told, *prompter.question(ASKED[0].text)], []
    for _ in range(6):  # greedy decoding, the whole sequence read anew at every step
        written.append(int(masked_logits(plain, ids + written, retrieval, window)[-1].argmax()))
        if prompter.stopped(written):
            break
    assert together[0] == prompter.answer_text(written)
    scores = {}
    for label in ASKED[1].choices:
        ids, answer = [*told, *prompter.question(ASKED[1].text)], prompter.answer(label)
        logits = masked_logits(plain, ids + answer, retrieval, window).log_softmax(-1)
        scores[label] = sum(float(logits[len(ids) + i - 1, t]) for i, t in enumerate(answer))
    assert together[1] == max(scores, key=scores.__getitem__)


def test_with_all_heads_retrieval_it_is_full_attention():
    agent = make(retrieval_share=1.0)
    reader = InContext(InContext.Config(max_answer_tokens=6), seed=1, model="scratch")
    for one in (agent, reader):
        one.study([DOCUMENT, OTHER])
        one.practice([Question("the weather")], ["warm"])
    assert agent.answer(ASKED) == reader.answer(ASKED)
    prompter = agent.lm.prompter
    asked = prompter.question("Where was Mira born?")
    told = [i for part in reader.parts for i in part]
    with torch.no_grad():
        full = reader.lm.model(torch.tensor([[*prompter.opening, *told, *asked]])).logits
    read = agent.lm.read([asked], keep=len(asked))[2]
    torch.testing.assert_close(read, full[:, -len(asked) :], atol=1e-4, rtol=1e-4)


def test_streaming_heads_hold_as_much_however_long_the_context():
    sizes = []
    for documents in (2, 6, 12):
        agent = make(retrieval_share=0.5)
        agent.study([DOCUMENT] * documents)
        sizes.append(agent.lm.cache_numbers)
        length = agent.lm.tokens
        assert sizes[-1] == (2 * 3 * 32 * length, 2 * 3 * 32 * (3 + 8))
    assert len({full for full, _ in sizes}) == 3
    nothing = make(retrieval_share=0.0)
    nothing.study([DOCUMENT] * 12)
    assert nothing.lm.cache_numbers == (0, 2 * 2 * 3 * 32 * (3 + 8))


def test_turned_keys_are_those_read_elsewhere():
    lm = DuoModel(LanguageModel.load("scratch"), "scratch", torch.ones(2, 3).bool(), WINDOW)
    here, there = (lm.read([IDS[:9]], start=start)[0] for start in (20, 3))
    for (keys, _), (other, _) in zip(here.layers, there.layers, strict=True):
        torch.testing.assert_close(turned(lm.model, keys, -17), other, atol=1e-3, rtol=1e-3)


def test_the_oldest_tokens_behind_the_sink_go_and_the_others_move_up():
    """A first layer's keys tell token and position; what is left stands as if read in its place."""
    retrieval = torch.tensor([[True, True, False], [True, False, False]])
    duo = DuoModel(LanguageModel.load("scratch"), "scratch", retrieval, WINDOW)
    fresh = DuoModel(LanguageModel.load("scratch"), "scratch", retrieval, WINDOW)
    for begin in range(0, 60, 6):
        duo.take_in(IDS[begin : begin + 6], 25)
    fresh.take_in(IDS[:3] + IDS[-22:], 25)
    assert duo.tokens == fresh.tokens == 25
    for kind in ("full", "windowed"):
        for one, other in zip(getattr(duo, kind), getattr(fresh, kind), strict=True):
            assert [x.shape for x in one] == [x.shape for x in other]
        one, other = getattr(duo, kind)[0], getattr(fresh, kind)[0]
        torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-3)


def test_the_state_is_the_cache_and_goes_on(tmp_path):
    agent, whole = make(), make()
    whole.study([DOCUMENT, OTHER])
    agent.study([DOCUMENT])
    log = agent.sleep(Night(1, Budget(night_flops=0), 0, agent.meter))
    assert log["context_tokens"] == agent.lm.tokens
    agent.save(tmp_path)
    fresh = make()
    fresh.load(tmp_path)
    fresh.study([OTHER])
    assert fresh.answer(ASKED) == whole.answer(ASKED)
    full, windowed = agent.lm.cache_numbers
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert agent.added_parameters == full + windowed
    assert 4 * (full + windowed) < size < 4 * (full + windowed) + 2048


def test_open_gates_are_full_attention_and_closed_ones_the_window():
    lm = LanguageModel.load("scratch", 1)
    lm.model.requires_grad_(False)
    gates = head_gates(lm)
    assert float(hidden_distance(lm, gates, WINDOW, IDS, [50, 59])) < 1e-10
    half = torch.full_like(gates, 0.5).requires_grad_(True)
    distance = hidden_distance(lm, half, WINDOW, IDS, [50, 59])
    distance.backward()
    assert float(distance.detach()) > 1e-4
    assert (half.grad != 0).all()
    assert float(hidden_distance(lm, gates * 0, Window(3, 60), IDS, [50, 59])) < 1e-10


def test_heads_are_chosen_by_their_gates():
    gates = torch.tensor([[0.1, 0.9], [0.9, 0.4]])
    assert retrieval_heads(gates, 0.5).tolist() == [[False, True], [True, False]]
    assert retrieval_heads(gates, 0.25).tolist() == [[False, True], [False, False]]
    assert [rate_at(step, 10) for step in (0, 1, 5, 8, 9)] == [0.5, 1.0, 1.0, 1.0, 0.5]


def test_what_does_not_fit_is_refused_in_one_line(tmp_path, monkeypatch):
    with pytest.raises(BadSetting, match=r"sink_tokens=3, recent_tokens=8: .* of 9 tokens"):
        make(context_tokens=9)
    monkeypatch.setenv("SLEEPGYM_CACHE", str(tmp_path))
    folder = write(tiny("llama"), tmp_path / "llama")
    with pytest.raises(MissingData, match="run `sleepgym prepare-agent duo-attention --model"):
        DuoAttention(model=folder)


@pytest.mark.parametrize(("kind", "fits"), [("llama", True), ("gpt2", False), ("phi", False)])
def test_families_whose_keys_do_not_turn_are_refused(kind, fits, tmp_path, monkeypatch):
    monkeypatch.setenv("SLEEPGYM_CACHE", str(tmp_path))
    folder = write(tiny(kind), tmp_path / kind)
    lm = LanguageModel.load(folder)
    path = trained_parts.cached_file("duo-attention", trained_parts.base_digest(lm.model))
    trained_parts.TrainedPart({"gates": head_gates(lm)}, {}).save(path)
    config = DuoAttention.Config(sink_tokens=3, recent_tokens=8)
    if fits:
        assert DuoAttention(config, model=folder).lm.tokens == 0
    else:
        with pytest.raises(MissingData, match=r"is not supported by duo-attention"):
            DuoAttention(config, model=folder)
