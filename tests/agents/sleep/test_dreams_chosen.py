import gymnasium
import numpy as np
import pytest
import torch

from expert_models import fill, make_memory
from sleepers import sleep_context
from sleepgym import Document
from sleepgym_agents.experts.copies import isolated_copies
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.sleep.consolidation.consolidation_data import ConsolidationData
from sleepgym_agents.sleep.dream_rewards import importance, reward
from sleepgym_agents.sleep.dream_sampling import build_quiz, deduplicate, select_dreams
from sleepgym_agents.sleep.dreaming import DreamingSettings, with_hard_targets
from sleepgym_agents.training.distillation import make_collator, score_with_teacher
from sleepgym_agents.training.qa_generation import generate_qa

PAIRS = [(f"Where is {name}?", f"in {town}") for name in ("Ada", "Bo", "Cy") for town in "xyz"]
EXPERT = (0, 1)


def learner(router="names", **settings):
    """A memory whose second expert is to learn, and dreams of one, two and three items."""
    memory = make_memory(router=router, **settings)
    encode = memory.lm.prompter.encode
    for i, names in enumerate((["Ada"], ["Ada", "Bo", "Cy"])):
        memory.assign_entities(memory.unlock(), [tuple(encode(name)) for name in names], [])
        fill(memory, (0, i), seed=i)
    examples = score_with_teacher(memory.lm, PAIRS)
    return memory, [examples[:1], examples[1:3], examples[3:6]], examples[6:]


def gradient(memory, items, parameters):
    """Of one dream's mean loss over its answers, by a backward pass of its own."""
    batch = make_collator(memory.lm, 0.0)([items], memory.lm.device)
    logits = memory.lm.model(input_ids=batch.ids, use_cache=False).logits.flatten(0, 1)
    wanted = batch.ids.flatten()[batch.positions + 1]
    losses = torch.nn.functional.cross_entropy(logits[batch.positions], wanted, reduction="none")
    loss = (losses * batch.weights).sum() / batch.weights.sum()
    grads = torch.autograd.grad(loss, parameters)
    return loss.item(), sum(float(g.square().sum()) for g in grads) ** 0.5


def snapshot(memory):
    return {name: p.detach().clone() for name, p in memory.lm.model.named_parameters()}


def same(memory, before):
    found = dict(memory.lm.model.named_parameters())
    return found.keys() == before.keys() and all(
        torch.equal(p, before[n]) and not p.requires_grad and p.grad is None
        for n, p in found.items()
    )


@pytest.mark.parametrize("router", ["names", "gate", "always"])
def test_importance_equals_passes_of_their_own(router):
    memory, dreams, _ = learner(router)
    before = snapshot(memory)
    found = importance(memory, EXPERT, dreams)
    assert same(memory, before)
    with memory.training(EXPERT) as parameters:
        own = [p for e in memory.experts(EXPERT) for p in e.parameters()]
        wanted = [gradient(memory, items, own)[1] for items in dreams]
    assert len(parameters) >= len(own)
    assert found == pytest.approx(wanted, rel=1e-3)
    assert importance(memory, EXPERT, dreams[::-1]) == pytest.approx(wanted[::-1], rel=1e-3)
    assert importance(memory, EXPERT, []) == []


def test_no_expert_is_active_in_a_dream():
    memory, dreams, quiz = learner()
    memory.router.table = {}
    assert importance(memory, EXPERT, dreams) == [0.0, 0.0, 0.0]
    assert gains(memory, dreams, quiz) == [0.0, 0.0, 0.0]


def gains(memory, dreams, quiz, steps=2, **limits):
    config = DreamingSettings(copy_steps=steps, copy_learning_rate=1e-2)
    return reward(sleep_context(memory, config, **limits), EXPERT, dreams, quiz)


@pytest.mark.parametrize("router", ["names", "always"])
def test_copies_learn_alone(router):
    memory, dreams, quiz = learner(router)
    before, table = snapshot(memory), dict(getattr(memory.router, "table", {}))
    router_before, unlocked = memory.router, list(memory.unlocked)
    together = gains(memory, dreams, quiz)
    assert memory.router is router_before
    assert memory.unlocked == unlocked
    assert getattr(router_before, "table", {}) == table
    assert same(memory, before)
    alone = [gains(memory, [items], quiz)[0] for items in dreams]
    assert together == pytest.approx(alone, abs=2e-3)
    assert max(together) - min(together) > 0.02
    assert gains(memory, dreams[::-1], quiz) == pytest.approx(alone[::-1], abs=2e-3)


def test_gains_by_hand():
    """A single copy, trained as a plain expert is, on the quiz as a plain pass sees it."""
    memory, dreams, quiz = learner()
    found = gains(memory, dreams[2:], quiz, steps=3)[0]
    with memory.training(EXPERT):
        own = [p for e in memory.experts(EXPERT) for p in e.parameters()]
        optimiser = torch.optim.AdamW(own, 1e-2, weight_decay=0.0)
        evening = [gradient(memory, [item], own)[0] for item in quiz]
        for _ in range(3):
            batch = make_collator(memory.lm, 0.0)(dreams[2:], "cpu")
            logits = memory.lm.model(input_ids=batch.ids, use_cache=False).logits.flatten(0, 1)
            wanted = batch.ids.flatten()[batch.positions + 1]
            losses = torch.nn.functional.cross_entropy(
                logits[batch.positions], wanted, reduction="none"
            )
            ((losses * batch.weights).sum() / batch.weights.sum()).backward()
            optimiser.step()
            optimiser.zero_grad()
        morning = [gradient(memory, [item], own)[0] for item in quiz]
    assert found == pytest.approx(np.mean(evening) - np.mean(morning), abs=2e-3)
    assert abs(found) > 0.05


def test_a_dream_about_the_quiz_helps_with_it():
    memory, dreams, quiz = learner()
    alike = score_with_teacher(
        memory.lm, [(q.replace("Where", "Tell me where"), a) for q, a in PAIRS[6:]]
    )
    own, other, _ = gains(memory, [alike, dreams[0], dreams[1]], quiz, steps=4)
    assert own > 0
    assert own > other


def test_no_budget_no_gain():
    memory, dreams, quiz = learner()
    assert gains(memory, dreams, quiz, night_train_tokens=5) == [0.0, 0.0, 0.0]
    spent = memory.lm.meter.train_tokens
    tokens = sum(len(item.ids) for items in dreams for item in items) + len(dreams)
    gains(memory, dreams, quiz, night_train_tokens=tokens * 2)
    assert memory.lm.meter.train_tokens - spent == tokens * 2


def test_copies_go_even_after_an_error():
    memory, *_ = learner()
    before, router = snapshot(memory), memory.router
    with pytest.raises(AttributeError), isolated_copies(memory, EXPERT, 2) as copies:
        copies.nothing()
    assert memory.router is router
    assert same(memory, before)


def day(dreams, recollections):
    nothing = {"episodes": {}, "episode_items": [], "rehearsals": [], "entities": [], "dreamt": 0}
    return ConsolidationData(dreams, recollections, **nothing)


def settings(**values):
    return DreamingSettings(
        **{"kept_by_importance": 1, "kept_at_random": 1, "gradient_selection": True, **values}
    )


def test_the_most_important_and_some_at_random_are_kept():
    memory, dreams, _ = learner()
    scores = importance(memory, EXPERT, dreams)
    best = dreams[int(np.argmax(scores))]
    others = set()
    context = sleep_context(memory, settings())
    for seed in range(12):
        kept = select_dreams(context, EXPERT, dreams, np.random.default_rng(seed))
        assert kept[0] is best
        assert kept[1] is not best
        others.add(dreams.index(kept[1]))
    assert len(others) == 2
    plain = sleep_context(memory, settings(gradient_selection=False))
    first = [select_dreams(plain, EXPERT, dreams, np.random.default_rng(s))[0] for s in range(12)]
    assert len({dreams.index(items) for items in first}) == 3


def test_questions_of_a_dream_do_not_count_for_it():
    memory, dreams, quiz = learner()
    told, other, _ = gains(memory, [quiz, dreams[0], dreams[1]], quiz)
    assert told == 0.0
    assert other != 0.0
    rest = gains(memory, [quiz[:1]], quiz, steps=3)
    assert rest == pytest.approx(gains(memory, [quiz[:1]], quiz[1:], steps=3))


def test_the_quiz_is_of_dreams_and_of_the_day():
    memory, dreams, _ = learner()
    data = day(
        score_with_teacher(memory.lm, [*PAIRS, ("Who?", "Ada")]),
        score_with_teacher(memory.lm, [("Why?", "x")]),
    )
    dreamt = {item.pair for sample in dreams for item in sample}
    for size, share in ((4, 3), (6, 4), (99, 6)):
        rng = np.random.default_rng(0)
        quiz = [x.pair for x in build_quiz(data, dreams, size, rng)]
        assert len(set(quiz)) == len(quiz) == min(size, 11)
        assert sum(pair in dreamt for pair in quiz) == share
    assert {("Who?", "Ada"), ("Why?", "x")} < set(quiz)


def test_dreams_that_say_the_same_are_one():
    _, (one, two, _), _ = learner()
    assert deduplicate([one, [], two, two[::-1], one]) == [one, two]


def test_rewarded_dreams_are_rehearsed_with_others():
    memory, dreams, _ = learner()
    *examples, recalled = score_with_teacher(memory.lm, [*PAIRS, ("Why?", "x")])
    found = with_hard_targets([dreams[2], dreams[2]], [*examples, recalled])
    hard = [x for x in found if x.targets.min() < -1000]
    assert [x.pair for x in hard] == [x.pair for x in dreams[2]]
    soft = [x.pair for x in found[len(hard) :]]
    assert soft == [*PAIRS[:3], *PAIRS[6:], ("Why?", "x")]  # nothing that was rewarded, all else


def test_importance_follows_the_gradient_of_the_whole_model(capsys):
    """The proxy: rank correlation over the embedded model's dreams about an Almanac day."""
    env = gymnasium.make("sleepgym/Almanac-v1", days=1)
    observation, _ = env.reset(seed=5)
    while not observation["documents"]:
        observation, *_ = env.step(())
    lm = LanguageModel.load("embedded")
    shown = zip(observation["documents"], observation["titles"], strict=True)
    documents = [lm.prompter.document(Document(text, title)) for text, title in shown]
    written = generate_qa(lm, [documents] * 20, tokens=80, seed=1)
    samples = [score_with_teacher(lm, list(dict.fromkeys(sample))) for sample in written if sample][
        :16
    ]
    assert len(samples) == 16
    memory = make_memory(lm, rank=8, first_layer=0.34, router="always")
    found = importance(memory, memory.unlock(), samples)
    whole = [p for n, p in lm.model.named_parameters() if ".levels." not in n]
    lm.model.requires_grad_(True)
    wanted = [gradient(memory, items, whole)[1] for items in samples]
    ranks = [np.argsort(np.argsort(values)) for values in (found, wanted)]
    correlation = float(np.corrcoef(*ranks)[0, 1])
    with capsys.disabled():
        print(f"\nrank correlation of importance with the full gradient: {correlation:.2f}")
    assert correlation > 0.4
