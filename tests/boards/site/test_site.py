"""The site as files: complete, harmless, light, and equal to the verdicts."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from itertools import pairwise
from urllib.parse import urljoin

import pytest

from pages import Page
from sleepgym.cli import run_command
from sleepgym.core.errors import SleepGymError
from sleepgym_boards.board import load_board, load_boards
from sleepgym_boards.catalogue.entries import load_entries
from sleepgym_boards.site.building import build_site
from sleepgym_boards.site.exports import write_table
from sleepgym_boards.site.formatting import share
from sleepgym_boards.site.methods import order_methods
from sleepgym_boards.site.pages import LINKS
from sleepgym_boards.site.trajectories import MOST_ROWS
from sleepgym_boards.submission.files import parse, read_bytes
from sleepgym_boards.verification.regrading import rebuild
from sleepgym_boards.verification.rules import RULES
from synthetic_verdicts import HOSTILE, copy_submission, make_verdict, write_submission

HANDLERS = re.compile(r"on[a-z]+|style")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("submissions")
    write_submission(folder, "sleep", make_verdict("Sleep", skill=0.9, rerun=True))
    write_submission(folder, "naive", make_verdict("Naive", skill=0.6, decay=0.6, seed=1))
    write_submission(folder, "notes", make_verdict("Notes", skill=0.8, seed=2, budget=1))
    write_submission(folder, "copied", make_verdict("Copied", broken="grades"))
    write_submission(folder, "pending", None)
    write_submission(folder, "old", make_verdict("Old", board_version=0))
    write_submission(folder, "edited", make_verdict("Edited")).write_bytes(b"other")
    words = dict.fromkeys(("name", "summary", "data", "departures", "agent", "model"), HOSTILE)
    card = {"authors": [HOSTILE], "settings": {HOSTILE: HOSTILE}, "packages": {HOSTILE: HOSTILE}}
    name = words.pop("name")
    hostile = make_verdict(name, skill=0.3, **words, **card, commands={100: HOSTILE})
    write_submission(folder, "hostile", make_verdict("x"))
    for board in ("open-v1", "almanac-64-v1"):
        write_submission(folder, "sleep", make_verdict("Sleep", board), board)
    copy_submission(folder, "open-v1", "exam-only")
    write_submission(folder, "sleep", make_verdict("Sleep", "ablation"), "ablation")
    out = tmp_path_factory.mktemp("site") / "made"
    entries = [
        type(e)(e.board, e.slug, e.file, hostile.model_copy(update={"sha256": e.verdict.sha256}))
        if e.slug == "hostile"
        else e
        for e in load_entries(folder)
    ]
    build_site(out, entries)
    return folder, out


def pages(out):
    return {
        str(f.relative_to(out)): Page(f.read_text("utf-8")) for f in sorted(out.rglob("*.html"))
    }


def test_every_link_leads_to_a_file_of_the_site(made):
    _, out = made
    ours = {*LINKS.values(), f"{LINKS['Documentation']}/agents/sleep.md"}
    for name, page in pages(out).items():
        for _tag, attributes in page.tags:
            for key in ("href", "src"):
                address = (attributes.get(key) or "#").partition("#")[0]
                if address in ours:  # a card may name them too
                    assert attributes["rel"].startswith("noopener noreferrer")
                elif address.startswith("https://"):
                    assert attributes["rel"] == "noopener noreferrer nofollow ugc"
                elif address:
                    target = urljoin(name, address)
                    assert (out / target).is_file(), (name, address)


def test_a_page_is_painted_when_its_last_element_is_read(made):
    for name, page in pages(made[1]).items():
        (head,) = [own for tag, own in page.tags if tag == "link" and own["rel"] == "expect"]
        assert head["blocking"] == "render"
        places = {own["id"]: at for at, (_, own) in enumerate(page.tags) if "id" in own}
        assert max(places, key=places.__getitem__) == head["href"].removeprefix("#"), name


def test_a_board_names_the_leader_of_every_class_the_best_first(tmp_path):
    folder = tmp_path / "submissions"
    for slug, skill, kept in (("light", 0.2, "weights"), ("heavy", 0.6, "memory")):
        verdict = make_verdict(slug.title(), skill=skill)
        results = verdict.results.model_copy(update={"budget_class": kept})
        verdict = verdict.model_copy(update={"results": results})
        write_submission(folder, slug, verdict)
    build_site(tmp_path / "site", load_entries(folder))
    text = (tmp_path / "site" / "almanac-8-v1" / "index.html").read_text("utf-8")
    said = re.sub("<[^>]*>", "", text.partition('class="lead"')[2].partition("<section>")[0])
    assert re.search(r"Heavy leads class memory with .*; Light leads class weights with", said)


def test_nothing_that_was_submitted_becomes_markup(made):
    _, out = made
    seen = 0
    for name, page in pages(out).items():
        scripts = [attributes.get("src") for tag, attributes in page.tags if tag == "script"]
        assert all(re.fullmatch(r"(\.\./)*(site|resamples-5)\.js", src) for src in scripts), name
        assert not [tag for tag, _ in page.tags if tag in ("img", "iframe", "object", "style")]
        assert not [a for _, attrs in page.tags for a in attrs if HANDLERS.fullmatch(a)], name
        metas = [attributes for tag, attributes in page.tags if tag == "meta"]
        (policy,) = [
            m["content"] for m in metas if m.get("http-equiv") == "Content-Security-Policy"
        ]
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
        seen += HOSTILE in "".join(page.words)
    assert seen >= 4  # its own page, the board's, the comparison, the front page


def headings(page):
    """The headings within a board's table, and the method below each."""
    rows = [row for row in page.rows if len(row) > 1]
    return {
        above[1]: below[2] for above, below in pairwise(rows) if len(above) == 2 and len(below) > 9
    }


def test_every_class_has_its_heading_and_below_it_the_best_first(made):
    _, out = made
    page = Page((out / "almanac-8-v1" / "index.html").read_text("utf-8"))
    found = headings(page)
    assert list(found) == [
        "re-run, class weights",
        "recomputed, class weights",
        "recomputed, class memory",
        "no numbers",
    ]
    assert found["re-run, class weights"] == "Sleep"
    assert found["recomputed, class memory"] == "Notes"


def test_every_table_is_a_file_too_the_mark_first(made):
    folder, out = made
    board = out / "almanac-8-v1"
    kinds = ("metrics", "nights", "matrices", "verdicts")
    files = [board / "table", *(board / kind / "naive" for kind in kinds)]
    files += [out / "ablation", out / "open-v1" / "trajectories" / "exam-only"]
    entry = next(e for e in load_entries(folder) if e.slug == "naive")
    results = entry.verdict.results
    for file in (*files, out / "boards"):
        plain = json.loads(file.with_name(file.name + ".json").read_text("utf-8"))
        rows = list(csv.DictReader(io.StringIO(file.with_name(file.name + ".csv").read_text())))
        assert len(rows) == len(plain)
        for row, other in zip(rows, plain, strict=True):
            assert next(iter(row)) == next(iter(other)) == "mark"
            assert {k: v for k, v in row.items() if v} == {
                k: str(v) for k, v in other.items() if v is not None
            }
    table = json.loads((board / "table.json").read_text("utf-8"))
    (row,) = [row for row in table if row["slug"] == "naive"]
    assert (row["mark"], row["rank_best"], row["class"]) == ("recomputed", 2, "weights")
    assert row["average_accuracy"] == results.mean["average_accuracy"]
    assert [row["average_accuracy_low"], row["average_accuracy_high"]] == [
        *results.interval["average_accuracy"]
    ]
    assert next(r["nights_rerun"] for r in table if r["slug"] == "sleep") == 4
    assert next(r["no_numbers_because"] for r in table if r["slug"] == "pending")
    text = (out / "almanac-8-v1" / "index.html").read_text("utf-8")
    assert 'href="table.csv" download' in text
    rules = json.loads((out / "rules.json").read_text("utf-8"))
    assert [row["rule"] for row in rules] == list(RULES)
    for file in out.rglob("*.html"):  # no table without its files
        if file.name not in ("index.html", "compare.html") or file.parent != out:
            text = file.read_text("utf-8")
            assert text.count("<table") <= text.count(">CSV</a>"), file


def test_a_trajectory_tells_what_a_run_answered_and_when_it_forgot(made):
    folder, out = made
    place = out / "open-v1" / "trajectories" / "exam-only"
    rows = json.loads(place.with_suffix(".json").read_text("utf-8"))
    run = parse(read_bytes(folder / "open-v1" / "exam-only.json.gz")).runs[0]
    env = rebuild(load_board("open-v1"), run.seed, None)
    taught = {a.id for p in run.phases for a in p.answers if p.phase != "practice"}
    assert {row["id"] for row in rows} == taught
    last = {a.id: a for p in run.phases if p.phase == "morning" for a in p.answers}
    for row in rows:
        assert row["right"] == " | ".join(env.stream.key[row["id"]])
        answer = last[row["id"]]
        assert (answer.score >= 0.5) == (row["fate"] == "kept")
        assert f": {answer.text} (" in row["answers"].split("; ")[-1]
    text = place.with_suffix(".html").read_text("utf-8")
    days = Counter(row["day"] for row in rows)
    assert text.count("<li><p>") == sum(min(n, MOST_ROWS // len(days)) for n in days.values())
    assert f"seed {run.seed}" in text
    assert "../trajectories/exam-only.html" in (
        out / "open-v1" / "methods" / "exam-only.html"
    ).read_text("utf-8")
    without = (out / "almanac-8-v1" / "methods" / "sleep.html").read_text("utf-8")
    assert "No page of its answers" in without  # a file without content


def test_no_cell_of_a_file_is_a_formula(tmp_path):
    write_table(tmp_path / "table", [{"mark": "re-run", "model": '=HYPERLINK("x")', "gain": -0.5}])
    assert (tmp_path / "table.csv").read_text() == (
        'mark,model,gain\nre-run,"\'=HYPERLINK(""x"")",-0.5\n'
    )


def test_superseded_and_empty_boards_stand_apart(made):
    _, out = made
    text = (out / "index.html").read_text("utf-8")
    busy, _, rest = text.partition("<h2>No submission yet</h2>")
    empty, _, old = rest.partition("<h2>Superseded</h2>")
    assert re.findall(r'h2><a href="(.*?)/', busy) == ["almanac-8-v1", "open-v1", "almanac-64-v1"]
    assert 'href="codebook-8/index.html"' in empty
    assert 'href="almanac-8/index.html"' in old
    assert 'href="almanac-8-v1/index.html"' in old
    page = (out / "almanac-8" / "index.html").read_text("utf-8")
    assert 'Superseded by <a href="../almanac-8-v1/index.html">' in page
    assert "Superseded" not in (out / "almanac-8-v1" / "index.html").read_text("utf-8")


def test_settings_of_old_submissions_have_the_names_of_today(tmp_path):
    command = "sleepgym run --agent {} --agent-set 'seed_prompts=a b' --agent-set farthest=0.3"
    for slug, agent in (("known", "sleep"), ("stranger", "mine:Sleep")):
        commands = {100: command.format(agent)}
        verdict = make_verdict(slug, agent=agent, settings={"farthest": 0.3}, commands=commands)
        write_submission(tmp_path / "in", slug, verdict)
    build_site(tmp_path / "site", load_entries(tmp_path / "in"))
    pages = tmp_path / "site" / "almanac-8-v1" / "methods"
    known, stranger = ((pages / f"{slug}.html").read_text() for slug in ("known", "stranger"))
    assert "farthest=0.3" in stranger
    assert "farthest=0.3" not in known
    assert known.count("max_edit_distance=0.3") == 2
    assert "&#39;seed_prompts=a b&#39;" in known


def test_a_row_shows_the_verdict(made):
    folder, out = made
    page = Page((out / "almanac-8-v1" / "index.html").read_text("utf-8"))
    entry = next(e for e in load_entries(folder) if e.slug == "naive")
    mean = entry.verdict.results.mean
    (row,) = [row for row in page.rows if "Naive" in row]
    assert row[1] == "recomputed2"  # after the hostile one; sleep has a stronger mark
    assert row[3] == "weights"
    assert row[4].startswith(share(mean["average_accuracy"]) + "[")
    assert row[5:10] == [
        share(mean[name])
        for name in (
            "backward_transfer",
            "forgetting_max",
            "consolidation",
            "base_retention",
            "gain",
        )
    ]
    assert row[10:17] == ["12", "300G", "120k", "496k", "480k", "16k", "96"]
    assert row[17:] == ["embedded", "4.33M", "in-process", "2026-11-23"]
    (notes,) = [row for row in page.rows if "Notes" in row]
    assert notes[1:4] == ["recomputed1", "Notes", "memory"]
    assert next(row for row in page.rows if "Sleep" in row)[1] == "re-run1"


def test_what_is_not_verified_shows_no_number_and_says_why(made):
    folder, out = made
    reasons = {
        "copied": "refused by rule grades",
        "pending": "not verified yet",
        "old": "run on version 0 of this board",
        "edited": "changed since it was verified",
    }
    page = Page((out / "almanac-8-v1" / "index.html").read_text("utf-8"))
    for slug, reason in reasons.items():
        text = (out / "almanac-8-v1" / "methods" / f"{slug}.html").read_text("utf-8")
        assert f"No numbers: {reason}" in text
        assert not (out / "almanac-8-v1" / "methods" / f"{slug}.js").exists()
        name = slug if slug == "pending" else slug.capitalize()
        (row,) = [row for row in page.rows if name in row]
        assert set(row[3:17]) == {"–"}
        assert reason in row[1]
    methods = order_methods(
        load_board("almanac-8-v1"), [e for e in load_entries(folder) if e.board == "almanac-8-v1"]
    )
    assert [m.results is None for m in methods] == [False] * 4 + [True] * 4


def test_the_method_page_shows_every_metric_and_the_commands(made):
    folder, out = made
    entry = next(e for e in load_entries(folder) if e.slug == "sleep" and e.board == "almanac-8-v1")
    text = (out / "almanac-8-v1" / "methods" / "sleep.html").read_text("utf-8")
    page = Page(text)
    rows = {row[0]: row[1:] for row in page.rows if row}
    results = entry.verdict.results
    for name, value in results.mean.items():
        assert rows[name.replace("_", " ").replace("flops", "FLOPs")], name
        if name.endswith("accuracy"):
            assert rows[name.replace("_", " ")][0] == share(value)
    for command in entry.verdict.header.commands.values():
        assert command in text
    assert (
        out / "almanac-8-v1" / "files" / "sleep.json.gz"
    ).read_bytes() == entry.file.read_bytes()
    heat = [row for row in page.rows if row[0] == "birth"]
    assert len(heat[0]) == 10


def test_pages_are_light(made):
    _, out = made
    shared = sum((out / name).stat().st_size for name in ("site.css", "site.js", "resamples-5.js"))
    for file in out.rglob("*.html"):
        text = re.sub(r"<svg.*?</svg>", "", file.read_text("utf-8"), flags=re.DOTALL)
        assert len(text.encode()) + shared < 300_000, file


def test_building_again_gives_the_same_bytes_and_leaves_nothing_behind(made, tmp_path):
    folder, _ = made
    entries = load_entries(folder)
    out = tmp_path / "site"
    build_site(out, entries)
    first = {f.relative_to(out): f.read_bytes() for f in out.rglob("*") if f.is_file()}
    build_site(out, entries)
    assert {f.relative_to(out): f.read_bytes() for f in out.rglob("*") if f.is_file()} == first
    build_site(out, [])
    assert not list(out.rglob("sleep.html"))
    assert [path.name for path in tmp_path.iterdir()] == ["site"]
    assert {f"{board.name}/index.html" for board in load_boards()} <= pages(out).keys()


def test_a_folder_with_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(SleepGymError, match="something else than a site"):
        build_site(tmp_path, [])
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_one_bad_file_stops_nothing(tmp_path, capsys):
    folder, out = tmp_path / "in", tmp_path / "site"
    write_submission(folder, "good", make_verdict("Good"))
    write_submission(folder, "bad name'", make_verdict("Bad"))
    write_submission(folder, "lost", make_verdict("Lost"), "nowhere")
    write_submission(folder, "huge", make_verdict("Huge"))
    with open(folder / "almanac-8-v1" / "huge.json.gz", "wb") as stream:
        stream.truncate(1 << 30)
    (folder / "almanac-8-v1" / "link.json.gz").symlink_to(tmp_path / "secret")
    (folder / "almanac-8-v1" / "folder.json.gz").mkdir()
    other = make_verdict("Other")
    del other.results.matrix[-1]
    write_submission(folder, "other", other)
    assert run_command(["site", "--out", str(out), "--submissions", str(folder)]) == 0
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 4
    assert all(line.startswith("sleepgym: left out") for line in said)
    text = (out / "almanac-8-v1" / "index.html").read_text()
    rows = {row[2]: row[1] for row in Page(text).rows if len(row) > 3 and row[2]}
    assert rows["Good"] == "recomputed1"
    assert "changed since" in rows["Huge"]
    assert "made again" in rows["Other"]
    assert rows.keys() & {"Good", "Huge", "Other", "Bad", "Lost"} == {"Good", "Huge", "Other"}


@pytest.mark.parametrize("seconds", [5e-324, 1e308])
def test_a_number_beyond_all_measure_does_not_break_the_site(tmp_path, seconds):
    verdict = make_verdict("Odd")
    for table in (verdict.results.mean, *(s.metrics for s in verdict.results.seeds)):
        table |= {"night_seconds": seconds, "night_flops": seconds, "state_bytes": seconds}
    for night in verdict.results.nights:
        night.seconds = night.flops = seconds
    write_submission(tmp_path / "in", "odd", verdict)
    write_submission(tmp_path / "in", "good", make_verdict("Good", skill=0.9))
    build_site(tmp_path / "site", load_entries(tmp_path / "in"))
    assert (tmp_path / "site" / "almanac-8-v1" / "methods" / "odd.html").exists()


def test_methods_are_ranked_within_their_mark_the_strongest_first(tmp_path):
    folder = tmp_path / "in"
    for slug, skill, marks in (
        ("forged", 0.99, {"decay": 1.0}),  # better in all that breaks ties too
        ("plain", 0.5, {}),
        ("known", 0.6, {"rerun": True}),
        ("fresh", 0.4, {"sealed": True}),
    ):
        write_submission(folder, slug, make_verdict(slug.title(), skill=skill, **marks))
    build_site(tmp_path / "site", load_entries(folder))
    site = tmp_path / "site"
    for page in ("index.html", "almanac-8-v1/index.html"):
        rows = [row for row in Page((site / page).read_text()).rows if {"Forged", "Known"} & {*row}]
        assert rows[0][rows[0].index("Known") - 1] == "re-run1", page
        assert rows[1][rows[1].index("Forged") - 1] == "recomputed1", page
    text = (site / "almanac-8-v1" / "index.html").read_text()
    order = [row[1] for row in Page(text).rows if len(row) > 3 and row[2].istitle()]
    assert order == ["sealed1", "re-run1", "recomputed1", "recomputed2"]
    lead = text.partition('class="lead"')[2].partition("<section>")[0]
    assert "Fresh</a></strong> leads class weights" in lead
    assert "(sealed)" in lead
    assert (
        '"mark":{"name":"re-run","reruns":{"pairs":4,"of":40,"isolation":"sandbox"}}'
        in (site / "almanac-8-v1" / "methods" / "known.js").read_text()
    )
    assert (
        "4 of 40 nights re-run, sandbox"
        in (site / "almanac-8-v1" / "methods" / "known.html").read_text()
    )


def test_commands(tmp_path, capsys):
    write_submission(tmp_path / "in", "sleep", make_verdict())
    out = str(tmp_path / "site")
    assert run_command(["site", "--out", out, "--submissions", str(tmp_path / "in")]) == 0
    assert "pages. Next: sleepgym serve" in capsys.readouterr().out
    for arguments, says in (
        (["site", "--out", out, "--submissions", str(tmp_path / "nowhere")], "not a folder"),
        (["site", "--out", str(tmp_path / "in"), "--submissions", str(tmp_path / "in")], "else"),
        (["serve", str(tmp_path)], "is no site"),
    ):
        assert run_command(arguments) == 2
        error = capsys.readouterr().err
        assert says in error
        assert error.count("\n") == 1
