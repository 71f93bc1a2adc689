"""A language model that reads segment by segment and passes memory tokens on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from sleepgym_agents.lm.attention import Segment, hidden_value
from sleepgym_agents.lm.checkpoints import named_weights
from sleepgym_agents.lm.kv_cache import cache_argument
from sleepgym_agents.lm.lora import add_lora
from sleepgym_agents.lm.model import LanguageModel
from sleepgym_agents.training.selected_logits import logits_at, output_head


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

    A segment is read as start marker, memory, text, first memory: what the last layer says at the
    first memory is the next one (:meth:`next_memory`). A question is read behind start marker and
    memory. A memory token is read as the mean of the embeddings, weighted by the distribution over
    the vocabulary that the model's head makes of it: the base model understands what it spells. It
    stands for a stretch of text: it has the position of the stretch's first token where it is read,
    and the one behind the stretch where it is written.

    Args:
        lm: The base model; the adapter goes into it.
        tokens: Memory tokens.
        rank: Rank of the adapter in every linear layer.
        alpha: The adapter's output is scaled by ``alpha / rank``.
        seed: Of the adapter's and the memory's first values.
        span_tokens: Tokens of text that a memory token stands for.

    Attributes:
        first_memory: The memory before anything was read, (tokens, width); trained.
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
        embeddings = self.model.get_input_embeddings().weight
        drawn = torch.randn(
            tokens, embeddings.shape[1], generator=torch.Generator().manual_seed(seed)
        )
        drawn = drawn[:1] + 0.1 * drawn  # much alike: what one place learns serves the others
        scale = embeddings.detach().float().std().cpu()
        self.first_memory = nn.Parameter((drawn * scale).to(self.device))
        self.memory = self.first_memory.detach()
        self._prefix: Segment | None = None
        self._changes = 0  # what was captured for an earlier memory does not serve this one
        self.decoding_key = lambda: (self._changes, tuple(self.prompter.start))

    @property
    def trained(self) -> dict[str, Tensor]:
        """What is trained, by name: the adapter and the first memory."""
        lora = {n: p for n, p in self.model.named_parameters() if "lora_" in n}
        return {**lora, "first_memory": self.first_memory}

    @property
    def trained_parameters(self) -> int:
        """How many numbers that are."""
        return self.first_memory.numel() + self.extra_parameters["lora"]

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
        own = {**named_weights(self.model, "lora_"), "first_memory": self.first_memory}
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
        written = self.first_memory.expand_as(memory).to(self.model.dtype)
        inputs = [*self._opened(memory), self._embedded(ids), written]
        real = torch.ones_like(ids, dtype=torch.bool) if real is None else real
        begin = inputs[0].shape[1] + inputs[1].shape[1]
        seen = nn.functional.pad(nn.functional.pad(real, (begin, 0), value=True), (0, count))
        seen[:, -count:] = True
        read = self.model.base_model(
            inputs_embeds=torch.cat(inputs, 1),
            attention_mask=_causal_bias(seen, self.model.dtype),
            position_ids=self._positions(len(ids), ids.shape[1], real.sum(1, keepdim=True)),
            use_cache=False,
        ).last_hidden_state
        return read[:, -count:].float()

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
            self._prefix = Segment(tuple((layer.keys, layer.values) for layer in cache.layers))
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
        return [self._embedded(start.expand(len(memory), -1)), self._as_input(memory)]

    def _as_input(self, memory: Tensor) -> Tensor:
        """Memory as it is read: the expected embedding of what its tokens spell."""
        embeddings = self.model.get_input_embeddings()
        said = output_head(self.model)(memory.to(self.model.dtype)).softmax(-1)
        return said @ embeddings.weight * getattr(embeddings, "embed_scale", 1.0)

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
