"""Attention whose heads keep all they read, or its first and latest tokens only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers import AttentionInterface

from sleepgym.core.budget import Meter
from sleepgym.core.errors import MissingData
from sleepgym_agents.lm.attention import Segment, attend, hidden_value
from sleepgym_agents.lm.generation import ATTENDED_TOKENS
from sleepgym_agents.lm.model import LanguageModel, left_padded

NAME = "sleepgym_duo"
GATED = "sleepgym_duo_gated"
PIECE_TOKENS = 256  # read at once
TURN = 7  # positions by which keys are turned to see whether that is the same as reading them there
TURN_TOLERANCE = 1e-2
TURN_ROUNDINGS = 4  # or so many units of rounding, which add up from layer to layer
Pair = tuple[Tensor, Tensor]  # keys and values, (1, heads, tokens, size)
NOWHERE = torch.empty(0)
_turning: set[str] = set()  # models whose keys were tried


@dataclass(frozen=True)
class Window:
    """What a streaming head sees: the first tokens and the latest ones, itself among them.

    Attributes:
        sink: How many of the first.
        recent: How many of the latest.
    """

    sink: int
    recent: int

    def hides(self, queries: Tensor, keys: Tensor, dtype: torch.dtype) -> Tensor:
        """What is added to scores, (batch, 1, queries, keys); positions are (batch, length)."""
        ahead = queries[:, None, :, None] - keys[:, None, None, :]
        seen = (keys[:, None, None, :] < self.sink) | (ahead < self.recent)
        return torch.zeros(seen.shape, dtype=dtype, device=keys.device).masked_fill_(
            ~seen, hidden_value(dtype)
        )

    def kept(self, tokens: int) -> list[int]:
        """Which of so many tokens a streaming head keeps, by position."""
        if tokens <= self.sink + self.recent:
            return list(range(tokens))
        return [*range(self.sink), *range(tokens - self.recent, tokens)]


@dataclass(frozen=True)
class PositionedSegment(Segment):
    """A segment whose tokens know their positions.

    Attributes:
        positions: Of each token, (batch, length).
    """

    positions: Tensor = NOWHERE

    def rows(self, index: Tensor) -> PositionedSegment:
        """As :meth:`Segment.rows`."""
        chosen = super().rows(index)
        if chosen is self:
            return self
        return PositionedSegment(
            chosen.layers, chosen.mask, chosen.router_state, self.positions[index]
        )


@dataclass(frozen=True)
class HeadClasses:
    """Which key-value heads of a layer keep all tokens (retrieval), and which do not (streaming).

    Attributes:
        retrieval: Indices of heads.
        streaming: Indices of the others.
    """

    retrieval: Tensor
    streaming: Tensor


@dataclass(frozen=True)
class _Pass:
    """What the attention function needs to know of a pass; position 0 is the context's first.

    Attributes:
        model: Whose context stands before it.
        segments: What else was read before.
        queries: Positions of its tokens, (batch, length).
        keys: Positions of its tokens and of those in its cache, (batch, length).
    """

    model: DuoModel
    segments: Sequence[PositionedSegment]
    queries: Tensor
    keys: Tensor

    @cached_property
    def hidden(self) -> list[Tensor]:
        """What hides keys outside the window: of itself, of the context, of each segment."""
        duo, dtype = self.model, self.model.model.dtype
        context = torch.tensor([duo.window.kept(duo.tokens)], device=self.queries.device)
        seen = [self.keys, context, *(s.positions + duo.tokens for s in self.segments)]
        return [duo.window.hides(self.queries, keys, dtype) for keys in seen]

    def before(self, layer: int, index: Tensor, streams: bool) -> list[Segment]:
        """What the heads ``index`` of a layer attend to beside the pass itself."""
        duo, found = self.model, []
        if duo.tokens:
            context = (duo.windowed if streams else duo.full)[layer]
            found.append(_of_layer(layer, context, self.hidden[1] if streams else None))
        for segment, far in zip(self.segments, self.hidden[2:], strict=True):
            mask = segment.mask
            if streams:
                mask = far if mask is None else mask + far
            keys, values = (x[:, index] for x in segment.layers[layer])
            found.append(_of_layer(layer, (keys, values), mask))
        return found


def _of_layer(layer: int, pair: Pair, mask: Tensor | None) -> Segment:
    return Segment({layer: pair}, mask)  # type: ignore[arg-type]  # the others are not asked for


class DuoModel(LanguageModel):
    """A language model behind a context of which streaming heads keep first and latest tokens.

    Args:
        lm: The base model.
        model: What the user called it, for messages.
        retrieval: Which key-value heads keep all tokens, boolean, (layers, heads).
        window: What the other heads keep.

    Attributes:
        tokens: Length of the context.
        full: Keys and values of its tokens in retrieval heads, a pair a layer.
        windowed: Those of :meth:`Window.kept` in streaming heads.

    Raises:
        MissingData: If keys of this family do not turn with their position.
    """

    attention: ClassVar[str] = NAME

    def __init__(self, lm: LanguageModel, model: str, retrieval: Tensor, window: Window) -> None:
        super().__init__(lm.model, lm.prompter, lm.meter)
        self.window = window
        self.tokens = 0
        self.heads = [
            HeadClasses(*((row == kind).nonzero()[:, 0] for kind in (True, False)))
            for row in retrieval.to(self.device)
        ]
        self.full: list[Pair] = []
        self.windowed: list[Pair] = []
        if model not in _turning:
            self._try_turning(model)
            _turning.add(model)

    @property
    def cache_numbers(self) -> tuple[int, int]:
        """How many numbers retrieval heads and streaming heads hold."""
        return tuple(
            sum(x.numel() for pair in part for x in pair) for part in (self.full, self.windowed)
        )  # type: ignore[return-value]

    @property
    def max_tokens(self) -> int:
        """What the model reads behind the context."""
        return super().max_tokens - self.tokens

    @property
    def batch_tokens(self) -> int:
        """Fewer the longer the context: every token looks back at it."""
        return max(1, int(super().batch_tokens / (1 + self.tokens / ATTENDED_TOKENS)))

    def batch_rows(self, length: int, attended: int, logits: int) -> int:
        """As :meth:`LanguageModel.batch_rows`, with the context."""
        return super().batch_rows(length, attended + self.tokens, logits)

    def captures(self, steps: int) -> bool:
        """Never: what a streaming head sees moves with every step."""
        return False

    def read(
        self,
        sequences: Sequence[Sequence[int]],
        segments: Sequence[Segment] = (),
        start: int = 0,
        keep: int = 1,
    ) -> tuple[Segment, Any, Tensor]:
        """As :meth:`LanguageModel.read`, behind the context; positions begin behind it, too."""
        segment, cache, logits = super().read(sequences, segments, start, keep)
        _, real = left_padded(sequences, self.device)
        positions = (real.cumsum(1) - 1).clamp(min=0) + start
        return PositionedSegment(segment.layers, segment.mask, None, positions), cache, logits

    def forward(
        self,
        ids: Tensor,
        positions: Tensor,
        mask: Tensor,
        *,
        segments: Sequence[Segment] = (),
        cache: Any = None,
        **options: Any,
    ) -> Tensor:
        """As :meth:`LanguageModel.forward`, behind the context."""
        length = mask.shape[-1]
        keys = positions
        if length > ids.shape[1]:  # those of earlier passes stand before them
            keys = positions[:, -1:] - torch.arange(length - 1, -1, -1, device=positions.device)
        positions, keys = positions + self.tokens, keys + self.tokens
        now: Any = _Pass(self, segments, positions, keys)  # type: ignore[arg-type]
        return super().forward(ids, positions, mask, segments=(now,), cache=cache, **options)

    def take_in(self, ids: Sequence[int], limit: int) -> None:
        """Read a text behind the context and make it part of it; the oldest go beyond ``limit``.

        Args:
            ids: Token ids.
            limit: Longest context, at least sink and recent tokens.
        """
        size = min(PIECE_TOKENS, limit - self.window.sink)
        for begin in range(0, len(ids), size):
            piece = ids[begin : begin + size]
            self.drop(self.tokens + len(piece) - limit)
            self._append(self.read([piece])[0].layers)

    @torch.inference_mode()
    def drop(self, count: int) -> None:
        """Take the oldest tokens behind the sink out of the context; the later ones move up."""
        if count <= 0:
            return
        left, sink = self.tokens - count, self.window.sink
        kept = len(self.window.kept(left)) - sink
        self.full = [self._without(pair, sink + count, count) for pair in self.full]
        self.windowed = [
            self._without(pair, pair[0].shape[2] - kept, count) for pair in self.windowed
        ]
        self.tokens = left

    def forget(self) -> None:
        """Drop the whole context."""
        self.tokens, self.full, self.windowed = 0, [], []

    @torch.inference_mode()
    def _append(self, layers: Iterable[Pair]) -> None:
        full, windowed, length = [], [], 0
        before = list(zip(self.full, self.windowed, strict=True)) or [None] * len(self.heads)
        for heads, own, earlier in zip(self.heads, layers, before, strict=True):
            parts = []
            for kind, index in enumerate((heads.retrieval, heads.streaming)):
                chosen = [x[:, index] for x in own]
                if earlier is not None:
                    chosen = [torch.cat(x, 2) for x in zip(earlier[kind], chosen, strict=True)]
                parts.append(tuple(chosen))
            count = parts[1][0].shape[2]
            kept = self.window.kept(count)
            windowed.append(tuple(x[:, :, kept].clone() for x in parts[1]))
            full.append(parts[0])
            length = own[0].shape[2]
        self.full, self.windowed = full, windowed
        self.tokens += length

    def _without(self, pair: Pair, first: int, by: int) -> Pair:
        """Keys and values of the sink and of what lies from ``first`` on, moved up by ``by``."""
        sink = self.window.sink
        keys, values = ([x[:, :, :sink], x[:, :, first:]] for x in pair)
        keys[1] = turned(self.model, keys[1], -by)
        return torch.cat(keys, 2), torch.cat(values, 2)

    def _try_turning(self, model: str) -> None:
        family = type(self.model).__name__
        refusal = MissingData(
            f"model {model!r}: {family} is not supported by duo-attention, which moves keys: they "
            "do not turn with their position as by one rotary embedding"
        )
        ids = (self.prompter.encode("Orlen keeps seven grey geese.") or [0])[:8]
        meter, self.meter = self.meter, Meter()  # a check, which nobody pays for
        try:
            there, here = (self.read([ids], start=start)[0] for start in (TURN, 0))
            rounding = torch.finfo(self.model.dtype).eps
            most = max(TURN_TOLERANCE, TURN_ROUNDINGS * rounding) ** 2
            for (later, _), (keys, _) in zip(there.layers, here.layers, strict=True):
                difference = turned(self.model, keys, TURN).float() - later.float()
                if not difference.square().mean() <= most * later.float().square().mean():
                    raise refusal
        except (RuntimeError, AttributeError, TypeError, KeyError, ValueError) as error:
            raise refusal from error
        finally:
            self.meter = meter


def turned(model: Any, keys: Tensor, by: int) -> Tensor:
    """Keys as if their tokens stood ``by`` positions later: turned by the rotary embedding.

    Args:
        model: A transformers model with one rotary embedding.
        keys: (batch, heads, tokens, size).
        by: May be negative.
    """
    rotary = model.base_model.rotary_emb
    place = torch.tensor([[by]], device=keys.device)
    cos, sin = (x[:, None].float() for x in rotary(keys.float(), place))
    scale = float(getattr(rotary, "attention_scaling", 1.0))
    first, second = keys.float().chunk(2, -1)
    quarter = torch.cat([-second, first], -1)
    return ((keys.float() * cos + quarter * sin) / scale).to(keys.dtype)


def _duo(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor,
    segments: Sequence[Any] = (),
    **options: Any,
) -> tuple[Tensor, None]:
    """Retrieval heads see everything, streaming heads what lies in their window."""
    (now,) = segments
    heads = now.model.heads[module.layer_idx]
    grouped = query.unflatten(1, (key.shape[1], -1))
    out = query.new_empty(len(query), query.shape[2], *grouped.shape[1:3], value.shape[-1])
    for index, streams in ((heads.retrieval, False), (heads.streaming, True)):
        if not len(index):
            continue
        seen, _ = attend(
            module,
            grouped[:, index].flatten(1, 2),
            key[:, index],
            value[:, index],
            attention_mask + now.hidden[0] if streams else attention_mask,
            segments=now.before(module.layer_idx, index, streams),
            **options,
        )
        out[:, :, index] = seen.unflatten(2, (len(index), -1))
    return out.flatten(2, 3), None


def _gated(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor,
    gates: Tensor | None = None,
    far: Tensor | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Of each head its gate's share of full attention, and the rest of the window's."""
    assert gates is not None
    assert far is not None
    full, _ = attend(module, query, key, value, attention_mask, **options)
    windowed, _ = attend(module, query, key, value, attention_mask + far, **options)
    share = gates[module.layer_idx].clamp(0, 1).to(full.dtype)
    share = share.repeat_interleave(query.shape[1] // key.shape[1])[None, None, :, None]
    return share * full + (1 - share) * windowed, None


AttentionInterface.register(NAME, _duo)
AttentionInterface.register(GATED, _gated)
