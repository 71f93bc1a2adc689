"""Whether a model reads by segments and by cache as it reads plainly; asked once, when it loads.

A model may take any attention function and still add something of its own that ours leaves out
(attention sinks, values of another size than queries, layers that share keys, a state instead of
keys), or swallow the keyword that carries the segments. Flags do not tell; a few tokens do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sleepgym.core.errors import MissingData
from sleepgym_agents.lm.kv_cache import DecodingCache

TOLERANCE = {torch.float32: 2e-3, torch.float64: 2e-3}
HALF_TOLERANCE = 0.1  # bfloat16 and float16 round every sum
SAMPLE = "The bridge at Orlen was built in 1704; its keeper, a Mrs Vane, keeps seven grey geese. "
LENGTH = 20
SHARED = 8  # tokens read once for all rows
STEPS = 3  # tokens read one by one


@torch.inference_mode()
def check_reading(lm: Any, name: str) -> None:
    """Compare the three ways in which this suite reads with the model's own forward pass.

    Args:
        lm: The :class:`~sleepgym_agents.lm.model.LanguageModel`, in evaluation mode.
        name: What the user called it.

    Raises:
        MissingData: If they differ, or one of them cannot be done at all.
    """
    family = type(lm.model).__name__
    rows = _rows(lm)
    try:
        plain = [lm.model(torch.tensor([row], device=lm.device)).logits[0].float() for row in rows]
    except Exception as error:  # whatever the model's own code raises
        raise MissingData(f"model {name!r}: {family} cannot read: {_reason(error)}") from error
    try:
        found = _as_we_read(lm, rows)
    except Exception as error:
        raise MissingData(
            f"model {name!r}: {family} is not supported: its attention or cache is of a kind that "
            f"cannot be read by segments ({_reason(error)})"
        ) from error
    wanted = torch.stack([logits[-STEPS - 1 :] for logits in plain])
    spread = (wanted - wanted.mean(-1, keepdim=True)).square().mean().sqrt()
    difference = float((found - wanted).square().mean().sqrt() / spread)
    limit = TOLERANCE.get(lm.model.dtype, HALF_TOLERANCE)
    if not difference <= limit:  # nan is no agreement
        raise MissingData(
            f"model {name!r}: {family} is not supported: read by segments its logits differ from "
            f"its own forward pass by {difference:.2g} of their spread (at most {limit:g})"
        )


def _as_we_read(lm: Any, rows: Sequence[Sequence[int]]) -> Tensor:
    """Logits of the last tokens: a shared segment, rows padded behind it, then token by token."""
    segment, _, _ = lm.read([rows[0][:SHARED]])
    begun = [row[SHARED:-STEPS] for row in rows]
    _, read, logits = lm.read(begun, [segment], SHARED)
    steps = [logits[:, -1]]
    longest = max(map(len, begun))
    real = torch.tensor(
        [[i >= longest - len(ids) for i in range(longest)] for ids in begun], device=lm.device
    )
    cache = DecodingCache(read, range(len(rows)), STEPS)
    for step in range(STEPS):
        ids = torch.tensor([row[step - STEPS] for row in rows], device=lm.device)
        places = [len(row) + step - STEPS for row in rows]
        real = torch.cat([real, real.new_ones(len(rows), 1)], 1)
        logits = lm.forward(
            ids[:, None],
            torch.tensor(places, device=lm.device)[:, None],
            real[:, None, None, :],
            segments=[segment],
            cache=cache,
            keep=1,
        )
        steps.append(logits[:, -1])
    return torch.stack(steps, 1)


def _rows(lm: Any) -> list[list[int]]:
    """Two sequences of real tokens, of unlike length, with a common beginning."""
    ids = lm.prompter.encode(SAMPLE) or [0]
    ids = (ids * LENGTH)[: max(SHARED + STEPS + 2, min(LENGTH, lm.max_tokens))]
    return [ids, ids[: SHARED + 1] + ids[: SHARED // 2] + ids[:1]]


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split()):.160}"
