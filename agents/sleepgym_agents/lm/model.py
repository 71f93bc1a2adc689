"""One small class over any causal language model of transformers."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Hashable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from sleepgym.core.budget import Meter, Night
from sleepgym_agents.lm.attention import NAME, Segment, hidden_value, segment_attention
from sleepgym_agents.lm.kv_cache import cache_argument
from sleepgym_agents.lm.loading import load_model
from sleepgym_agents.lm.prompt_format import CHOSEN
from sleepgym_agents.lm.prompts import Prompter
from sleepgym_agents.lm.reading_check import check_reading

CACHED_PARAMETERS = 300_000_000
LEAST_BYTES = 1_420_000_000  # of a GPU for decoding; reading takes 1/3 of as much beside it
LENGTH_TOKENS = 64  # static caches are rounded up to so many, so that shapes repeat
CAPTURED_STEPS = 4  # fewer tokens are decoded without capturing a step
_trusted = {"embedded", "scratch"}  # read as they should be: by our tests, or when first loaded
_pristine: dict[tuple[str, int, str], tuple[PreTrainedModel, Prompter, torch.device]] = {}

torch.set_flush_denormal(True)
torch.backends.cuda.enable_cudnn_sdp(False)  # it plans anew, for long, for every shape of a batch


class LanguageModel:
    """Weights, tokenizer and prompt format, with every token charged to a meter.

    Attributes:
        model: The transformers model, in evaluation mode except while it is trained.
        prompter: Turns texts into token ids.
        meter: What is charged: 2 operations a parameter and token forward, 6 in training. The
            estimate counts all parameters and leaves out attention over the context, as usual.
        extra_parameters: Parameters that a token passes beside the model's own, by what they are:
            ``lm.extra_parameters["experts"] = n``. Whoever adds modules says here how many count.
        attention: The registered name of the attention function that reads segments.
    """

    attention: ClassVar[str] = NAME

    def __init__(
        self, model: PreTrainedModel, prompter: Prompter, meter: Meter | None = None
    ) -> None:
        self.model = model
        self.prompter = prompter
        self.meter = meter or Meter()
        self.captured: dict[Any, Any] = {}
        self.captured_for: Hashable = None
        self.decoding_key: Callable[[], Hashable] = tuple
        self.extra_parameters: dict[str, int] = {}
        self._own_parameters = model.num_parameters()
        self._own_bytes = model.get_memory_footprint()

    @classmethod
    def load(cls, name: str, seed: int = 0, meter: Meter | None = None) -> LanguageModel:
        """Load a model; a copy of its own each time, cheap after the first.

        Args:
            name: ``"embedded"``, a folder, a GGUF file, a fetched model's name, a hub id
                (``org/name`` or ``org/name@revision``), or ``"scratch"``: small, random weights
                derived from ``seed``.
            seed: Used by ``"scratch"`` only.
            meter: What to charge.

        Raises:
            UnknownName: If there is no such folder or name.
            MissingData: If the model cannot be loaded whole, or is of a family that cannot be
                read as this suite reads.
        """
        key = (name, seed if name == "scratch" else 0, os.environ.get(CHOSEN, ""))
        if key not in _pristine:
            loaded = load_model(name, seed)
            if name not in _trusted:
                check_reading(cls(*loaded), name)
                _trusted.add(name)
            model, prompter = loaded
            if getattr(model, "hf_device_map", None) or model.num_parameters() > CACHED_PARAMETERS:
                return cls(*loaded, meter)
            device = model.device
            _pristine.clear()  # one base model at a time, in main memory
            _pristine[key] = model.to("cpu"), prompter, device
        model, prompter, device = _pristine[key]
        return cls(copy.deepcopy(model).to(device), prompter, meter)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.device

    @property
    def parameters(self) -> int:
        """Number of parameters that a token passes, tied ones once: the model's own and extra."""
        return self._own_parameters + sum(self.extra_parameters.values())

    def captures(self, steps: int) -> bool:
        """Whether decoding so many steps goes by captured ones: on a GPU, where it pays."""
        return self.device.type == "cuda" and steps >= CAPTURED_STEPS and not self.spread

    @property
    def spread(self) -> bool:
        """Whether its layers are on several devices."""
        return len(set((getattr(self.model, "hf_device_map", None) or {}).values())) > 1

    def affords(self, night: Night, *, read: int = 0, generated: int = 0) -> bool:
        """Whether the night's budget allows to read and to sample so many more tokens."""
        flops = 2 * self.parameters * (read + generated)
        return night.allows(night_generated_tokens=generated, night_flops=flops)

    @property
    def max_tokens(self) -> int:
        """Longest sequence: the positions of the model, or its shortest attention window.

        LongRoPE turns positions otherwise once a sequence is longer than the model was first
        trained on, earlier ones included: what was read once could not be gone on from.
        """
        config = self.model.config.get_text_config()
        limits = [
            getattr(config, name, None) or 2**31
            for name in ("max_position_embeddings", "attention_chunk_size")
        ]
        rotary = getattr(config, "rope_parameters", None) or {}
        for rope in (rotary, *rotary.values()):  # one for all layers, or one a kind of them
            if isinstance(rope, dict) and rope.get("rope_type") == "longrope":
                short = rope.get("original_max_position_embeddings")
                limits.append(short or config.original_max_position_embeddings)
        if getattr(config, "use_sliding_window", True):
            limits.append(getattr(config, "sliding_window", None) or 2**31)
        return min(limits)

    @property
    def batch_tokens(self) -> int:
        """Tokens of one forward pass without gradient: enough to fill the device."""
        return 8192 if self.device.type == "cpu" else 131_072

    @property
    def memory_bytes(self) -> int:
        """What decoding may take of a GPU beside the weights.

        It depends on the device and the model alone, not on what is free: the same batches are read
        in every run.
        """
        if self.device.type != "cuda":
            return 2**40
        total = torch.cuda.get_device_properties(self.device).total_memory
        return min(total // 5, max(LEAST_BYTES, 4 * self._own_bytes))

    def batch_rows(self, length: int, attended: int, logits: int) -> int:
        """Rows of one forward pass that its memory admits, 1 at least.

        Args:
            length: Tokens of a row.
            attended: Tokens that each of them sees.
            logits: Positions of a row for which logits are computed.
        """
        config = self.model.config.get_text_config()
        if self.device.type == "cpu":
            return max(1, 2**28 // (config.vocab_size * logits))
        width = config.hidden_size
        inner = getattr(config, "intermediate_size", None) or 4 * width
        token_numbers = 16 * width + 4 * inner + 4 * attended
        numbers = length * token_numbers + 4 * attended * width  # keys and values for every head
        row_bytes = self.model.dtype.itemsize * numbers + 12 * logits * config.vocab_size
        return max(1, self.memory_bytes // 3 // row_bytes)

    def decoding_rows(self, length: int) -> int:
        """Rows of so many tokens that are decoded together: those whose keys and values fit."""
        rounded = -(-length // LENGTH_TOKENS) * LENGTH_TOKENS
        return max(1, self.memory_bytes // (self._cached_bytes * rounded))

    @property
    def _cached_bytes(self) -> int:
        """Of the keys and values of a token."""
        config = self.model.config.get_text_config()
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return 2 * config.num_hidden_layers * heads * size * self.model.dtype.itemsize

    def release(self) -> None:
        """Free the captured steps that take much memory: training needs it."""
        kept = sum(step.cache_bytes for step in self.captured.values())
        if self.captured and kept > self.memory_bytes // 4:
            self.captured.clear()

    @torch.inference_mode()
    def forward(
        self,
        ids: Tensor,
        positions: Tensor,
        mask: Tensor,
        *,
        segments: Sequence[Segment] = (),
        cache: DynamicCache | None = None,
        keep: int = 0,
        charge: int | None = None,
    ) -> Tensor:
        """Logits of a batch of tokens, without gradient.

        Args:
            ids: Token ids, (batch, length).
            positions: Position of each token, (batch, length).
            mask: Which tokens of this batch and its cache each token sees, boolean,
                (batch or 1, 1, length, cached + length).
            segments: Earlier tokens, common to the batch or one row each.
            cache: Holds the tokens of earlier calls and takes those of this one.
            keep: How many last positions to compute logits for; 0 is all.
            charge: Tokens to charge as read; None is all of them.
        """
        dtype = self.model.dtype
        bias = torch.zeros(mask.shape, dtype=dtype, device=self.device)
        bias.masked_fill_(~mask, hidden_value(dtype))
        tokens = ids.numel() if charge is None else charge
        self.meter.read_tokens += tokens
        self.meter.flops += 2 * self.parameters * tokens
        with segment_attention(self.model, self.attention):
            output = self.model(
                input_ids=ids,
                position_ids=positions,
                attention_mask=bias,
                use_cache=cache is not None,
                logits_to_keep=keep,
                segments=tuple(segments),
                **{cache_argument(self.model): cache},
            )
        return output.logits.float()

    def read(
        self,
        sequences: Sequence[Sequence[int]],
        segments: Sequence[Segment] = (),
        start: int = 0,
        keep: int = 1,
    ) -> tuple[Segment, DynamicCache, Tensor]:
        """Read a batch of token sequences, padded on the left.

        Args:
            sequences: Token ids, none empty.
            segments: What was read before.
            start: Position of the first token.
            keep: How many last positions to compute logits for.

        Returns:
            The sequences as a segment, the same as a cache to go on from, and logits,
            (batch, ``keep`` at most, vocabulary).
        """
        ids, real = left_padded(sequences, self.device)
        length = ids.shape[1]
        positions = (real.cumsum(1) - 1).clamp(min=0) + start
        causal = torch.ones(length, length, dtype=torch.bool, device=self.device).tril()
        mask = causal & real[:, None, None, :]
        cache = DynamicCache()
        logits = self.forward(
            ids,
            positions,
            mask,
            segments=segments,
            cache=cache,
            keep=keep,
            charge=sum(map(len, sequences)),
        )
        bias = None
        if not bool(real.all()):
            bias = torch.zeros(real.shape, dtype=self.model.dtype, device=self.device)
            bias = bias.masked_fill_(~real, hidden_value(bias.dtype))[:, None, None, :]
        layers = tuple((layer.keys, layer.values) for layer in cache.layers)
        return Segment(layers, bias, getattr(cache, "router_state", None)), cache, logits


def left_padded(
    sequences: Sequence[Sequence[int]], device: torch.device | str
) -> tuple[Tensor, Tensor]:
    """Token ids aligned on the right, and which of them are real."""
    length = max(map(len, sequences))
    ids = torch.tensor([[0] * (length - len(s)) + list(s) for s in sequences], device=device)
    sizes = torch.tensor([len(s) for s in sequences], device=device)
    return ids, torch.arange(length, device=device) >= length - sizes[:, None]


def common_prefix(sequences: Sequence[Sequence[int]]) -> int:
    """Length of the prefix that all sequences share, short of the last token of each."""
    if len(sequences) < 2:
        return 0
    first, last = min(sequences), max(sequences)
    limit = min(map(len, sequences)) - 1
    same = (i for i in range(limit) if first[i] != last[i])
    return next(same, limit)
