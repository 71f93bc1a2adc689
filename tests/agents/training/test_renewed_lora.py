"""An adapter that starts anew is, bit for bit, one that PEFT injects."""

import copy
import pickle
from dataclasses import dataclass

import pytest
import torch
from peft.tuners.tuners_utils import BaseTunerLayer

from sleepgym_agents.lm import lora as lora_module
from sleepgym_agents.lm.checkpoints import named_weights
from sleepgym_agents.lm.lora import temporary_lora
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.training import renewed_lora as module
from sleepgym_agents.training.optimise import OptimiserSettings
from sleepgym_agents.training.renewed_lora import FirstWeights, RenewedLora

SEEDS = [3, 2**40 + 1, 3, 0]


@dataclass(frozen=True)
class AdapterSettings(OptimiserSettings):
    rank: int = 4
    alpha: float = 8.0


def adapter(lm):
    return [p.detach().clone() for p in named_weights(lm.model, "lora_").values()]


def injected(lm, seed):
    with temporary_lora(lm, 4, 8.0, seed):
        return adapter(lm)


def own_weights(lm):
    return {name: p.detach().clone() for name, p in lm.model.named_parameters()}


def assert_same(lm, before):
    after = dict(lm.model.named_parameters())
    assert list(after) == list(before)
    assert all(p.equal(before[name]) and p.requires_grad for name, p in after.items())


def assert_alone(lm, before):
    assert_same(lm, before)
    assert not lm.extra_parameters
    assert not hasattr(lm.model, "peft_config")
    assert not any(isinstance(m, BaseTunerLayer) for m in lm.model.modules())


@pytest.fixture
def injections(monkeypatch):
    """The calls of PEFT that make an adapter."""
    made = []
    real = lora_module.add_lora
    monkeypatch.setattr(lora_module, "add_lora", lambda *args: (made.append(args), real(*args)))
    return made


def spoil(lm):
    with torch.no_grad():
        for p in named_weights(lm.model, "lora_").values():
            p.fill_(float("nan"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("drawn_alike", [True, False])
def test_an_adapter_starts_anew_as_one_that_is_injected(dtype, drawn_alike, monkeypatch):
    lm = LanguageModel.load("scratch", seed=2)
    lm.model.to(dtype)
    before = own_weights(lm)
    expected = [injected(lm, seed) for seed in SEEDS]
    again = []
    real = module.add_lora
    monkeypatch.setattr(module, "add_lora", lambda *args: (again.append(args), real(*args)))
    if not drawn_alike:
        monkeypatch.setattr(FirstWeights, "draw", lambda self, seed: torch.zeros(10**6))
        monkeypatch.setattr(FirstWeights, "put", lambda self, drawn: spoil(self.lm))
    state = torch.get_rng_state()
    places = set()
    with RenewedLora(AdapterSettings()).trainers(lm, SEEDS) as trainers:
        for fresh in expected:
            next(trainers)
            torch.testing.assert_close(adapter(lm), fresh, atol=0, rtol=0)
            places.add(tuple(p.data_ptr() for p in lm.model.parameters()))
            trained = [n for n, p in lm.model.named_parameters() if p.requires_grad]
            assert trained == [n for n, _ in lm.model.named_parameters() if "lora_" in n]
            spoil(lm)
        assert next(trainers, None) is None
    assert len(again) == (0 if drawn_alike else 3)  # else PEFT draws otherwise than it did
    assert len(places) == 1
    assert torch.get_rng_state().equal(state)
    assert_same(lm, before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_adapter_is_put_back_as_one_that_is_injected(dtype, injections):
    lm = LanguageModel.load("scratch", seed=2)
    lm.model.to(dtype)
    before = own_weights(lm)
    expected = [injected(lm, seed) for seed in SEEDS]
    injections.clear()
    lora = RenewedLora(AdapterSettings())
    made = set()
    for seed, fresh in zip(SEEDS, expected, strict=True):
        with lora.trainers(lm, [seed]) as trainers:
            made.add(next(trainers))
            torch.testing.assert_close(adapter(lm), fresh, atol=0, rtol=0)
            assert lm.extra_parameters["lora"] == sum(p.numel() for p in fresh)
            trained = [n for n, p in lm.model.named_parameters() if p.requires_grad]
            assert trained == list(named_weights(lm.model, "lora_"))
            spoil(lm)
            lm.model.requires_grad_(False)
        assert_alone(lm, before)
    assert len(made) == len(injections) == 1


@pytest.mark.parametrize("change", ["module", "weights", "model", "copy", "pickle", "large"])
def test_what_no_longer_fits_is_made_anew(change, injections, monkeypatch):
    lm = LanguageModel.load("scratch", seed=2)
    if change == "large":
        monkeypatch.setattr(LanguageModel, "memory_bytes", 0)
    lora = RenewedLora(AdapterSettings())
    with lora.trainers(lm, [3, 0]) as trainers:
        next(trainers)
    name = next(n for n, m in lm.model.named_modules() if isinstance(m, torch.nn.Linear))
    linear = lm.model.get_submodule(name)
    if change == "module":
        parent, _, child = name.rpartition(".")
        setattr(lm.model.get_submodule(parent), child, copy.deepcopy(linear))
    elif change == "weights":
        linear.weight.data = linear.weight.data.clone()
    elif change == "model":
        lm = LanguageModel.load("scratch", seed=2)
    elif change == "copy":
        lora = copy.deepcopy(lora)
    elif change == "pickle":
        lora = pickle.loads(pickle.dumps(lora))
    before = own_weights(lm)
    expected = injected(lm, 5)
    injections.clear()
    with lora.trainers(lm, [5]) as trainers:
        next(trainers)
        torch.testing.assert_close(adapter(lm), expected, atol=0, rtol=0)
    assert len(injections) == 1
    assert_alone(lm, before)


def test_a_large_adapter_for_one_purpose_is_not_drawn_again(monkeypatch):
    lm = LanguageModel.load("scratch", seed=2)
    monkeypatch.setattr(LanguageModel, "memory_bytes", 0)
    monkeypatch.setattr(FirstWeights, "draw", lambda self, seed: pytest.fail("drawn"))
    expected = injected(lm, 3)
    with RenewedLora(AdapterSettings()).trainers(lm, [3]) as trainers:
        next(trainers)
        torch.testing.assert_close(adapter(lm), expected, atol=0, rtol=0)


@pytest.mark.parametrize("kept", [False, True])
def test_an_error_leaves_the_model_as_it_was(kept):
    lm = LanguageModel.load("scratch", seed=2)
    before = own_weights(lm)
    lora = RenewedLora(AdapterSettings())

    def use(fails):
        with lora.trainers(lm, SEEDS) as trainers:
            for number, _ in enumerate(trainers):
                torch.testing.assert_close(adapter(lm), expected[number], atol=0, rtol=0)
                spoil(lm)
                if fails and number == 1:
                    raise KeyError("x")

    expected = [injected(lm, seed) for seed in SEEDS]
    if kept:
        use(fails=False)
    with pytest.raises(KeyError):
        use(fails=True)
    assert_alone(lm, before)
    use(fails=False)
    assert_alone(lm, before)
