"""The section of the results page that shows the embedded model and real ones side by side.

`docs/tools/results.py` puts it at the end of ``docs/results.md``. Every number is a verdict's.
"""

from __future__ import annotations

from collections.abc import Iterable

from sleepgym_boards.catalogue.entries import Entry
from sleepgym_boards.verification.verdict import Results

TRACKS = {
    "Almanac, eight days": ("almanac-8-v1", "almanac-8-any"),
    "CLINC150, 150 intents": ("class-incremental-v1",),
    "SQuAD, eight days of four passages": ("squad-8",),
}
HEAD = """## Real models

Final accuracy by base model, with its 95 % interval over streams, and as a share of the evening's,
when the text was still open. `-` is not run; the embedded model does not read English texts.
"""


def model_lines(entries: Iterable[Entry]) -> list[str]:
    """The section's lines; none where every submission is of the embedded model.

    Args:
        entries: Verified submissions.
    """
    lines: list[str] = []
    entries = [entry for entry in entries if entry.verdict and entry.verdict.header]
    for title, boards in TRACKS.items():
        found: dict[str, dict[str, Results]] = {}  # agent -> model -> numbers
        for entry in (e for board in boards for e in entries if e.board == board):
            verdict = entry.verdict
            assert verdict is not None
            assert verdict.header is not None
            if verdict.results:
                model = verdict.header.model or "none"
                found.setdefault(entry.slug.removesuffix(f"-{model}"), {})[model] = verdict.results
        models = sorted({model for own in found.values() for model in own} - {"none"})
        if not set(models) - {"embedded"}:
            continue
        order = sorted(found, key=lambda slug: -max(_final(one) for one in found[slug].values()))
        lines += [f"### {title}", "", f"| agent | {' | '.join(models)} |"]
        lines.append("|" + "---|" * (len(models) + 1))
        for slug in order:
            cells = (found[slug].get(model, found[slug].get("none")) for model in models)
            lines.append(f"| `{slug}` | {' | '.join(map(_cell, cells))} |")
        lines.append("")
    return [HEAD, *lines] if lines else []


def _final(results: Results) -> float:
    return results.mean.get("average_accuracy") or 0.0


def _cell(results: Results | None) -> str:
    if results is None:
        return "-"
    text = f"{_final(results):.3f}"
    if ends := results.interval.get("average_accuracy"):
        text += f" [{ends[0]:.2f}, {ends[1]:.2f}]"
    evening = results.mean.get("evening_accuracy")
    return text + (f", {_final(results) / evening:.2f} of {evening:.3f}" if evening else "")
