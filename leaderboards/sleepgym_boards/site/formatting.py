"""How values are written on pages; the script of the site reads table cells back as numbers."""

from __future__ import annotations

from collections.abc import Sequence

DASH = "–"
_AMOUNTS = ("_seconds", "_tokens", "_flops", "_bytes", "_parameters", "_answers", "_life")
_SUFFIXES = ("", "k", "M", "G", "T", "P", "E")


def is_amount(metric: str) -> bool:
    """Whether a metric counts something, rather than being a share of 1."""
    return metric.endswith(_AMOUNTS)


def show(metric: str, value: float | None) -> str:
    """A metric's value: three decimals for shares, three digits and a suffix for amounts."""
    return amount(value) if is_amount(metric) else share(value)


def share(value: float | None) -> str:
    """A share with three decimals; a dash where undefined."""
    if value is None:
        return DASH
    text = f"{value:.3f}"
    return "0.000" if float(text) == 0 else text.replace("-", "\N{MINUS SIGN}")


def short(value: float) -> str:
    """A share with two decimals and no leading zero, for tight places."""
    text = f"{value:.2f}"
    return ".00" if float(text) == 0 else text.replace("0.", ".", 1).replace("-", "\N{MINUS SIGN}")


def amount(value: float | None) -> str:
    """An amount as ``12.3``, ``4.56k``, ``7.89M``: three digits and a power of a thousand."""
    if value is None:
        return DASH
    if value < 0:
        return "\N{MINUS SIGN}" + amount(-value)
    if value and value < 0.1:
        return f"{value:.1g}"
    for power, suffix in enumerate(_SUFFIXES):
        digits = _three_digits(value / 1000**power)
        if digits != "1000":
            return digits + suffix
    return f"{value:.2e}"


def signed(metric: str, value: float) -> str:
    """A difference, with its sign."""
    return ("+" if value > 0 else "") + show(metric, value)


def interval(metric: str, ends: Sequence[float] | None) -> str:
    """An interval in brackets; nothing where there is none."""
    return f"[{show(metric, ends[0])}, {show(metric, ends[1])}]" if ends else ""


def words(metric: str) -> str:
    """A metric's name as words."""
    return metric.replace("_", " ").replace("flops", "FLOPs").replace("iqm", "IQM")


def sentence(text: str) -> str:
    """Text with a capital letter first, all else as it is."""
    return text[:1].upper() + text[1:]


def rank(interval: tuple[int, int] | None) -> str:
    """A rank, or an interval of ranks."""
    if interval is None:
        return DASH
    low, high = interval
    return str(low) if low == high else f"{low}{DASH}{high}"


def _three_digits(value: float) -> str:
    """Three significant digits; ``"1000"`` for all that rounds to a thousand or more."""
    if value >= 999.5:
        return "1000"
    decimals = 0 if value >= 99.95 else 1 if value >= 9.995 else 2
    text = f"{value:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
