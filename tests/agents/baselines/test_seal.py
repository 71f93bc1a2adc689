import pytest
import torch

from sleepgym import Budget, Document, Night, Question
from sleepgym.core.settings import build_config
from sleepgym_agents.baselines.other.seal import (
    Seal,
    SealSettings,
    edit_adapter,
    edit_prompts,
    sample_edits,
)
from sleepgym_agents.lm.checkpoints import named_weights
from sleepgym_agents.lm.lora import temporary_lora
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.outer_loops import seal as seal_training
from sleepgym_agents.outer_loops.seal import TrainingDay, rest_em, training_days
from sleepgym_agents.training.optimise import Example, TrainingSettings, collate, cross_entropy

DOCUMENTS = [
    Document("Mira Tolwen was born in Oslo. She repairs old clocks.", "Mira Tolwen"),
    Document("Ben Arruda keeps forty bees.", "Ben Arruda"),
]
QUICK = {"epochs": 2, "edits": 2, "edit_tokens": 12, "rank": 4, "max_answer_tokens": 8}
DAY = TrainingDay(((5, 6, 7), (8, 9)), (("where?", "Oslo"), ("what?", "bees")))


def make(**values):
    return Seal(build_config(SealSettings, {**QUICK, **values}, "test"), seed=1, model="scratch")


def night(agent, **limits):
    return Night(1, Budget(**limits), 3, agent.meter)


def weights(lm):
    return {name: p.clone() for name, p in named_weights(lm.model).items()}


def test_presets_are_seals_settings():
    one = build_config(SealSettings, {"preset": "single-passage", "epochs": "3"}, "seal")
    assert (one.rank, one.alpha, one.edits, one.learning_rate) == (32, 64.0, 1, 1e-3)
    assert one.epochs == 3  # what is set beside a preset overrides it
    assert SealSettings(preset="single-passage", epochs=3) == one
    assert SealSettings(preset="single-passage").epochs == 10
    assert (one.batch_size, one.each, one.items_per_sequence) == (1, "passage", 1)
    many = build_config(SealSettings, {"preset": "continued-pretraining"}, "seal")
    assert (many.edits, many.epochs, many.batch_size, many.each) == (5, 3, 8, "day")


def test_a_temporary_adapter_leaves_the_very_same_weights_or_is_merged():
    lm = LanguageModel.load("scratch", seed=2)
    before = weights(lm)
    ids = torch.arange(5, 25)[None]
    for merge in (False, True):
        with temporary_lora(lm, 4, 8.0, 0, merge=merge):
            trained = {n for n, p in lm.model.named_parameters() if p.requires_grad}
            assert trained
            assert all("lora_" in name for name in trained)
            for p in named_weights(lm.model, "lora_B").values():
                p += torch.sin(torch.arange(p.numel())).view(p.shape) * 0.02
            with torch.no_grad():
                adapted = lm.model(ids).logits
        after = named_weights(lm.model)
        assert list(after) == list(before)
        assert all(p.requires_grad for p in lm.model.parameters())
        if not merge:
            assert all(torch.equal(p, before[n]) for n, p in after.items())
    with torch.no_grad():
        torch.testing.assert_close(lm.model(ids).logits, adapted, atol=1e-4, rtol=1e-4)
    with pytest.raises(KeyError), temporary_lora(lm, 4, 8.0, 0, merge=True):
        raise KeyError
    assert list(named_weights(lm.model)) == list(before)


@pytest.mark.parametrize("each", ["passage", "day"])
def test_one_inner_loop_a_passage_or_a_day(each, monkeypatch):
    agent = make(each=each)
    agent.study(DOCUMENTS)
    agent.practice([Question("red?")], ["warm"])
    opened = []
    real = temporary_lora

    def spy(*args, **options):
        opened.append(options)
        return real(*args, **options)

    monkeypatch.setattr("sleepgym_agents.baselines.other.seal.temporary_lora", spy)
    before = weights(agent.lm)
    log = agent.sleep(night(agent))
    assert opened == [{"merge": True}] * (3 if each == "passage" else 1)
    assert log["steps"] > 0
    assert any(not torch.equal(p, before[n]) for n, p in named_weights(agent.lm.model).items())
    assert agent.added_parameters == 0
    assert not any("lora_" in name for name in named_weights(agent.lm.model))


def test_padding_counts_nothing():
    lm = LanguageModel.load("scratch", seed=2)
    short, long = ([*range(9, 9 + size)] for size in (4, 40))
    pair = [Example.joined((ids, 1.0)) for ids in (short, long)]
    batch = collate(pair, "cpu")
    assert batch.ids.shape == (2, 40)  # the longest of the batch, not 2,048
    assert batch.tokens == 44
    alone = [cross_entropy(lm.model, collate([e], "cpu")) for e in pair]
    expected = (3 * alone[0] + 39 * alone[1]) / 42
    torch.testing.assert_close(cross_entropy(lm.model, batch), expected, atol=1e-5, rtol=1e-5)


def test_it_keeps_to_its_budget():
    agent = make()
    for limits in ({"night_generated_tokens": 20}, {"night_flops": 1e6}, {"night_train_tokens": 9}):
        agent.study(DOCUMENTS)
        tonight = night(agent, **limits)
        agent.sleep(tonight)
        assert not tonight.budget.exceeded_by(tonight.spent())


def test_rest_em_learns_the_best_edits_and_nothing_else(tmp_path, monkeypatch):
    lm = LanguageModel.load("scratch", seed=2)
    before = weights(lm)
    offered: list = []
    kept: list = []
    learn = seal_training.learn

    def worth(lm, day, pairs, settings, seed):
        offered.append(seed)
        return float((len(offered) - 1) // 2 % 3 == 1)  # the second of three, tried twice

    def spy(lm, examples, *args, **options):
        kept.append([list(e.ids) for e in examples])
        return learn(lm, examples, *args, **options)

    monkeypatch.setattr(seal_training, "reward", worth)
    monkeypatch.setattr(seal_training, "learn", spy)
    sft = TrainingSettings(learning_rate=1e-2, epochs=20, items_per_sequence=1)
    settings = SealSettings(edit_tokens=12)
    path = tmp_path / "editor.safetensors"
    log = rest_em(lm, [DAY], settings, path, rounds=2, edits=3, tries=2, sft=sft)
    assert log == [{"reward": pytest.approx(1 / 3), "kept": 1.0}] * 2
    assert all(torch.equal(p, before[n]) for n, p in named_weights(lm.model).items())
    prompts = edit_prompts(lm, DAY.texts, 3)
    start = len(lm.prompter.start)
    seed = seal_training.derive_seed(0, "edits", 0, 0)
    written = sample_edits(lm, prompts, 12, 1.0, seed)
    assert kept[0] == [[*prompts[i][start:], *written[i]] for i in (1, 4)]

    examples = [Example.joined((p, 0.0), (w, 1.0)) for p, w in ((prompts[1], written[1]),)]
    with torch.no_grad():
        bare = cross_entropy(lm.model, collate(examples, "cpu"))
        with edit_adapter(lm, str(path)):
            edited = cross_entropy(lm.model, collate(examples, "cpu"))
    assert edited < bare - 0.5
    agent = make(edit_adapter=str(path))
    agent.study(DOCUMENTS)
    assert agent.sleep(night(agent))["steps"] > 0


def test_training_days_come_from_streams():
    lm = LanguageModel.load("scratch", seed=2)
    days = list(training_days(lm, "toy:Toy", [3, 4], days=2))
    assert len(days) == 4
    assert [len(day.texts) for day in days] == [2, 2, 2, 2]
    assert days[0].exam[0][0] == "Where is Person10?"
    assert days[0].exam[0][1].startswith("Town")
    settings = SealSettings(learning_rate=5e-3, epochs=100, rank=8, items_per_sequence=1)
    told = [(question, answer) for question, answer in days[0].exam]
    assert seal_training.reward(lm, days[0], told, settings, 1) == 1.0
