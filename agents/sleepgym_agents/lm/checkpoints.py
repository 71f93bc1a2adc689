"""Weights on disk, byte for byte the same for the same weights."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from sleepgym.core.errors import BadRun


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
