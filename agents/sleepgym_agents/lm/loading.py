"""From a name to weights, tokenizer and prompt format: checked, or refused in one line."""

from __future__ import annotations

import json
import logging
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from sleepgym.core.errors import BadSetting, MissingData
from sleepgym_agents.lm.prompt_format import chosen_format, given_format
from sleepgym_agents.lm.prompts import Prompter
from sleepgym_agents.lm.scratch import SCRATCH_FORMAT, byte_tokenizer, scratch_model
from sleepgym_agents.models.catalogue import known_prompt
from sleepgym_agents.models.hub import locate
from sleepgym_agents.models.memory import parameters_of, require_memory

FLOAT32_PARAMETERS = 100_000_000  # on a GPU; larger models are in bfloat16
DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
DEVICE_MAPS = ("balanced", "sequential")  # of transformers: layers on several devices
NAMED = 3  # tensors of a list that an error spells out
log = logging.getLogger(__name__)


def load_model(name: str, seed: int) -> tuple[PreTrainedModel, Prompter]:
    """Weights on the chosen device, in evaluation mode, with their prompter.

    ``SLEEPGYM_DEVICE``, ``SLEEPGYM_DTYPE`` and ``SLEEPGYM_ATTN`` choose; ``auto`` (the default) is
    a GPU where there is one, float32 where that fits (see :func:`chosen_dtype`), and what
    transformers takes. ``SLEEPGYM_DEVICE=balanced`` or ``sequential`` spreads the layers over all
    devices, as transformers' ``device_map`` of that name does. What was chosen is logged.

    Args:
        name: As :meth:`sleepgym_agents.lm.model.LanguageModel.load` takes it.
        seed: Used by ``"scratch"`` only.

    Raises:
        BadSetting: If the device, number format or attention is none.
        MissingData: If the files cannot be loaded whole, or tokenizer and weights do not fit.
    """
    transformers.logging.disable_progress_bar()
    device = chosen_device()
    if name == "scratch":
        model = scratch_model(seed)
        prompter = Prompter(given_format() or SCRATCH_FORMAT, byte_tokenizer())
    else:
        model, prompter = _from_files(name)
    try:
        model = model.to(chosen_dtype(model, device)).eval()
        if name == "scratch" or os.environ.get("SLEEPGYM_DEVICE") not in DEVICE_MAPS:
            model = model.to(device)
    except RuntimeError as error:  # too little memory, no such device
        raise MissingData(
            f"model {name!r} does not fit {device}: {_in_line(error)}; set --dtype bfloat16, "
            "--device balanced (all GPUs and the CPU) or a smaller --model"
        ) from error
    fuse_norms(model)
    log.info(
        "model %s: %s, %.3gM parameters (%.2g GB), %s on %s, attention %s",
        name,
        type(model).__name__,
        model.num_parameters() / 1e6,
        model.num_parameters() * model.dtype.itemsize / 1e9,
        str(model.dtype).removeprefix("torch."),
        model.device,
        model.config.get_text_config()._attn_implementation,
    )
    return model, prompter


def chosen_device() -> torch.device:
    """The device that ``SLEEPGYM_DEVICE`` names; a GPU where there is one if it does not.

    Raises:
        BadSetting: If there is no such device.
    """
    name = os.environ.get("SLEEPGYM_DEVICE") or "auto"
    if name == "auto" or name in DEVICE_MAPS:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        numbered = (f"cuda:{i}" for i in range(torch.cuda.device_count()))
        there = ["auto", "cpu", *DEVICE_MAPS, *numbered]
        raise BadSetting(f"device={name}: must be one of {', '.join(there)} here") from error
    return device


def chosen_dtype(model: PreTrainedModel, device: torch.device | str) -> torch.dtype:
    """The number format of ``SLEEPGYM_DTYPE``; else float32, on a GPU bfloat16 if it is large.

    A small model learns alike everywhere in float32; a large one would not fit.

    Raises:
        BadSetting: If there is no such format.
    """
    return _dtype_of(model.num_parameters(), device)


def _dtype_of(parameters: int, device: torch.device | str) -> torch.dtype:
    name = os.environ.get("SLEEPGYM_DTYPE") or "auto"
    if name == "auto":
        large = torch.device(device).type != "cpu" and parameters > FLOAT32_PARAMETERS
        return torch.bfloat16 if large else torch.float32
    if name not in DTYPES:
        raise BadSetting(f"dtype={name}: must be one of auto, {', '.join(DTYPES)}")
    return DTYPES[name]


def fuse_norms(model: PreTrainedModel) -> None:
    """Let root-mean-square norms be one kernel instead of seven, where that is the same function.

    A family's norm may differ (Gemma adds 1 to its weights): each is tried on random states. On a
    CPU it is one call instead of seven, only where nothing is trained and every bit is the same.
    """
    for module in model.modules():
        kind, weight = type(module), getattr(module, "weight", None)
        eps = getattr(module, "variance_epsilon", None)
        if not kind.__name__.endswith("RMSNorm") or not isinstance(weight, Tensor) or not eps:
            continue
        seeded = torch.Generator().manual_seed(0)
        probe = torch.randn(4, *weight.shape, generator=seeded).to(weight)
        with torch.no_grad():
            plain = module(probe)
            fused = torch.nn.functional.rms_norm(probe, weight.shape, weight, eps)
        rtol, atol = (1e-5, 1e-5) if plain.dtype == torch.float32 else (2e-2, 1e-3)  # of roundings
        if not weight.is_cuda:
            rtol = atol = 0.0
        if plain.dtype == fused.dtype and torch.allclose(plain, fused, rtol=rtol, atol=atol):
            module.__class__ = _fused(kind, weight.is_cuda)


@lru_cache(maxsize=16)
def _fused(kind: type[torch.nn.Module], trained: bool) -> type[torch.nn.Module]:
    def forward(self: Any, hidden_states: Tensor) -> Tensor:
        if not trained and torch.is_grad_enabled():
            return kind.forward(self, hidden_states)
        size = self.weight.shape
        return torch.nn.functional.rms_norm(hidden_states, size, self.weight, self.variance_epsilon)

    return type(kind.__name__, (kind,), {"forward": forward})


def _from_files(name: str) -> tuple[PreTrainedModel, Prompter]:
    source, options = locate(name)
    options = {**options, "trust_remote_code": False}
    _check_settings(name, Path(source))
    _check_memory(name, Path(source))
    attention = os.environ.get("SLEEPGYM_ATTN") or "auto"
    chosen = {} if attention == "auto" else {"attn_implementation": attention}
    if (device_map := os.environ.get("SLEEPGYM_DEVICE")) in DEVICE_MAPS:
        chosen["device_map"] = device_map
    try:
        model, report = AutoModelForCausalLM.from_pretrained(
            source,
            dtype="auto",
            use_safetensors=True,
            output_loading_info=True,
            **chosen,
            **options,
        )
        tokenizer = AutoTokenizer.from_pretrained(source, **options)
    except Exception as error:  # damaged files raise whatever their readers raise
        if chosen and "ttention" in str(error):
            raise BadSetting(f"attn={attention}: {_in_line(error)}") from error
        raise MissingData(
            f"cannot load model {name!r} (safetensors or GGUF only): {_in_line(error)}"
        ) from error
    _check_whole(name, model, report)
    form = chosen_format(Path(source), tokenizer, known_prompt(name))
    prompter = Prompter(form, tokenizer, _end_ids(name, model))
    _check_tokenizer(name, model, tokenizer)
    return model, prompter


def _check_settings(name: str, folder: Path) -> None:
    """Refuse settings that are damaged: transformers reads some as if they were not there."""
    for file in sorted(folder.glob("*.json")):
        if file.name == "tokenizer.json":  # large, and never passed over
            continue
        try:
            json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise MissingData(
                f"cannot load model {name!r}: {file.name} is no JSON ({_in_line(error):.80}); "
                "fetch it anew"
            ) from error


def _check_memory(name: str, folder: Path) -> None:
    """Refuse weights that will not fit, before they are read; spread over devices they may."""
    device, parameters = chosen_device(), parameters_of(folder)
    if os.environ.get("SLEEPGYM_DEVICE") in ("balanced", "sequential"):
        return
    dtype = _dtype_of(parameters, device)
    what = f"model {name!r} in {str(dtype).removeprefix('torch.')}"
    remedy = "set --dtype bfloat16, another --device, or serve it (--model openai:URL#NAME)"
    require_memory(what, parameters * dtype.itemsize, str(device), remedy)


def _check_whole(name: str, model: PreTrainedModel, report: dict[str, Any]) -> None:
    """Refuse weights that are not all there: transformers would draw the missing at random."""
    tied = set(getattr(model, "all_tied_weights_keys", None) or ())
    missing = sorted(set(report["missing_keys"]) - tied)
    odd = sorted(str(key) for key in report.get("mismatched_keys") or ())
    if missing or odd:
        what = "lack" if missing else "have another shape in"
        raise MissingData(
            f"cannot load model {name!r}: its files {what} {_some(missing or odd)}; fetch them anew"
        )
    if unused := sorted(report.get("unexpected_keys") or ()):
        log.warning("model %s does not use %s of its files", name, _some(unused))


def _check_tokenizer(name: str, model: PreTrainedModel, tokenizer: Any) -> None:
    """Refuse a tokenizer that is empty, or that knows tokens which the weights do not."""
    if not tokenizer.encode("word"):  # transformers makes up an empty one where there is none
        raise MissingData(f"model {name!r} has no tokenizer: put its files beside the weights")
    rows = model.get_input_embeddings().weight.shape[0]
    special = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    beyond = [i for i in tokenizer.get_vocab().values() if i >= rows and i not in special]
    if beyond:
        raise MissingData(
            f"model {name!r}: its tokenizer goes up to token {max(beyond)}, its embeddings only to "
            f"{rows - 1}: these are files of two models"
        )


def _end_ids(name: str, model: PreTrainedModel) -> tuple[int, ...]:
    """All tokens that end an answer, as the generation config lists them."""
    told = getattr(model.generation_config, "eos_token_id", None)
    ends = told if isinstance(told, list | tuple) else [] if told is None else [told]
    if not all(type(end) is int for end in ends):
        raise MissingData(
            f"model {name!r}: generation_config.json, eos_token_id={told!r:.60}: must be token ids"
        )
    return tuple(ends)


def _some(names: list[str]) -> str:
    rest = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {rest} more tensors" if rest > 0 else "")


def _in_line(error: Exception) -> str:
    return f"{' '.join(str(error).split()) or type(error).__name__:.300}"
