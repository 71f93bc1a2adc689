"""What pages load on demand: the numbers of one method, and the resamples, as small scripts.

Scripts rather than JSON, because a page opened from a disk may load a script beside it and nothing
else.
"""

from __future__ import annotations

import json

from sleepgym_boards.site.drawing.heat import MOST_DAYS_AS_TABLE
from sleepgym_boards.site.methods import Method
from sleepgym_boards.site.resampling import table
from sleepgym_boards.verification.verdict import Results

_DIGITS = 8


def method_script(method: Method) -> str:
    """The numbers of a method, for the comparison of two."""
    results = method.results
    assert results
    assert method.mark
    seeds = results.seeds
    content = {
        "mark": method.mark.model_dump(),
        "seeds": [seed.seed for seed in seeds],
        "values": {
            metric: [_number(seed.metrics.get(metric)) for seed in seeds] for metric in results.mean
        },
        "interval": {
            metric: [_number(end) for end in ends] if ends else None
            for metric, ends in results.interval.items()
        },
    }
    if len(results.matrix) <= MOST_DAYS_AS_TABLE + 1:
        content["matrix"] = [[_number(value) for value in row] for row in results.matrix]
    return _call("receiveMethod", method.slug, content)


def resamples_script(n: int) -> str:
    """The bootstrap's resamples of n streams."""
    return _call("receiveResamples", n, table(n))


def compared_metrics(first: list[str], results: list[Results]) -> list[str]:
    """Every metric that some method has, those to look at first before the others."""
    names = dict.fromkeys([*first, *(name for result in results for name in result.mean)])
    return [name for name in names if any(result.mean.get(name) is not None for result in results)]


def _call(function: str, *arguments: object) -> str:
    text = ", ".join(json.dumps(a, separators=(",", ":"), allow_nan=False) for a in arguments)
    return f"SleepGym.{function}({text});\n"


def _number(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{_DIGITS}g}")
