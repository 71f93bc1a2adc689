"""Seconds to build a site of 500 submissions on one board, its weight, and a sort in the browser.

The browser part needs Playwright and a Chromium (``SLEEPGYM_CHROMIUM``, or on the path).
"""

import argparse
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from sleepgym_boards.catalogue.entries import load_entries
from sleepgym_boards.site.building import build_site

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from browser import Visit, find_browser, open_browser, serve
from synthetic_verdicts import make_verdict, write_submission

SUBMISSIONS = 500
BOARD = "almanac-8"
LIMIT_BUILD_S, LIMIT_SORT_MS, LIMIT_PAGE = 30, 100, 300_000
COLUMNS = range(8)
ROUNDS = 3


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        submissions, out = Path(scratch) / "submissions", Path(scratch) / "site"
        rng = np.random.default_rng(0)
        for number in range(SUBMISSIONS):
            skill, decay = rng.uniform(0.05, 0.95), rng.uniform(0.7, 1)
            verdict = make_verdict(
                f"A method with a middling name, number {number}",
                BOARD,
                skill,
                decay,
                cost=float(rng.lognormal()),
                seed=number,
                budget=number % 2,
            )
            write_submission(submissions, f"method-{number:03}", verdict, BOARD)
        start = time.perf_counter()
        pages = build_site(out, load_entries(submissions))
        seconds = time.perf_counter() - start
        print("| what | measured | limit |\n|---|---|---|")
        print(
            f"| {pages} pages of {SUBMISSIONS} submissions | {seconds:.1f} s | {LIMIT_BUILD_S} s |"
        )
        for name in ("index", "compare", "methods/method-000"):
            plain = weigh(out, out / BOARD / f"{name}.html")
            print(f"| {BOARD}/{name}.html | {plain:,} bytes | {LIMIT_PAGE:,} bytes |")
        if find_browser():
            times = sort_times(out)
            wall_ms, thread_ms = (statistics.median(column) for column in zip(*times, strict=True))
            print(f"| a sort, median of {len(times)} | {wall_ms:.0f} ms | {LIMIT_SORT_MS} ms |")
            print(f"| of which the page's thread was busy | {thread_ms:.0f} ms | |")


def weigh(out: Path, page: Path) -> int:
    """Bytes of a page without its pictures, its style and script included."""
    text = re.sub(r"<svg.*?</svg>", "", page.read_text("utf-8"), flags=re.DOTALL)
    shared = re.findall(r'(?:src|href)="(?:\.\./)*([\w-]+\.(?:js|css))"', text)
    return len(text.encode()) + sum((out / name).stat().st_size for name in set(shared))


def sort_times(out: Path) -> list[tuple[float, float]]:
    with open_browser() as browser, serve(out) as address:
        visited = Visit(browser, address, viewport={"width": 1360, "height": 900})
        visited.go(f"{BOARD}/index.html")
        return [visited.sort(column) for _ in range(ROUNDS) for column in COLUMNS]


if __name__ == "__main__":
    main()
