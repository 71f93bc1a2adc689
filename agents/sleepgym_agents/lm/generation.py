"""Batched decoding with a key-value cache; what all prompts begin with is read once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor
from transformers import DynamicCache

from sleepgym_agents.lm.attention import Segment
from sleepgym_agents.lm.captured_step import Choose, captured_step
from sleepgym_agents.lm.kv_cache import DecodingCache
from sleepgym_agents.lm.model import LanguageModel, common_prefix, left_padded

SHARED_TOKENS = 16  # a shorter common prefix is not worth a pass of its own
LOOK_STEPS = 8  # captured steps between two looks at what was written
CHOSEN_LOGITS = 2**22  # that are sampled from at once: their sums are in double precision
ATTENDED_TOKENS = 512  # looking back at so many costs about as much as a token itself


@torch.inference_mode()
def generate(
    lm: LanguageModel,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    *,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int | Sequence[int] = 0,
    stop_at_answer: bool = True,
) -> list[list[int]]:
    """Continue prompts until their stop marker, the end token or ``max_new_tokens``.

    Args:
        lm: The language model.
        prompts: Token ids, none empty.
        max_new_tokens: Longest continuation.
        temperature: 0 is greedy decoding.
        top_p: Sample from the fewest tokens whose probabilities reach this sum.
        seed: Of the sampling. A continuation depends on its prompt and its place in ``prompts``,
            not on how they are batched; with a seed for each prompt, not on its place either.
        stop_at_answer: Whether the stop marker ends a continuation; else what
            :meth:`sleepgym_agents.lm.prompts.Prompter.begins_anew` says.

    Returns:
        The continuations' token ids, including what stopped them.
    """
    draws = _draw(seed, len(prompts), max_new_tokens) if temperature > 0 else None
    results: list[list[int]] = [[] for _ in prompts]
    ends = lm.prompter.stopped if stop_at_answer else lm.prompter.begins_anew
    captured = lm.captures(max_new_tokens)
    decode = _decode_captured if captured else _decode
    for batch, segments, start in shared_batches(lm, prompts, max_new_tokens, decoding=captured):
        taken = None if draws is None else draws[batch].to(lm.device)
        choose = partial(_choose, temperature=temperature, top_p=top_p)
        asked = [prompts[i][start:] for i in batch]
        written = decode(lm, asked, segments, start, max_new_tokens, choose, taken, ends)
        for i, ids in zip(batch, written, strict=True):
            results[i] = ids
        lm.meter.generated_tokens += sum(map(len, written))
        lm.meter.flops += 2 * lm.parameters * sum(len(ids) - 1 for ids in written)
    return results


def _draw(seed: int | Sequence[int], rows: int, columns: int) -> Tensor:
    """Numbers in [0, 1) to sample by, (rows, columns), from a seed of all or one of each row."""
    if not isinstance(seed, int):
        drawn = [_draw(own, 1, columns) for own in seed]
        return torch.cat([torch.empty(0, columns, dtype=torch.float64), *drawn])
    generator = torch.Generator().manual_seed(seed)
    return torch.rand((rows, columns), generator=generator, dtype=torch.float64)


def _decode(
    lm: LanguageModel,
    prompts: Sequence[Sequence[int]],
    segments: list[Segment],
    start: int,
    max_new_tokens: int,
    choose: Choose,
    draws: Tensor | None,
    ends: Callable[[Sequence[int]], bool],
) -> list[list[int]]:
    """A step at a time, over the rows that have not ended."""
    written: list[list[int]] = [[] for _ in prompts]
    read, index, real, logits = _read(lm, prompts, segments, start)
    cache = DecodingCache(read, index, max_new_tokens)
    rows = list(range(len(prompts)))
    lengths = torch.tensor([start + len(ids) for ids in prompts], device=lm.device)
    for step in range(max_new_tokens):
        chosen = choose(logits, None if draws is None else draws[rows, step])
        ended = set()
        for row, token in enumerate(chosen.tolist()):
            ids = written[rows[row]]
            ids.append(token)
            if ends(ids):
                ended.add(row)
        if len(ended) == len(rows) or step + 1 == max_new_tokens:
            break
        if ended:
            order = _without(ended, len(rows))
            kept = torch.tensor(order, device=lm.device)
            cache.keep(order)
            segments = [segment.rows(kept) for segment in segments]
            chosen, real, lengths = chosen[kept], real[kept], lengths[kept]
            rows = [rows[row] for row in order]
        real = torch.cat([real, real.new_ones(len(rows), 1)], 1)
        logits = _step(lm, chosen, lengths + step, real, segments, cache)
    return written


def _decode_captured(
    lm: LanguageModel,
    prompts: Sequence[Sequence[int]],
    segments: list[Segment],
    start: int,
    max_new_tokens: int,
    choose: Choose,
    draws: Tensor | None,
    ends: Callable[[Sequence[int]], bool],
) -> list[list[int]]:
    """By a captured step, some steps between two looks at which rows have ended."""
    width = max(map(len, prompts))
    place: dict[tuple[int, ...], list[int]] = {}
    for row, prompt in enumerate(prompts):  # equal ones are read once
        place.setdefault(tuple(prompt), []).append(row)
    step, order, begun = None, [], []
    for parts in _portions(lm, list(place), start):
        _, cache, last = lm.read(parts, segments, start)
        if step is None:
            shape, sampled = (len(prompts), width), draws is not None
            step = captured_step(lm, cache, segments, shape, max_new_tokens, choose, sampled)
        found = [(i, row) for i, part in enumerate(parts) for row in place[part]]
        rows, places = [i for i, _ in found], [row for _, row in found]
        step.take(cache, rows, places, width)
        order += places
        begun.append(choose(last[rows, -1], None if draws is None else draws[places, 0]))
    assert step is not None
    back = torch.tensor(order, device=lm.device).argsort()
    first = torch.cat(begun)[back]
    step.begin([len(prompt) for prompt in prompts], segments, first, start, draws)
    written: list[list[int]] = [[] for _ in prompts]
    live, done = set(range(len(prompts))), 0
    while live and done < max_new_tokens:
        if done:
            step.advance(min(LOOK_STEPS, max_new_tokens - done))
        until = 1 if not done else min(done + LOOK_STEPS, max_new_tokens)
        table = step.chosen[: len(prompts), done:until].tolist()
        for row in sorted(live):
            for token in table[row]:
                written[row].append(token)
                if ends(written[row]):
                    live.discard(row)
                    break
        done = until
    return written


def _portions(
    lm: LanguageModel, prompts: Sequence[tuple[int, ...]], start: int
) -> Iterator[Sequence[tuple[int, ...]]]:
    """Prompts in the order of their lengths, as many at once as the memory admits."""
    order = sorted(prompts, key=len, reverse=True)
    while order:
        size = lm.batch_rows(len(order[0]), start + len(order[0]), 1)
        yield order[:size]
        order = order[size:]


def shared_batches(
    lm: LanguageModel,
    prompts: Sequence[Sequence[int]],
    extra: int = 0,
    logits: int = 1,
    decoding: bool = False,
) -> Iterator[tuple[list[int], list[Segment], int]]:
    """Batches of prompts of similar length, within the model's token budget.

    Args:
        lm: The language model; it reads the prompts' common prefix once.
        prompts: Token ids.
        extra: Tokens that each prompt will be continued by.
        logits: Positions of a prompt for which logits are computed.
        decoding: Whether the prompts of a batch are read in portions and then decoded together.

    Yields:
        Indices into ``prompts``; the common prefix as a segment, if it is long enough; its length.
    """
    start = common_prefix(prompts)
    segments = []
    if start >= SHARED_TOKENS:
        segments.append(lm.read([prompts[0][:start]])[0])
    else:
        start = 0
    order = sorted(range(len(prompts)), key=lambda i: (-len(prompts[i]), i))
    while order:
        length = len(prompts[order[0]]) - start + extra
        size = max(1, int(lm.batch_tokens / (length * (1 + start / ATTENDED_TOKENS))))
        fitting = lm.decoding_rows(length) if decoding else None
        size = min(size, fitting or lm.batch_rows(length, start + length, logits))
        yield order[:size], list(segments), start
        order = order[size:]


def _read(
    lm: LanguageModel,
    prompts: Sequence[Sequence[int]],
    segments: Sequence[Segment],
    start: int,
) -> tuple[DynamicCache, list[int], Tensor, Tensor]:
    """Read prompts, equal ones once.

    Returns:
        The cache; which of its rows is each prompt's; which tokens are real and the last logits,
        a row a prompt.
    """
    place: dict[tuple[int, ...], int] = {}
    rows = [place.setdefault(tuple(prompt), len(place)) for prompt in prompts]
    _, cache, logits = lm.read(list(place), segments, start)
    _, real = left_padded(list(place), lm.device)
    return cache, rows, real[rows], logits[rows, -1]


def _step(
    lm: LanguageModel,
    ids: Tensor,
    positions: Tensor,
    real: Tensor,
    segments: Sequence[Segment],
    cache: DecodingCache,
) -> Tensor:
    logits = lm.forward(
        ids[:, None],
        positions[:, None],
        real[:, None, None, :],
        segments=segments,
        cache=cache,
        keep=1,
        charge=0,  # charged as generated
    )
    return logits[:, -1]


def _without(ended: set[int], count: int) -> list[int]:
    """The other rows; the last ones take the places that became free, so that few move."""
    left = count - len(ended)
    movers = (row for row in range(left, count) if row not in ended)
    return [next(movers) if row in ended else row for row in range(left)]


def _choose(logits: Tensor, draws: Tensor | None, *, temperature: float, top_p: float) -> Tensor:
    """The most likely tokens, or those that uniform ``draws`` pick from the distribution."""
    if draws is None:
        return logits.argmax(-1)
    rows = max(1, CHOSEN_LOGITS // logits.shape[-1])
    if len(logits) > rows:
        parts = zip(logits.split(rows), draws.split(rows), strict=True)
        chosen = [_choose(*part, temperature=temperature, top_p=top_p) for part in parts]
        return torch.cat(chosen)
    if top_p >= 1:  # in the vocabulary's order: sorting costs as much as the model
        sums = (logits / temperature).softmax(-1).cumsum(-1, dtype=torch.float64)
        places = torch.searchsorted(sums, draws[:, None] * sums[:, -1:], right=True)
        return places[:, 0].clamp(max=logits.shape[-1] - 1)
    probabilities, tokens = (logits.double() / temperature).softmax(-1).sort(descending=True)
    sums = probabilities.cumsum(-1)
    kept = (sums - probabilities < top_p).sum(-1, keepdim=True)  # at least one
    reached = sums.gather(-1, kept - 1)
    places = torch.searchsorted(sums, draws[:, None] * reached, right=True)
    return tokens.gather(-1, places.minimum(kept - 1))[:, 0]
