"""What training and saving all weights takes is said before anything is trained."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import pytest
import torch

from sleepgym.core.errors import BadSetting
from sleepgym_agents.baselines import trained_weights
from sleepgym_agents.baselines.finetuning.naive import Naive
from sleepgym_agents.baselines.finetuning.naive_lora import NaiveLora
from sleepgym_agents.lm.lora import add_lora
from sleepgym_agents.lm.model import LanguageModel


def test_a_full_disk_is_foretold(monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(BadSetting, match=r"all weights, 0\.\d\d GB.*set TMPDIR .* naive-lora"):
        Naive(model="scratch")
    NaiveLora(model="scratch")  # keeps an adapter


def test_a_small_gpu_is_foretold(monkeypatch):
    lm = LanguageModel.load("scratch")
    size = lm.model.get_memory_footprint(return_buffers=False)
    there = SimpleNamespace(total_memory=4 * size)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: there)
    monkeypatch.setattr(LanguageModel, "device", SimpleNamespace(type="cuda"))
    with pytest.raises(BadSetting, match=r"training takes .* of the GPU"):
        trained_weights.foretell_whole_weights(lm)
    there.total_memory = 5 * size
    trained_weights.foretell_whole_weights(lm)


def test_the_size_of_a_large_state_is_said(monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setattr(trained_weights, "SAID_BYTES", 10)
    trained_weights.foretell_whole_weights(LanguageModel.load("scratch"))
    assert "kept once: the last night's" in caplog.text


def test_adapters_are_in_single_precision():
    lm = LanguageModel.load("scratch")
    lm.model.to(torch.bfloat16)
    add_lora(lm, 4, 8.0, 0)
    kinds = {("lora_" in name, p.dtype) for name, p in lm.model.named_parameters()}
    assert kinds == {(True, torch.float32), (False, torch.bfloat16)}
    assert lm.model(torch.tensor([[1, 2]])).logits.dtype == torch.bfloat16
