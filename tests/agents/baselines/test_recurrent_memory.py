import pytest
import torch

from families import tiny, write
from sleepgym import Budget, Document, Night, Question
from sleepgym.core.errors import BadSetting, MissingData
from sleepgym.core.settings import build_config
from sleepgym_agents.baselines.long_context.memory_model import MemoryModel, segments_of
from sleepgym_agents.baselines.long_context.recurrent_memory import RecurrentMemory
from sleepgym_agents.lm.checkpoints import named_weights
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.outer_loops import memory_training
from sleepgym_agents.outer_loops.lessons import TrainingStreams
from sleepgym_agents.outer_loops.memory_training import (
    MemoryTraining,
    Sample,
    answer_loss,
    collate_samples,
    read_segments,
)
from sleepgym_agents.outer_loops.preparing import prepare, training_settings

DOCUMENTS = (
    Document("Mira Tolwen was born in Oslo. She repairs old clocks.", "Mira Tolwen"),
    Document("Ben Arruda keeps forty bees.", "Ben Arruda"),
)
ASKED = (
    Question("Where was Mira born?"),
    Question("red?", ("warm", "cold", "hot")),
    Question("a"),
)
TEXT = [(7 * i) % 250 + 5 for i in range(40)]
PAIRS = [((9, 10, 11), (12, 2)), ((13, 14), (15, 16, 2))]


def make(**values):
    small = {"max_answer_tokens": 6, "segment_tokens": 64, **values}
    config = build_config(RecurrentMemory.Config, small, "test")
    return RecurrentMemory(config, seed=1, model="scratch")


def memory_model(tokens=4, span=3):
    memory = MemoryModel(LanguageModel.load("scratch", 1), tokens, 2, 4.0, span, seed=3)
    with torch.no_grad():  # an adapter that says something
        for name, p in memory.trained.items():
            if "lora_B" in name or name == "change":
                p.normal_(0, 0.05, generator=torch.Generator().manual_seed(len(name)))
    return memory


def by_hand(memory, segments, asked):
    """Segment by segment, from embeddings, one row, with nothing but the model's own forward."""
    embed, start = memory.model.get_input_embeddings(), torch.tensor([memory.prompter.start])
    span, count = memory.span_tokens, len(memory.first_memory)
    state = memory.first_memory[None]
    text = start.shape[1] + span * count
    before = [*range(start.shape[1]), *(start.shape[1] + span * i for i in range(count))]

    def read(ids, moved=None, behind=()):
        inputs = [embed(start), state, embed(torch.tensor([ids]))]
        inputs += [] if moved is None else [moved]
        places = [*before, *range(text, text + len(ids)), *behind]
        later = torch.full((len(places), len(places)), -1e30).triu(1)
        return memory.model(
            inputs_embeds=torch.cat(inputs, 1),
            attention_mask=later[None, None],
            position_ids=torch.tensor([places]),
            output_hidden_states=True,
        )

    for ids in segments:  # a memory token stands right behind its stretch, the last one's included
        stretches = []
        for at in range(0, len(ids), span):
            stretch = embed(torch.tensor(ids[at : at + span]))
            share = torch.tensor([float(span - n) for n in range(len(stretch))])
            stretches.append(share @ stretch / share.square().sum().sqrt())
        moved = torch.cat([state[0], torch.stack(stretches)])[-count:][None]
        end = text + -(-len(ids) // span) * span
        behind = [end - span * (count - 1 - i) for i in range(count)]
        said = read(ids, moved, behind).hidden_states[-1][:, -count:]
        said = said / said.square().mean(-1, keepdim=True).sqrt()
        width = said.shape[-1]
        state = moved + embed.weight.std() / width**0.5 * said @ memory.change
    return state, read(asked).logits[0, -len(asked) :]


def test_the_recurrence_is_what_a_hand_computes():
    memory = memory_model()
    segments, asked = [TEXT[:15], TEXT[15:22], TEXT[22:]], [31, 32, 33]
    with torch.no_grad():
        state, logits = by_hand(memory, segments, asked)
    for ids in segments:
        memory.take_in(ids)
    torch.testing.assert_close(memory.memory, state[0], atol=1e-4, rtol=1e-4)
    read = memory.read([asked], keep=3)[2][0]
    torch.testing.assert_close(read, logits, atol=1e-4, rtol=1e-4)


def test_a_batch_of_unlike_samples_is_each_of_them_alone():
    memory = memory_model()
    texts = (TEXT, TEXT[:9], TEXT[5:20])
    samples = [Sample([tuple(x)], PAIRS[: n % 2 + 1]) for n, x in enumerate(texts, start=1)]
    batch = collate_samples(samples, 16, memory.device)
    assert [list(real.sum(1)) for real in batch.real] == [[16, 0, 0], [16, 0, 0], [8, 9, 15]]
    states = read_segments(memory, batch, 9)
    losses, sizes = [], []
    for row, sample in enumerate(samples):
        alone = collate_samples([sample], 16, memory.device)
        state = read_segments(memory, alone, 9)
        torch.testing.assert_close(states[row], state[0], atol=1e-4, rtol=1e-4)
        losses.append(answer_loss(memory, alone, 9) * len(alone.wanted))
        sizes.append(len(alone.wanted))
    together = answer_loss(memory, batch, 9)
    torch.testing.assert_close(together, sum(losses) / sum(sizes), atol=1e-4, rtol=1e-4)
    state, logits = by_hand(memory, [TEXT[:16], TEXT[16:32], TEXT[32:]], [9, 10, 11, 12, 2])
    wanted = torch.nn.functional.cross_entropy(logits[2:4], torch.tensor([12, 2]))
    one = collate_samples([Sample([tuple(TEXT)], PAIRS[:1])], 16, memory.device)
    torch.testing.assert_close(answer_loss(memory, one, 9), wanted, atol=1e-4, rtol=1e-4)


def test_before_it_learned_the_model_reads_a_window_of_the_last_tokens():
    memory = MemoryModel(LanguageModel.load("scratch", 1), 16, 2, 4.0, 1)
    plain = LanguageModel.load("scratch", 1)
    ids = [*plain.prompter.start, *TEXT[-16:], 31, 32]
    for segment in (TEXT[:9], TEXT[9:30], TEXT[30:]):
        memory.take_in(segment)
    read = memory.read([[31, 32]], keep=2)[2][0]
    wanted = plain.read([ids], keep=2)[2][0]
    torch.testing.assert_close(read, wanted, atol=1e-4, rtol=1e-4)


def test_answers_and_what_is_repeated_count_alike():
    memory = memory_model()
    alone = collate_samples([Sample([TEXT], PAIRS)], 16, memory.device)
    repeated = collate_samples([Sample([TEXT], PAIRS, [TEXT])], 16, memory.device)
    assert repeated.repeats.sum() == len(TEXT)
    logits = memory.logits_behind(
        repeated.asked, read_segments(memory, repeated, 9), repeated.places[-len(TEXT) :]
    )
    more = torch.nn.functional.cross_entropy(logits, torch.tensor(TEXT))
    both = answer_loss(memory, repeated, 9)
    torch.testing.assert_close(both, answer_loss(memory, alone, 9) + more, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("depth", "reached"), [(1, [0, 0, 1]), (2, [0, 1, 1]), (9, [1, 1, 1])])
def test_the_gradient_flows_through_as_many_segments_as_it_should(depth, reached):
    memory = memory_model()
    batch = collate_samples([Sample([tuple(TEXT)], PAIRS)], 16, memory.device)
    inputs, own = [], memory._embedded

    def embedded(ids):
        inputs.append(own(ids).detach().requires_grad_(True))
        return inputs[-1]

    memory._embedded = embedded
    answer_loss(memory, batch, depth).backward()
    texts = [x for x in inputs if x.shape[1] in (16, 8)][:3]
    assert [int(x.grad is not None and bool(x.grad.any())) for x in texts] == reached


def test_the_state_is_the_memory_whatever_was_read(tmp_path):
    sizes = []
    for days in (1, 5):
        agent = make()
        base = {n: p.clone() for n, p in named_weights(agent.lm.model).items()}
        for _ in range(days):
            agent.study(DOCUMENTS)
            agent.practice([Question("the weather")], ["warm"])
            log = agent.sleep(Night(1, Budget(night_flops=0), 0, agent.meter))
        assert log["segments"] == days * 3
        folder = tmp_path / str(days)
        folder.mkdir()
        agent.save(folder)
        sizes.append([(path.name, path.stat().st_size) for path in folder.iterdir()])
        assert all(torch.equal(p, base[n]) for n, p in named_weights(agent.lm.model).items())
    numbers = agent.lm.memory.numel()
    assert sizes[0] == sizes[1] == [("memory.safetensors", sizes[0][0][1])]
    assert 4 * numbers < sizes[0][0][1] < 4 * numbers + 128
    lora = sum(p.numel() for p in named_weights(agent.lm.model, "lora_").values())
    assert agent.added_parameters == lora + 2 * numbers + agent.lm.change.numel()
    fresh = make()
    fresh.load(folder)
    assert fresh.answer(ASKED) == agent.answer(ASKED) == [agent.answer([q])[0] for q in ASKED]


def test_a_newborn_saves_nothing_and_the_memory_decides_the_answer(tmp_path):
    agent = make()
    agent.save(tmp_path)
    assert not list(tmp_path.iterdir())
    asked = agent.lm.prompter.question("Where was Mira born?")
    before = agent.lm.read([asked])[2]
    agent.study(DOCUMENTS)
    assert not torch.allclose(agent.lm.read([asked])[2], before)


def test_segments_hold_whole_parts_where_they_fit():
    assert list(segments_of([[1, 2], [3], [4, 5]], 3)) == [[1, 2, 3], [4, 5]]
    assert list(segments_of([[1], [2, 3, 4, 5, 6, 7, 8]], 3)) == [[1], [2, 3, 4], [5, 6, 7], [8]]
    assert list(segments_of([], 3)) == []


def test_training_lowers_the_loss_and_its_part_is_found_again(tmp_path, monkeypatch):
    monkeypatch.setenv("SLEEPGYM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(memory_training, "MEASURED", 1)
    folder = write(tiny("llama"), tmp_path / "llama")
    with pytest.raises(MissingData, match="run `sleepgym prepare-agent recurrent-memory --model"):
        RecurrentMemory(model=folder)
    settings = MemoryTraining(
        memory_tokens=2,
        span_tokens=1,
        rank=2,
        course=(1,),
        steps=(3,),
        batch_size=2,
        questions=2,
        segment_tokens=64,
    )
    streams = TrainingStreams(("sleepgym/Codebook-v0",), (0, 1), 1)
    path, used, log = prepare("recurrent-memory", folder, streams, settings)
    assert path == used
    assert path.is_file()
    assert log[0]["steps"] == 3
    agent = RecurrentMemory(model=folder)
    assert agent.lm.memory.shape == (2, 32)
    saved = trained_tensors(path)
    for name, p in agent.lm.trained.items():
        assert torch.equal(p.detach(), saved[name].float())
    path.write_bytes(b"damaged")
    with pytest.raises(MissingData, match="not a readable trained part"):
        RecurrentMemory(model=folder)


def trained_tensors(path):
    from safetensors.torch import load_file

    return load_file(path)


def test_what_cannot_be_trained_is_told_in_one_line():
    with pytest.raises(BadSetting, match="duo-attention, recurrent-memory"):
        training_settings("naive")
    with pytest.raises(BadSetting, match="seeds=100: training streams have seeds 0 to 99"):
        TrainingStreams(seeds=(100,))
    with pytest.raises(ValueError, match="as many as there are stages"):
        MemoryTraining(steps=(1,))
