"""A language model that reads segment by segment and passes memory tokens on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from sleepgym_agents.lm.attention import Segment, hidden_value, segment_attention
from sleepgym_agents.lm.checkpoints import named_weights
from sleepgym_agents.lm.kv_cache import cache_argument
from sleepgym_agents.lm.lora import add_lora
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.training.selected_logits import logits_at


def segments_of(parts: Iterable[Sequence[int]], tokens: int) -> Iterator[list[int]]:
    """Token ids of a day in segments: whole parts while they fit, longer ones cut.

    Args:
        parts: Token ids of documents and demonstrations, in order; taken one by one.
        tokens: Longest segment.
    """
    waiting: list[int] = []
    for part in parts:
        if waiting and len(waiting) + len(part) > tokens:
            yield waiting
            waiting = []
        waiting = [*waiting, *part]
        while len(waiting) > tokens:
            yield waiting[:tokens]
            waiting = waiting[tokens:]
    if waiting:
        yield waiting


class MemoryModel(LanguageModel):
    """A frozen model with a LoRA adapter, behind memory tokens that it rewrites as it reads.

    A segment is read as start marker, memory, text, and the memory moved on: its last tokens, and
    those of the text. The next memory is that, changed by what the last layer says there
    (:meth:`next_memory`). A question is read behind start marker and memory. A memory token is a
    vector like an embedding. It stands for a stretch of text: it begins as a mean of the stretch's
    embeddings, the first of which counts most, and has the position of the stretch's first token
    where it is read, and the one behind the stretch where it is written.

    Nothing is changed before something was learned: a memory of stretches of one token is then a
    window of the last tokens, which the base model reads as it reads text.

    Args:
        lm: The base model; the adapter goes into it.
        tokens: Memory tokens.
        rank: Rank of the adapter in every linear layer.
        alpha: The adapter's output is scaled by ``alpha / rank``.
        seed: Of the adapter's and the memory's first values.
        span_tokens: Tokens of text that a memory token stands for.

    Attributes:
        first_memory: The memory before anything was read, (tokens, width); trained.
        change: From what the last layer says to what changes a memory token, (width, width);
            trained.
        memory: The memory now, (tokens, width).
    """

    def __init__(
        self,
        lm: LanguageModel,
        tokens: int,
        rank: int,
        alpha: float,
        span_tokens: int,
        seed: int = 0,
    ) -> None:
        super().__init__(lm.model, lm.prompter, lm.meter)
        self.span_tokens = span_tokens
        add_lora(self, rank, alpha, seed)
        embeddings: Any = self.model.get_input_embeddings()
        self._embed_scale = float(getattr(embeddings, "embed_scale", 1.0))
        weight = embeddings.weight.detach().float().cpu() * self._embed_scale
        self._scale = float(weight.std())
        width = weight.shape[1]
        drawn = torch.randn(tokens, width, generator=torch.Generator().manual_seed(seed))
        first = weight.mean(0) + 0.1 * self._scale * drawn
        self.first_memory = nn.Parameter(first.to(self.device))
        self.change = nn.Parameter(torch.zeros(width, width, device=self.device))
        self.memory = self.first_memory.detach()
        self._prefix: Segment | None = None
        self._changes = 0  # what was captured for an earlier memory does not serve this one
        self.decoding_key = lambda: (self._changes, tuple(self.prompter.start))

    @property
    def trained(self) -> dict[str, Tensor]:
        """What is trained, by name: the adapter, the first memory, and how a memory is changed."""
        lora = {n: p for n, p in self.model.named_parameters() if "lora_" in n}
        return {**lora, "first_memory": self.first_memory, "change": self.change}

    @property
    def trained_parameters(self) -> int:
        """How many numbers that are."""
        return sum(p.numel() for p in self.trained.values())

    @property
    def max_tokens(self) -> int:
        """What the model reads beside the memory before and behind a segment."""
        return super().max_tokens - 2 * len(self.first_memory) * self.span_tokens

    @torch.no_grad()
    def take_trained(self, tensors: dict[str, Tensor]) -> None:
        """Become the model that was trained; the memory is the first one.

        Raises:
            ValueError: If names or shapes are those of another model.
        """
        own = {
            **named_weights(self.model, "lora_"),
            "first_memory": self.first_memory,
            "change": self.change,
        }
        shapes = {name: p.shape for name, p in own.items()}
        if shapes != {name: p.shape for name, p in tensors.items()}:
            raise ValueError("its names or shapes differ")
        for name, p in own.items():
            p.copy_(tensors[name])
        self.remember(self.first_memory.detach())

    def remember(self, memory: Tensor) -> None:
        """Go on with this memory, (tokens, width)."""
        self.memory, self._prefix = memory, None
        self._changes += 1

    def next_memory(self, ids: Tensor, memory: Tensor, real: Tensor | None = None) -> Tensor:
        """Read a segment behind a memory; the memory behind it, with gradient.

        Args:
            ids: Token ids, (batch, length), padded on the right.
            memory: (batch, tokens, width).
            real: Which of ``ids`` are no padding, (batch, length); None is all.

        Returns:
            (batch, tokens, width).
        """
        count = memory.shape[1]
        real = torch.ones_like(ids, dtype=torch.bool) if real is None else real
        text = self._embedded(ids)
        moved = self._moved(memory, text.float(), real)
        inputs = [*self._opened(memory), text, moved.to(text.dtype)]
        begin = inputs[0].shape[1] + inputs[1].shape[1]
        seen = nn.functional.pad(nn.functional.pad(real, (begin, 0), value=True), (0, count))
        seen[:, -count:] = True
        with segment_attention(self.model, self.attention):  # the same if computed once more
            read = self.model.base_model(
                inputs_embeds=torch.cat(inputs, 1),
                attention_mask=_causal_bias(seen, self.model.dtype),
                position_ids=self._positions(len(ids), ids.shape[1], real.sum(1, keepdim=True)),
                use_cache=False,
            ).last_hidden_state
        said = read[:, -count:].float()
        said = said * said.square().mean(-1, keepdim=True).add(1e-6).rsqrt()
        return moved + said @ self.change * (self._scale * said.shape[-1] ** -0.5)

    def logits_behind(self, ids: Tensor, memory: Tensor, places: Tensor) -> Tensor:
        """Logits at some places of sequences read behind a memory, with gradient.

        Args:
            ids: Token ids without the start marker, (batch, length), padded on the right.
            memory: (batch, tokens, width).
            places: Indices into the flattened ``ids``.

        Returns:
            (places, vocabulary).
        """
        before = self._opened(memory)
        skipped = before[0].shape[1] + before[1].shape[1]
        places = places + skipped * (places // ids.shape[1] + 1)
        inputs = torch.cat([*before, self._embedded(ids)], 1)
        seen = torch.ones(inputs.shape[:2], dtype=torch.bool, device=self.device)
        with segment_attention(self.model, self.attention):
            return logits_at(
                self.model,
                None,
                places,
                inputs_embeds=inputs,
                attention_mask=_causal_bias(seen, self.model.dtype),
                position_ids=self._positions(len(ids), ids.shape[1]),
            )

    @torch.inference_mode()
    def take_in(self, ids: Sequence[int]) -> None:
        """Read a segment of text into the memory, charged with the memory before and behind it."""
        self._charge(len(self.prompter.start) + 2 * len(self.memory) + len(ids))
        read = self.next_memory(torch.tensor([list(ids)], device=self.device), self.memory[None])
        self.remember(read[0])

    def forward(
        self,
        ids: Tensor,
        positions: Tensor,
        mask: Tensor,
        *,
        segments: Sequence[Segment] = (),
        **options: Any,
    ) -> Tensor:
        """As :meth:`LanguageModel.forward`, behind start marker and memory."""
        prefix = self.prefix()
        positions = positions + self._text_begin
        return super().forward(ids, positions, mask, segments=(prefix, *segments), **options)

    @torch.inference_mode()
    def prefix(self) -> Segment:
        """Start marker and memory as a segment, read once for each memory."""
        if self._prefix is None:
            inputs = torch.cat(self._opened(self.memory[None]), 1)
            self._charge(inputs.shape[1])
            cache = DynamicCache()
            decoder = self.model.base_model
            decoder(
                inputs_embeds=inputs,
                position_ids=self._positions(1, 0),
                use_cache=True,
                **{cache_argument(decoder): cache},
            )
            layers: Any = cache.layers
            self._prefix = Segment(tuple((layer.keys, layer.values) for layer in layers))
        return self._prefix

    def introduced(self) -> None:
        """Read the start marker anew: an instruction has come into it."""
        self.remember(self.memory)

    def _charge(self, tokens: int) -> None:
        self.meter.read_tokens += tokens
        self.meter.flops += 2 * self.parameters * tokens

    def _embedded(self, ids: Tensor) -> Tensor:
        return self.model.get_input_embeddings()(ids)

    def _opened(self, memory: Tensor) -> list[Tensor]:
        """Start marker and memory, (batch, length, width) each."""
        start = torch.tensor([self.prompter.start], dtype=torch.long, device=self.device)
        before = self._embedded(start.expand(len(memory), -1))
        return [before, memory.to(before.dtype)]

    def _moved(self, memory: Tensor, text: Tensor, real: Tensor) -> Tensor:
        """The last tokens of a memory and of a text's stretches, (batch, tokens, width)."""
        span, count = self.span_tokens, memory.shape[1]
        spare = -text.shape[1] % span
        share = torch.arange(span, 0, -1.0, device=text.device)
        share = share * nn.functional.pad(real, (0, spare)).unflatten(1, (-1, span))
        share = share / share.norm(dim=-1, keepdim=True).clamp(min=1e-6)
        stretches = nn.functional.pad(text, (0, 0, 0, spare)).unflatten(1, (-1, span))
        stretches = (stretches * share[..., None]).sum(2)
        at = (real.sum(1, keepdim=True) + span - 1) // span
        at = at + torch.arange(count, device=text.device)
        every = torch.cat([memory.expand(len(text), -1, -1), stretches], 1)
        return every.gather(1, at[..., None].expand(-1, -1, every.shape[-1]))

    @property
    def _text_begin(self) -> int:
        """The position of the first token behind start marker and memory."""
        return len(self.prompter.start) + len(self.first_memory) * self.span_tokens

    def _positions(self, rows: int, text: int, lengths: Tensor | None = None) -> Tensor:
        """Positions of start marker, memory and text, and of the memory behind it, (rows, all).

        Args:
            rows: Of the batch.
            text: Tokens of the text.
            lengths: How many of these are no padding, (rows, 1), if a memory is written behind it.
        """
        span, begin, start = self.span_tokens, self._text_begin, len(self.prompter.start)
        stretches = torch.arange(len(self.first_memory), device=self.device) * span
        before = torch.arange(start, device=self.device)
        places = torch.cat([before, start + stretches, begin + torch.arange(text).to(before)])
        places = places.expand(rows, -1)
        if lengths is None:
            return places
        whole = (lengths + span - 1) // span * span
        return torch.cat([places, start + span + whole + stretches], 1)


def _causal_bias(real: Tensor, dtype: torch.dtype) -> Tensor:
    """What is added to scores so that a token sees real tokens up to itself, (batch, 1, n, n).

    Given always: without a mask transformers takes gaps between positions for the ends of texts.
    """
    length = real.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=real.device).tril()
    bias = torch.zeros(len(real), 1, length, length, dtype=dtype, device=real.device)
    return bias.masked_fill_(~(causal & real[:, None, None, :]), hidden_value(dtype))
