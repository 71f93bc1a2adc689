"""The site in a real Chromium: sorting, choosing, comparing, and what must not happen."""

from __future__ import annotations

import hashlib
import json
import os
import statistics
import subprocess
from pathlib import Path

import pytest

from browser import Visit, open_browser, serve
from sleepgym.scoring.statistics import paired_difference
from sleepgym_boards.catalogue.entries import Entry, load_entries
from sleepgym_boards.site.building import build_site
from synthetic_verdicts import HOSTILE, copy_submission, make_verdict, write_submission

AXE_VERSION = "4.14.1"
DESKTOP = {"width": 1360, "height": 900}
WIDE = {"width": 1600, "height": 1000}
SMALL = {"width": 1200, "height": 800}
PHONE = {"width": 390, "height": 844}
PAGES = [
    "index.html",
    "ablation.html",
    "rules.html",
    "submit.html",
    "almanac-8-v1/index.html",
    "almanac-8-v1/compare.html#a=sleep&b=naive",
    "almanac-8-v1/methods/sleep.html",
    "almanac-8-v1/methods/hostile.html",
    "almanac-8-v1/methods/copied.html",
    "squad-cpt/index.html",
    "open-v1/trajectories/exam-only.html",
]
CARDS = PAGES[4:7]  # where tables become cards on a phone
METHODS = {
    "sleep": ("Sleep", 0.9, 0.98, 3, 0),
    "seeding": ("Seeding", 0.8, 0.98, 2, 0),
    "dreaming": ("Dreaming", 0.4, 0.95, 1.5, 0),
    "naive": ("Naive", 0.6, 0.6, 0.5, 0),
    "notes": ("Notes", 0.85, 0.99, 0.1, 1),
}
COLUMN = "rows => rows.map(row => row.cells[%d].textContent)"


@pytest.fixture(scope="module")
def browser():
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Folder of submissions, folder of the site."""
    folder = tmp_path_factory.mktemp("submissions")
    for place, (slug, (name, skill, decay, cost, budget)) in enumerate(METHODS.items()):
        verdict = make_verdict(name, "almanac-8-v1", skill, decay, cost, seed=place, budget=budget)
        write_submission(folder, slug, verdict)
        if budget == 0:
            verdict = make_verdict(name, "ablation", skill, decay, cost, seed=place, agent=slug)
            write_submission(folder, slug, verdict, "ablation")
    write_submission(folder, "copied", make_verdict("Copied", broken="grades"))
    write_submission(folder, "hostile", make_verdict("x"))
    words = dict.fromkeys(("summary", "data", "departures", "agent", "model"), HOSTILE)
    hostile = make_verdict(HOSTILE, skill=0.05, authors=[HOSTILE], settings={HOSTILE: 1}, **words)
    copy_submission(folder, "open-v1", "exam-only")
    entries = [
        type(e)(e.board, e.slug, e.file, hostile.model_copy(update={"sha256": e.verdict.sha256}))
        if e.slug == "hostile"
        else e
        for e in load_entries(folder)
    ]
    out = tmp_path_factory.mktemp("site") / "made"
    build_site(out, entries)
    return folder, out


@pytest.fixture(scope="module")
def address(made):
    with serve(made[1]) as found:
        yield found


@pytest.fixture
def visit(browser, address):
    """Opens a page of the site; fails on any complaint, and on any request that goes elsewhere."""
    visits = []

    def open_page(path, **options):
        visits.append(Visit(browser, address, **({"viewport": DESKTOP} | options)))
        visits[-1].go(path)
        return visits[-1]

    yield open_page
    for visited in visits:
        assert not visited.complaints
        assert all(request.startswith(address) for request in visited.requests)
        visited.context.close()


CUT = """() => [...document.querySelectorAll("main, .scroll, pre, figure")]
  .filter((e) => e.scrollWidth > e.clientWidth + 1).map((e) => e.className || e.tagName)"""


@pytest.mark.parametrize("viewport", [WIDE, SMALL, PHONE], ids=lambda v: str(v["width"]))
def test_pages_open_quietly_and_nothing_is_cut(visit, viewport):
    visited = visit("index.html", viewport=viewport)
    for path in PAGES:
        page = visited.go(path)
        assert visited.shifts() == [], path
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        assert page.locator("h1").count() == 1
        assert page.evaluate(CUT) == [], path


def test_a_phone_shows_rows_as_cards_that_name_every_value(visit):
    page = visit("almanac-8-v1/index.html", viewport=PHONE).page
    row = page.locator("#methods tbody tr", has_text="Seeding")
    shown = row.locator("td:visible").evaluate_all(
        "cells => cells.slice(1).map(c => [getComputedStyle(c, '::before').content, c.innerText])"
    )
    names = [name.strip('"') for name, _ in shown]
    assert len(names) == len(set(names)) == 19
    assert dict(zip(names, (value for _, value in shown), strict=True))["FLOPs"] == "600G"
    page.get_by_label("Order").select_option("FLOPs")
    assert page.locator("#methods tbody th").first.text_content() == "Notes"
    assert page.evaluate("location.hash") == "#sort=night_flops&order=ascending"


def test_what_is_compared_is_a_file_too(visit):
    page = visit("almanac-8-v1/compare.html#a=naive&b=seeding").page
    page.locator("#answer", has_text="is better").wait_for()
    files = {}
    for name in ("differences", "matrix"):
        for kind in ("csv", "json"):
            with page.expect_download() as found:
                page.locator(f"#{name}-{kind}").click()
            assert found.value.suggested_filename == f"{name}-naive-seeding.{kind}"
            files[name, kind] = Path(found.value.path()).read_text("utf-8")
    rows = json.loads(files["differences", "json"])
    (row,) = [row for row in rows if row["metric"] == "average_accuracy"]
    assert row["difference"] == pytest.approx(row["a"] - row["b"])
    assert row["low"] < row["difference"] < row["high"] < 0
    assert len(json.loads(files["matrix", "json"])) == 9
    assert len(files["differences", "csv"].splitlines()) == len(rows) + 1


def test_a_page_works_from_a_disk_without_a_server(browser, made):
    folder = made[1].as_uri() + "/"
    visited = Visit(browser, folder, viewport=DESKTOP, offline=True)
    page = visited.go("almanac-8-v1/compare.html#a=sleep&b=naive")
    page.locator("#answer", has_text="is better").wait_for()
    assert not visited.complaints
    assert all(request.startswith(folder) for request in visited.requests)
    visited.context.close()


def test_sorting(visit):
    page = visit("almanac-8-v1/index.html").page
    rows = page.locator("#methods tbody tr:not(.group)")
    names = COLUMN % 2
    assert rows.evaluate_all(names)[:4] == ["Sleep", "Seeding", "Dreaming", "Naive"]
    heading = page.get_by_role("columnheader", name="FLOPs")
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"  # cheap ones are the best
    assert page.locator("[aria-sort]").count() == 1
    assert rows.evaluate_all(COLUMN % 11) == ["30G", "150G", "300G", "450G", "600G", "900G", "–"]
    heading.get_by_role("button").press("Enter")
    assert heading.get_attribute("aria-sort") == "descending"
    assert rows.evaluate_all(names)[0] == "Sleep"
    assert rows.evaluate_all(names)[-1] == "Copied"  # what has no value stays last
    page.get_by_role("columnheader", name="method").get_by_role("button").click()
    assert rows.evaluate_all(names)[1:] == [
        "Copied",
        "Dreaming",
        "Naive",
        "Notes",
        "Seeding",
        "Sleep",
    ]


def test_filtering(visit):
    page = visit("almanac-8-v1/index.html").page
    rows = page.locator("#methods tbody tr:not(.group)")
    page.get_by_label("Budget class").select_option("memory")
    assert rows.evaluate_all(COLUMN % 2) == ["Notes"]
    assert page.locator("#shown").text_content() == "1 of 7"
    page.get_by_label("Budget class").select_option("all")
    page.get_by_label("verified only").check()
    assert rows.count() == 6
    page.get_by_label("Find").fill("ing")
    assert rows.evaluate_all(COLUMN % 2) == ["Seeding", "Dreaming"]
    page.get_by_label("Find").fill("nothing like it")
    assert rows.count() == 0


def test_the_address_tells_filters_and_order(visit):
    visited = visit("almanac-8-v1/index.html")
    page = visited.page
    rows = page.locator("#methods tbody tr:not(.group)")
    headings = page.locator("#methods tbody .group")
    assert headings.all_text_contents() == [
        "recomputed, class weights",
        "recomputed, class memory",
        "no numbers",
    ]
    page.get_by_label("Find").fill("ing")
    page.get_by_role("columnheader", name="FLOPs").get_by_role("button").click()
    assert page.evaluate("location.hash") == "#find=ing&sort=night_flops&order=ascending"
    assert headings.count() == 0  # the rows do not stand in groups any more
    found = rows.evaluate_all(COLUMN % 2)
    assert found == ["Dreaming", "Seeding"]
    there = visit("almanac-8-v1/index.html#find=ing&sort=night_flops&order=descending")
    assert there.page.locator("#methods tbody tr").evaluate_all(COLUMN % 2) == found[::-1]
    assert there.page.get_by_label("Find").input_value() == "ing"
    page = there.go("almanac-8-v1/index.html#class=memory&verified=1&sort=nothing&order=sideways")
    page.reload()
    rows = page.locator("#methods tbody tr:not(.group)")
    assert rows.evaluate_all(COLUMN % 2) == ["Notes"]
    page.get_by_label("Budget class").select_option("all")
    page.get_by_label("verified only").uncheck()
    assert page.evaluate("location.hash") == ""
    assert headings.count() == 0 or rows.count() == 7


def test_choosing_methods_for_the_pictures(visit):
    page = visit("almanac-8-v1/index.html").page
    chips = page.locator(".chosen li:visible")
    curves = page.locator("figure .curves").first.locator("g:visible")
    assert chips.count() == 4  # three of the first class, one of the second
    assert curves.count() == 4
    naive = page.locator("#methods tr", has_text="Naive")
    naive.get_by_role("checkbox").check()
    assert chips.count() == curves.count() == 5
    assert page.locator(".dots g[class=s4] text").first.text_content() == "E"
    chips.first.get_by_role("button").press("Enter")
    assert curves.count() == 4
    assert not page.locator("#methods tr", has_text="Sleep").get_by_role("checkbox").is_checked()
    page.locator("#compare").click()
    page.locator("#answer", has_text="is better").wait_for()
    assert page.evaluate("location.hash") == "#a=seeding&b=dreaming"


def test_comparing_gives_the_paired_difference_of_the_library(visit, made):
    page = visit("almanac-8-v1/compare.html#a=naive&b=seeding").page
    page.locator("#answer", has_text="is better").wait_for()
    assert page.locator("#answer").text_content().startswith("B is better: average accuracy")
    results = {
        e.slug: e.verdict.results
        for e in load_entries(made[0])
        if e.board == "almanac-8-v1" and e.verdict.results
    }
    by_seed = {
        slug: {
            metric: {s.seed: s.metrics[metric] for s in results[slug].seeds}
            for metric in ("average_accuracy", "forgetting_max", "base_retention")
        }
        for slug in ("naive", "seeding")
    }
    minus = "\N{MINUS SIGN}"
    for metric, values in by_seed["naive"].items():
        expected = paired_difference(values, by_seed["seeding"][metric])
        cells = page.locator(f"[data-metric={metric}] td").all_text_contents()
        low, high = cells[3].replace(minus, "-").strip("[]").split(", ")
        assert float(cells[2].replace(minus, "-")) == pytest.approx(expected.mean, abs=6e-4)
        assert float(low) == pytest.approx(expected.interval.low, abs=6e-4)
        assert float(high) == pytest.approx(expected.interval.high, abs=6e-4)
    page.locator("#a").select_option("seeding")
    assert "cannot tell them apart" in page.locator("#answer").text_content()


def test_a_hostile_name_is_text(visit):
    page = visit("almanac-8-v1/index.html").page
    row = page.locator("#methods tr", has_text="onerror")
    row.get_by_role("checkbox").check()
    assert page.locator(".chosen li:visible .name").last.text_content() == HOSTILE
    row.get_by_role("link").click()
    page.wait_for_url("**/methods/hostile.html")
    assert page.locator("h1").text_content() == HOSTILE
    page = visit("almanac-8-v1/compare.html#a=hostile&b=sleep").page
    assert page.locator("#a option:checked").text_content().startswith(HOSTILE)
    assert page.locator("main img, main script").count() == 0


def test_the_keyboard_reaches_what_the_pointer_does(visit):
    page = visit("almanac-8-v1/index.html").page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "gain":
            break
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Space")
    assert page.locator("th[aria-sort]").text_content() == "gain"


def test_no_finding_of_axe(visit, axe):
    visited = visit("index.html")
    for path in PAGES:
        page = visited.go(path)
        page.evaluate(axe)
        options = {"resultTypes": ["violations"]}
        seen = [("light", DESKTOP), ("dark", DESKTOP)]
        seen += [("light", PHONE)] if path in CARDS else []
        for scheme, viewport in seen:
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size(viewport)
            if viewport is PHONE:
                options.pop("runOnly")
            found = page.evaluate("options => axe.run(document, options)", options)
            assert found["passes"]
            serious = [
                (path, rule["id"], rule["nodes"][0]["html"], rule["nodes"][0]["failureSummary"])
                for rule in found["violations"]
                if rule["impact"] != "minor"
            ]
            assert not serious, json.dumps(serious, indent=1)
            options["runOnly"] = ["color-contrast"]  # all that changes in the dark


@pytest.fixture(scope="module")
def axe(tmp_path_factory):
    """axe-core: the file that SLEEPGYM_AXE names, else from npm."""
    named = os.environ.get("SLEEPGYM_AXE")
    if named:
        return Path(named).read_text("utf-8")
    folder = tmp_path_factory.mktemp("axe")
    package = f"axe-core@{AXE_VERSION}"
    command = ["npm", "pack", package, "--silent", "--fetch-retries=0", "--fetch-timeout=20000"]
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=40)
    except (OSError, subprocess.SubprocessError):
        pytest.skip(f"no axe-core: set SLEEPGYM_AXE to axe.min.js of npm's {package}")
    subprocess.run(["tar", "xzf", *(f.name for f in folder.glob("*.tgz"))], cwd=folder, check=True)
    return (folder / "package" / "axe.min.js").read_text("utf-8")


@pytest.mark.slow
def test_500_rows_are_sorted_in_100_ms(browser, tmp_path):
    file = write_submission(tmp_path, "any", None)
    verdicts = [make_verdict(f"Method {k}", skill=0.1 + 0.2 * k, seed=k) for k in range(5)]
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    known = [verdict.model_copy(update={"sha256": digest}) for verdict in verdicts]
    entries = [Entry("almanac-8-v1", f"method-{k}", file, known[k % 5]) for k in range(500)]
    build_site(tmp_path / "out", entries)
    with serve(tmp_path / "out") as address:
        visited = Visit(browser, address, viewport=DESKTOP)
        page = visited.go("almanac-8-v1/index.html")
        assert page.locator("#shown").text_content() == "500 of 500"
        assert visited.shifts() == []
        times = [visited.sort(column) for _ in range(3) for column in (0, 1, 3, 5)]
        assert statistics.median(thread_ms for _, thread_ms in times) < 100, times
        page.get_by_role("button", name="Show more: 470 left").click()
        assert page.locator("#methods tbody tr:not(.group)").count() == 60
        page.get_by_label("Find").fill("Method 3")
        assert page.locator("#shown").text_content() == "100 of 500"
        visited.context.close()
