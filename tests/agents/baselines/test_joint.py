"""Joint training: all material kept, anew from the bare model every night."""

import pytest
import torch

from sleepgym import Budget, Document, Night, Question
from sleepgym.core.errors import BadRun
from sleepgym_agents.baselines.finetuning import joint
from sleepgym_agents.baselines.finetuning.joint import Joint, JointSettings, majority_answers
from sleepgym_agents.lm.checkpoints import named_weights
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.training import local_model

QUICK = {
    "epochs": 1,
    "max_answer_tokens": 8,
    "samples": 2,
    "sample_tokens": 8,
    "rehearsed": 2,
    "rehearsed_tokens": 8,
    "rehearsed_batch": 2,
}


def make(**values):
    return Joint(JointSettings(**{**QUICK, **values}), seed=3, model="scratch")


def night(agent, number=1, **limits):
    return Night(number, Budget(**limits), 0, agent.meter)


def dreaming(monkeypatch, read):
    """Dreams that ask for the last word of every document read; ``read`` notes what was read."""

    def generate_qa(lm, contexts, **_):
        texts = [[lm.prompter.tokenizer.decode(part).strip() for part in c] for c in contexts]
        read.append(texts)
        return [[(f"{text[:3]}?", text.rsplit(" ", 1)[1]) for text in c] for c in texts]

    monkeypatch.setattr(local_model, "generate_qa", generate_qa)


def test_documents_are_dreamt_of_again_when_a_new_one_stands_beside_them(monkeypatch):
    agent, read = make(related=1), []  # two chains each: alone, and beside the nearest
    dreaming(monkeypatch, read)
    agent.study([Document("Ben lives in Lagos"), Document("Mira repairs clocks")])
    agent.sleep(night(agent))
    assert read[0] == [["Ben lives in Lagos"]] * 2 + [["Mira repairs clocks"]] * 2
    agent.study([Document("Ben lives in Oslo")])
    agent.sleep(night(agent, 2))
    pair = ["Ben lives in Lagos", "Ben lives in Oslo"]  # in the order they came
    assert read[1] == [pair[:1], pair, pair[1:], pair]
    assert agent.generated[1] == [("Mir?", "clocks")] * 2
    agent.study([Document("Tom sings")])
    agent.sleep(night(agent, 3))
    assert read[2] == [["Tom sings"]] * 2


def test_dreams_agree_on_the_commonest_answer_and_the_last_of_equals():
    first, second = [("a?", "1"), ("b?", "1")], [("a?", "2"), ("b?", "2"), ("b?", "1")]
    assert majority_answers([first, second]) == [("a?", "2"), ("b?", "1")]


def test_all_material_is_kept_and_trained_on_anew_from_the_bare_model(monkeypatch, tmp_path):
    agent = make()
    dreaming(monkeypatch, [])
    seen = []
    original = joint.optimise

    def optimise(lm, steps, *rest, **options):
        bare = named_weights(LanguageModel.load("scratch", seed=3).model)
        same = all(torch.equal(p, bare[n]) for n, p in named_weights(lm.model).items())
        texts = [lm.prompter.tokenizer.decode(e.ids) for new, _ in steps for e in new]
        seen.append((same, " ".join(texts)))
        return original(lm, steps, *rest, **options)

    monkeypatch.setattr(joint, "optimise", optimise)
    agent.study([Document("Ben lives in Lagos")])
    agent.practice([Question("send money")], ["pay"])
    agent.sleep(night(agent))
    agent.save(tmp_path)
    again = make()
    again.load(tmp_path)
    again.study([Document("Mira repairs clocks")])
    log = again.sleep(night(again, 2))
    assert log["outside_budget"] == 1.0
    assert [same for same, _ in seen] == [True, True]
    for text in ("<q>Ben?<a>Lagos<end>", "<q>send money<a>pay<end>"):
        assert all(seen_text.count(text) == 1 for _, seen_text in seen)
    assert "<q>Mir?<a>clocks<end>" in seen[1][1]
    (tmp_path / "material.json").write_text("[]")
    with pytest.raises(BadRun, match=r"material\.json"):
        make().load(tmp_path)


def test_a_document_without_a_dream_is_learned_as_text(monkeypatch):
    agent = make()
    monkeypatch.setattr(
        local_model, "generate_qa", lambda lm, contexts, **_: [[] for _ in contexts]
    )
    agent.study([Document("Ben lives in Lagos", "Ben")])
    agent.sleep(night(agent))
    texts = [agent.lm.prompter.tokenizer.decode(e.ids) for e in agent._examples(agent.lm)]
    assert texts == ["Ben\nBen lives in Lagos\n"]


@pytest.mark.parametrize("limit", [{"night_generated_tokens": 20}, {"night_flops": 1e6}])
def test_without_budget_nothing_is_trained_and_the_day_is_kept(limit):
    agent = make()
    agent.study([Document("Ben lives in Lagos")])
    log = agent.sleep(night(agent, **limit))
    assert (log["steps"], log["stopped_by_budget"]) == (0.0, 1.0)
    assert not agent.weights.learned
    assert len(agent.documents.notes) == 1
    assert agent.sleep(night(agent, 2))["outside_budget"] == 1.0
