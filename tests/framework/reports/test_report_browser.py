"""The report in a real Chromium: phone and desktop, by day and in the dark."""

from __future__ import annotations

import pytest

from browser import Visit, find_axe, find_violations, open_browser, serve_files
from sleepgym.reports.report import write_report
from sleepgym.runs.runner import run
from sleepgym.runs.spec import RunSpec
from synthetic import write_run

SIZES = {"desktop": {"width": 1360, "height": 900}, "phone": {"width": 390, "height": 844}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    for seed in range(2):
        write_run(folder / "runs" / f"a-{seed}", "an-agent-of-a-very-long-name", seed)
        write_run(folder / "runs" / f"b-{seed}", "frozen", seed, first=0.2, decay=1)
    run(RunSpec("toy:Toy", "toy:Fleeting", {"days": 2}), folder / "runs" / "toy")
    write_report([folder / "runs"], folder / "out")
    return folder / "out"


@pytest.mark.slow
def test_it_opens_without_complaint(folder, tmp_path):
    with open_browser() as browser, serve_files(folder) as address:
        axe = find_axe(tmp_path)
        for size in SIZES.values():
            visited = Visit(browser, address, viewport=size)
            page = visited.go("report.html")
            page.locator("details").evaluate_all("all => all.forEach(d => (d.open = true))")
            assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
            assert page.evaluate("[...document.images].every(i => i.naturalWidth > 100)")
            wide = "n => n.some(e => e.scrollWidth > e.clientWidth + 1 && e.tabIndex < 0)"
            assert not page.locator(".scroll").evaluate_all(wide)  # what is cut can be scrolled
            shown = page.locator("picture").first.locator("img")
            light = shown.evaluate("i => i.currentSrc")
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme)
                if axe:
                    visited.context.new_cdp_session(page).send(
                        "Page.setBypassCSP", {"enabled": True}
                    )
                    assert not find_violations(page, axe), scheme
            page.wait_for_function("old => document.images[0].currentSrc != old", arg=light)
            assert [c for c in visited.complaints if "Content Security" not in c] == []
            assert all(url.startswith((address, "data:")) for url in visited.requests)
            visited.context.close()
