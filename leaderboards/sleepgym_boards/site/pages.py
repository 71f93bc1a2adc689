"""Pages from templates; every value that a submitter wrote is escaped."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from sleepgym.scoring.glossary import explain
from sleepgym_boards.board import higher_is_better
from sleepgym_boards.site import formatting
from sleepgym_boards.site.drawing.heat import LEVELS, MOST_DAYS_AS_TABLE, heat_picture, level
from sleepgym_boards.site.methods import SLOTS

REPOSITORY = "https://github.com/sleepgym/sleepgym"
LINKS = {
    "Repository": REPOSITORY,
    "Documentation": f"{REPOSITORY}/tree/main/docs",
    "Paper": "https://arxiv.org/abs/2606.03979",
}
ROWS = 30  # of a table at first, as in the script and the style
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'"
)


def page(template: str, depth: int, **values: Any) -> str:
    """A page.

    Args:
        template: Name of the template, without its suffix.
        depth: Folders between the page and the top of the site.
        **values: What the template shows.
    """
    return _environment().get_template(f"{template}.html").render(root="../" * depth, **values)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("sleepgym_boards.site"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., Any]] = {
        name: getattr(formatting, name)
        for name in (
            "amount",
            "interval",
            "rank",
            "sentence",
            "share",
            "short",
            "show",
            "signed",
            "words",
        )
    }
    filters |= {"explain": explain, "level": level, "heat": heat_picture, "points": _points}
    filters |= {
        "settings": _settings,
        "is_amount": formatting.is_amount,
        "higher": higher_is_better,
    }
    environment.filters.update(filters)
    environment.globals.update(
        policy=POLICY,
        links=LINKS,
        slots=SLOTS,
        rows=ROWS,
        letters="ABCDEFGHIJ",
        levels=LEVELS,
        most_days_as_table=MOST_DAYS_AS_TABLE,
    )
    return environment


def _points(places: tuple[tuple[float, float], ...]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in places)


def _settings(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
