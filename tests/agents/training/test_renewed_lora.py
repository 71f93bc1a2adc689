"""An adapter that starts anew is, bit for bit, one that PEFT injects."""

import pytest
import torch

from sleepgym_agents.lm.checkpoints import named_weights
from sleepgym_agents.lm.lora import temporary_lora
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.training import renewed_lora as module
from sleepgym_agents.training.renewed_lora import FirstWeights, renewed_lora

SEEDS = [3, 2**40 + 1, 3, 0]


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
    real = module._inject_again
    monkeypatch.setattr(module, "_inject_again", lambda *args: (again.append(args), real(*args)))
    if not drawn_alike:
        monkeypatch.setattr(FirstWeights, "draw", lambda self, seed: torch.zeros(10**6))
        monkeypatch.setattr(FirstWeights, "put", lambda self, drawn: spoil(self.lm))
    state = torch.get_rng_state()
    places = set()
    with renewed_lora(lm, 4, 8.0, SEEDS) as renewed:
        for seed, fresh in zip(SEEDS, expected, strict=True):
            assert next(renewed) == seed
            torch.testing.assert_close(adapter(lm), fresh, atol=0, rtol=0)
            places.add(tuple(p.data_ptr() for p in lm.model.parameters()))
            trained = [n for n, p in lm.model.named_parameters() if p.requires_grad]
            assert trained == [n for n, _ in lm.model.named_parameters() if "lora_" in n]
            spoil(lm)
        assert next(renewed, None) is None
    assert len(again) == (0 if drawn_alike else 3)  # else PEFT draws otherwise than it did
    assert len(places) == 1
    assert torch.get_rng_state().equal(state)
    assert_same(lm, before)


def test_an_error_leaves_the_model_as_it_was():
    lm = LanguageModel.load("scratch", seed=2)
    before = own_weights(lm)

    def fail():
        with renewed_lora(lm, 4, 8.0, SEEDS) as renewed:
            for number, _ in enumerate(renewed):
                spoil(lm)
                if number == 1:
                    raise KeyError("x")

    with pytest.raises(KeyError):
        fail()
    assert_same(lm, before)
    assert "lora" not in lm.extra_parameters
