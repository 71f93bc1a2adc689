"""An adapter a day: the base is untouched, adapters add up, O-LoRA's keep apart."""

import pytest
import torch

from sleepgym import Budget, Document, Night, Question
from sleepgym.core.errors import BadSetting
from sleepgym_agents.baselines.finetuning.lora_per_day import LoraPerDay, LoraPerDaySettings
from sleepgym_agents.baselines.finetuning.o_lora import OLora, OLoraSettings, orthogonality_penalty
from sleepgym_agents.lm.checkpoints import named_weights
from sleepgym_agents.lm.model import LanguageModel

QUICK = {"epochs": 6, "max_answer_tokens": 8, "rank": 4}
DAYS = (
    ("Mira Tolwen was born in Oslo.", "how is the weather", "weather"),
    ("Ben Arruda keeps forty bees.", "send money to my brother", "transfer"),
    ("Lin Okafor repairs old clocks.", "say hello in french", "translate"),
)


def make(cls, **values):
    settings = {LoraPerDay: LoraPerDaySettings, OLora: OLoraSettings}[cls]
    return cls(settings(**{**QUICK, **values}), seed=3, model="scratch")


def night(agent, number=1, **limits):
    return Night(number, Budget(**limits), 0, agent.meter)


def live(agent, days=3):
    for number, (text, question, answer) in enumerate(DAYS[:days], 1):
        agent.study([Document(text)])
        agent.practice([Question(question)], [answer])
        agent.sleep(night(agent, number))


def logits(lm):
    with torch.no_grad():
        return lm.model(torch.tensor([lm.prompter.prompt("how is the money?")])).logits


def overlaps(agent):
    """Largest cosine between the subspaces of two adapters' inputs, over layers and pairs."""
    names = [name for name in agent.adapters[0] if name.endswith(".A")]
    spans = [{n: torch.linalg.qr(a[n].T).Q for n in names} for a in agent.adapters]
    pairs = [(i, j) for i in range(len(spans)) for j in range(i)]
    return max(
        float(torch.linalg.svdvals(spans[i][n].T @ spans[j][n])[0]) for i, j in pairs for n in names
    )


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_merged_adapters_act_as_pefts_active_ones():
    from peft import LoraConfig, inject_adapter_in_model
    from peft.tuners.tuners_utils import BaseTunerLayer

    agent = make(LoraPerDay)
    live(agent)
    lm = LanguageModel.load("scratch", seed=3)
    config = LoraConfig(r=4, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
    for day in range(3):
        inject_adapter_in_model(config, lm.model, adapter_name=f"day{day}")
    parameters = dict(lm.model.named_parameters())
    with torch.no_grad():
        for day, adapter in enumerate(agent.adapters):
            for name, p in adapter.items():
                parameters[f"{name[:-2]}.lora_{name[-1]}.day{day}.weight"].copy_(p)
    for module in lm.model.modules():
        if isinstance(module, BaseTunerLayer):
            module.set_adapter([f"day{day}" for day in range(3)])
    torch.testing.assert_close(logits(agent.lm), logits(lm), atol=1e-4, rtol=1e-4)
    bare = logits(LanguageModel.load("scratch", seed=3))
    assert (logits(lm) - bare).abs().max() > 0.1


@pytest.mark.parametrize("cls", [LoraPerDay, OLora])
def test_older_adapters_and_the_base_never_change(cls, tmp_path):
    agent = make(cls)
    live(agent, days=1)
    first = {name: p.clone() for name, p in agent.adapters[0].items()}
    one = agent.added_parameters
    agent.study([Document(DAYS[1][0])])
    agent.sleep(night(agent, 2))
    assert agent.added_parameters == 2 * one == 2 * sum(p.numel() for p in first.values())
    assert all(torch.equal(p, first[name]) for name, p in agent.adapters[0].items())
    agent.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["adapters.safetensors"]
    other = make(cls)
    other.load(tmp_path)
    assert torch.equal(logits(other.lm), logits(agent.lm))
    agent.adapters = []
    agent._rebuild()
    base = named_weights(LanguageModel.load("scratch", seed=3).model)
    assert all(torch.equal(p, base[name]) for name, p in named_weights(agent.lm.model).items())


def test_new_adapters_are_orthogonal_to_the_old_ones_within_tolerance():
    plain, apart = make(LoraPerDay), make(OLora)
    live(plain, days=2)
    live(apart, days=2)
    assert overlaps(apart) < 0.1
    assert overlaps(plain) > 0.25
    assert all(float(a[n].abs().max()) > 0 for a in apart.adapters for n in a)  # both were learned


def test_the_penalty_is_the_papers_formula():
    generator = torch.Generator().manual_seed(0)
    first, second, new = (torch.randn(2, 5, generator=generator) for _ in range(3))
    wanted = 0.0
    for old in (first, second):
        for i in range(2):
            for j in range(2):
                wanted += float((old[i] * new[j]).sum()) ** 2
    found = orthogonality_penalty({"x.A": new, "x.B": new}, {"x.A": torch.cat([first, second])})
    assert float(found) == pytest.approx(wanted, rel=1e-5)
    assert float(orthogonality_penalty({"x.A": new}, {"x.A": torch.zeros(0)})) == 0.0


def test_a_layer_without_directions_left_says_which_rank_fits():
    agent = make(OLora, rank=40, epochs=1)
    live(agent, days=2)
    agent.study([Document(DAYS[2][0])])
    with pytest.raises(BadSetting, match=r"rank=40: 2 adapters leave 16 .* set rank to 32 or less"):
        agent.sleep(night(agent, 3))


@pytest.mark.parametrize("cls", [LoraPerDay, OLora])
def test_a_night_without_budget_adds_nothing(cls):
    agent = make(cls)
    bare = logits(agent.lm)
    agent.study([Document(DAYS[0][0])])
    log = agent.sleep(night(agent, night_train_tokens=1))
    assert log == {"steps": 0.0, "stopped_by_budget": 1.0, "adapters": 0.0}
    assert agent.added_parameters == 0
    assert torch.equal(logits(agent.lm), bare)
