"""Tables for notebooks: what ``_repr_html_`` returns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any


def html_table(caption: str, headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """An HTML table of plain values, every one escaped; numbers to the right.

    Args:
        caption: What stands above it.
        headings: One a column.
        rows: One value a column; floats get three decimals, None a dash.
    """
    lines = [f"<table><caption>{escape(caption)}</caption>", "<thead><tr>"]
    lines += [f'<th scope="col">{escape(heading)}</th>' for heading in headings]
    lines.append("</tr></thead><tbody>")
    for row in rows:
        lines.append("<tr>" + "".join(map(_cell, row)) + "</tr>")
    return "".join([*lines, "</tbody></table>"])


def _cell(value: Any) -> str:
    if value is None:
        return "<td>–</td>"
    if isinstance(value, float):
        return f'<td style="text-align: right">{value:.3f}</td>'
    side = "right" if isinstance(value, int) else "left"
    return f'<td style="text-align: {side}">{escape(str(value))}</td>'
