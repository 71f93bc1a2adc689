"""Weights on disk, byte for byte the same for the same weights; and LoRA adapters."""

from __future__ import annotations

import hashlib
import json
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from sleepgym.core.errors import BadRun
from sleepgym_agents.lm.model import LanguageModel


def named_weights(model: torch.nn.Module, only: str = "") -> dict[str, Tensor]:
    """Parameters whose name contains ``only``, tied ones once."""
    return {name: p.detach() for name, p in model.named_parameters() if only in name}


def save_weights(model: torch.nn.Module, path: Path, only: str = "") -> None:
    """Write :func:`named_weights` as safetensors."""
    tensors = {name: p.contiguous().cpu() for name, p in named_weights(model, only).items()}
    save_file(tensors, path)


def load_weights(model: torch.nn.Module, path: Path, only: str = "") -> None:
    """Read what :func:`save_weights` wrote into a model of the same shape.

    Raises:
        BadRun: If the file is not safetensors, or names or shapes differ.
    """
    saved = read_tensors(path)
    own = named_weights(model, only)
    differing = {name for name in own if name not in saved or own[name].shape != saved[name].shape}
    if differing or len(own) != len(saved):
        raise BadRun(f"{path}: weights of another model ({len(saved)} tensors, not {len(own)})")
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(saved[name])


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises:
        BadRun: If it is not a readable safetensors file.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise BadRun(f"{path}: not a readable safetensors file: {error}") from error


def base_digest(model: torch.nn.Module) -> str:
    """32 hex digits of a base model's weights, rounded to bfloat16: the same on every device."""
    digest = hashlib.blake2b(digest_size=16)
    for name, p in sorted(named_weights(model).items()):
        digest.update(json.dumps([name, list(p.shape)]).encode())
        digest.update(p.bfloat16().cpu().contiguous().view(torch.int16).numpy())
    return digest.hexdigest()


def add_lora(lm: LanguageModel, rank: int, alpha: float, seed: int) -> None:
    """Put LoRA adapters (Hu et al. 2021) into every linear layer, freezing all else.

    The adapters start as the identity, in single precision whatever the model is in; they go into
    the model itself, which keeps its class.
    """
    from peft import LoraConfig, inject_adapter_in_model
    from transformers.pytorch_utils import Conv1D

    config: Any = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in lm.model.modules()),
    )
    with torch.random.fork_rng(), warnings.catch_warnings():
        # PEFT's own patterns for mixtures of experts name modules that the model need not have.
        warnings.filterwarnings("ignore", r"The following (rank|alpha)_pattern keys")
        torch.manual_seed(seed)
        inject_adapter_in_model(config, lm.model)
    lm.model.eval()
    lora = [p for name, p in lm.model.named_parameters() if "lora_" in name]
    for parameter in lora:
        parameter.data = parameter.data.float()
    lm.extra_parameters["lora"] = sum(p.numel() for p in lora)
