"""The documentation's site: built strictly, offline, and opened in a real browser."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys

import pytest

from browser import Visit, find_axe, find_violations, open_browser, serve_files
from checkout import ROOT

pytest.importorskip("mkdocs", reason="no MkDocs: pip install 'sleepgym[docs]'")
pytest.importorskip("material", reason="no Material for MkDocs: pip install 'sleepgym[docs]'")
DESKTOP = {"width": 1360, "height": 900}
PHONE = {"width": 390, "height": 844}
PAGES = [
    "",
    "quickstart/",
    "tutorials/own-agent/",
    "tutorials/gpus/",
    "results/",
    "glossary/",
    "reference/naive/",
    "api/",
    "api/sleepgym.core/",
    "log/",
]
CHECKED = ["", "tutorials/gpus/", "glossary/", "reference/naive/"]


@pytest.fixture(scope="module")
def hook():
    spec = importlib.util.spec_from_file_location("site_hook", ROOT / "docs" / "tools" / "site.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_links_lead_into_the_site_or_become_text(hook):
    from mkdocs.exceptions import PluginError

    assert hook._address(ROOT / "docs" / "concepts.md") == "concepts.md"
    assert hook._address(ROOT / "CONTRIBUTING.md") == "contributing.md"
    assert hook._address(ROOT / "pyproject.toml") is None
    assert hook._address(ROOT / "docs" / "tools" / "site.py") is None
    with pytest.raises(PluginError, match=r"docs/nowhere\.md, which does not exist"):
        hook._address(ROOT / "docs" / "nowhere.md")


def test_every_public_module_has_a_place_in_the_api(hook):
    pages = hook.api_pages()
    text = "\n".join(pages.values())
    assert "::: sleepgym.core.agent\n" in text
    for package, (base, _) in hook.PACKAGES.items():
        for file in base.rglob("*.py"):
            name = ".".join([package, *file.relative_to(base).with_suffix("").parts])
            public = [line for line in file.read_text().splitlines() if line[:6] == "class "]
            if public and file.stem[0] != "_":
                assert f"::: {name}\n" in text, name


def build(out, root=ROOT):
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", out],
        cwd=root,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "http_proxy": "http://127.0.0.1:9"},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    out = tmp_path_factory.mktemp("docs")
    done = build(out)
    assert done.returncode == 0, done.stderr[-3000:]
    return out


@pytest.mark.slow
def test_a_broken_link_stops_the_build(tmp_path):
    root = tmp_path / "copy"
    left_out = shutil.ignore_patterns(".*", "build", "runs", "dist", "__pycache__", "*.gz")
    shutil.copytree(ROOT, root, ignore=left_out)
    (root / "docs" / "more.md").write_text("[nowhere](concepts.md#no-such-heading)\n")
    hook = root / "docs" / "tools" / "site.py"
    hook.write_text(hook.read_text() + "\nPACKAGES.clear()  # the API takes most of the time\n")
    done = build(tmp_path / "out", root)
    assert done.returncode == 1
    assert "no-such-heading" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_pages_open_without_complaint(site, size, scheme, tmp_path):
    with open_browser() as browser, serve_files(site) as address:
        axe = find_axe(tmp_path)
        visited = Visit(browser, address, viewport=size, color_scheme=scheme)
        for path in PAGES:
            page = visited.go(path)
            wide = page.evaluate("document.documentElement.scrollWidth > innerWidth")
            assert not wide, path
            if axe and path in CHECKED:  # the theme's own moderate findings are its own
                assert not find_violations(page, axe, ("serious", "critical")), path
        assert visited.complaints == []
        assert all(url.startswith((address, "data:", "blob:")) for url in visited.requests)
