"""InCA: Gaussians against a batch reference, candidates, and a model that is never trained."""

import numpy as np
import pytest
import torch

from sleepgym import Budget, Document, Night, Question
from sleepgym.core.errors import BadRun, BadSetting
from sleepgym_agents.baselines.other.inca import Inca, IncaSettings
from sleepgym_agents.experts.class_gaussians import SHRINKAGE, ClassGaussians
from sleepgym_agents.lm.checkpoints import named_weights

LABELS = ("weather", "transfer", "translate", "alarm")
TEXTS = {
    "weather": ("is it going to rain", "will it rain today", "is it sunny outside"),
    "transfer": ("send money to my brother", "pay my brother some money", "send some money"),
    "translate": ("say hello in french", "how do you say bread in french", "french for dog"),
    "alarm": ("wake me at seven", "set an alarm for six", "an alarm at nine"),
}


def make(**values):
    return Inca(IncaSettings(**{"max_answer_tokens": 8, **values}), seed=3, model="scratch")


def night(agent):
    return Night(1, Budget(), 0, agent.meter)


def score_with_teacher(agent, labels=LABELS):
    pairs = [(Question(text, LABELS), label) for label in labels for text in TEXTS[label]]
    agent.practice([q for q, _ in pairs], [a for _, a in pairs])


def test_gaussians_equal_a_batch_reference_in_any_order():
    rng = np.random.default_rng(0)
    labels = np.array([0, 1, 2, *rng.integers(0, 3, 40)])
    x = rng.normal(size=(43, 5)) * [1, 2, 3, 4, 5] + labels[:, None] * [[9, 0, 1, 0, -4]]
    means = np.stack([x[labels == c].mean(0) for c in range(3)])
    apart = x - means[labels]
    covariance = apart.T @ apart / len(x)
    covariance += SHRINKAGE * np.trace(covariance) / 5 * np.eye(5)
    asked = rng.normal(size=(7, 5)) * 5
    difference = asked[:, None] - means
    wanted = np.einsum("qci,ij,qcj->qc", difference, np.linalg.inv(covariance), difference)
    for order in (range(43), [0, 1, 2, *rng.permutation(np.arange(3, 43))]):
        gaussians = ClassGaussians(5)
        for i in order:
            gaussians.add(int(labels[i]), torch.from_numpy(x[i]))
        np.testing.assert_allclose(gaussians.means, means, atol=1e-12)
        np.testing.assert_allclose(gaussians.covariance, covariance, atol=1e-10)
        found = gaussians.distances(torch.from_numpy(asked))
        np.testing.assert_allclose(found, wanted, rtol=1e-9)


def test_nothing_of_the_language_model_is_trained(tmp_path):
    agent = make()
    before = {name: p.clone() for name, p in named_weights(agent.lm.model).items()}
    score_with_teacher(agent)
    agent.sleep(night(agent))
    agent.answer([Question("send the money", LABELS)])
    assert all(torch.equal(p, before[n]) for n, p in named_weights(agent.lm.model).items())
    assert agent.meter.train_tokens == 0
    assert agent.added_parameters == 0
    agent.save(tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["classes.json", "gaussians.safetensors"]


def test_the_gaussians_choose_the_candidates_and_the_prompt_shows_them():
    agent = make(candidates=2, examples=2)
    score_with_teacher(agent)
    asked = [Question("send my brother money", LABELS), Question("hello in french", LABELS[1:])]
    narrowed = agent._narrowed(asked)
    assert [question.choices[0] for question in narrowed] == ["transfer", "translate"]
    assert all(len(question.choices) == 2 for question in narrowed)
    decode = agent.lm.prompter.tokenizer.decode
    texts = [decode(part) for part in agent.context(narrowed[0])]
    assert len(texts) == 4
    assert texts[1] == "<q>send money to my brother<a>transfer<end>"
    assert texts[3] == "<q>pay my brother some money<a>transfer<end>"
    answers = agent.answer([*asked, Question("what is this?"), Question("x", ("no", "yes"))])
    assert all(a in q.choices for a, q in zip(answers, narrowed, strict=False))
    assert answers[3] in ("no", "yes")  # classes that were never practised


def test_one_candidate_is_the_nearest_class():
    agent = make(candidates=1)
    score_with_teacher(agent)
    asked = [Question(text, LABELS) for label in LABELS for text in TEXTS[label]]
    nearest = [question.choices[0] for question in agent._narrowed(asked)]
    assert agent.answer(asked) == nearest
    right = [label for label in LABELS for _ in TEXTS[label]]
    assert sum(a == b for a, b in zip(nearest, right, strict=True)) >= 10


def test_days_add_classes_and_the_order_of_days_does_not_matter(tmp_path):
    one, other = make(), make()
    score_with_teacher(one, LABELS[:2])
    one.save(tmp_path)
    loaded = make()
    loaded.load(tmp_path)
    score_with_teacher(loaded, LABELS[2:])
    score_with_teacher(other, LABELS[2:] + LABELS[:2])
    asked = [Question(text, LABELS) for label in LABELS for text in TEXTS[label]]
    assert [q.choices for q in loaded._narrowed(asked)] == [
        q.choices for q in other._narrowed(asked)
    ]
    (tmp_path / "classes.json").write_text("{}")
    with pytest.raises(BadRun, match="0 classes, 2 means"):
        make().load(tmp_path)


def test_a_stream_without_choices_gives_one_clear_line():
    agent = make()
    agent.study([Document("Ben lives in Lagos.")])
    with pytest.raises(BadSetting, match="inca learns from practised questions with choices") as e:
        agent.sleep(night(agent))
    assert "\n" not in str(e.value)
    free = make()
    free.practice([Question("Where is Ben?")], ["Lagos"])
    with pytest.raises(BadSetting):
        free.sleep(night(free))
