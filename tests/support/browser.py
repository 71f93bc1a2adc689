"""A real browser for tests of the site: the Chromium of the system, driven by Playwright."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from sleepgym_boards.site.serving import HOST, make_server

AXE_VERSION = "4.14.1"
NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
SHIFTS = """
window.shifts = [];
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) {
    const nodes = entry.sources.map((s) => s.node && (s.node.id || s.node.nodeName));
    if (!entry.hadRecentInput) window.shifts.push([entry.value, ...nodes]);
  }
}).observe({ type: "layout-shift", buffered: true });
"""
_SORT_MS = """
async (column) => {
  const button = document.querySelectorAll("#methods th button")[column];
  const start = performance.now();
  button.click();
  document.querySelector("#methods tbody tr").getBoundingClientRect();
  await new Promise(requestAnimationFrame);
  const channel = new MessageChannel();
  const painted = new Promise((done) => (channel.port1.onmessage = done));
  channel.port2.postMessage(0);
  await painted;
  return performance.now() - start;
}
"""


def find_browser() -> str | None:
    """The browser's program: ``SLEEPGYM_CHROMIUM``, or the first known name on the path."""
    named = os.environ.get("SLEEPGYM_CHROMIUM")
    return named or next((found for name in NAMES if (found := shutil.which(name))), None)


@contextmanager
def open_browser() -> Iterator:
    """A browser; skips the test where Playwright or a browser is missing."""
    api = pytest.importorskip(
        "playwright.sync_api", reason="no Playwright: pip install 'sleepgym[dev]'"
    )
    program = find_browser()
    if program is None:
        pytest.skip("no Chromium: apt-get install chromium, or set SLEEPGYM_CHROMIUM")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--disable-gpu"])
        yield browser
        browser.close()


@contextmanager
def serve(folder) -> Iterator[str]:
    """The address of a served site."""
    with make_server(folder) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://{HOST}:{server.server_port}/"
        server.shutdown()
        thread.join()


@contextmanager
def serve_files(folder) -> Iterator[str]:
    """The address of a folder of any pages."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *arguments) -> None:
            pass

    with ThreadingHTTPServer((HOST, 0), partial(Handler, directory=str(folder))) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://{HOST}:{server.server_port}/"
        server.shutdown()
        thread.join()


def find_axe(folder: Path) -> str | None:
    """The script of axe-core: the file that SLEEPGYM_AXE names, else from npm; None without."""
    named = os.environ.get("SLEEPGYM_AXE")
    if named:
        return Path(named).read_text("utf-8")
    package = f"axe-core@{AXE_VERSION}"
    command = ["npm", "pack", package, "--silent", "--fetch-retries=0", "--fetch-timeout=20000"]
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=40)
    except (OSError, subprocess.SubprocessError):
        return None
    subprocess.run(["tar", "xzf", *(f.name for f in folder.glob("*.tgz"))], cwd=folder, check=True)
    return (folder / "package" / "axe.min.js").read_text("utf-8")


def find_violations(
    page, axe: str, impacts: tuple[str, ...] = ("moderate", "serious", "critical")
) -> list[tuple[str, str, str]]:
    """What axe finds on a page: rule, element and advice."""
    page.evaluate(axe)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    assert found["passes"]
    return [
        (rule["id"], node["html"], node["failureSummary"])
        for rule in found["violations"]
        if rule["impact"] in impacts
        for node in rule["nodes"]
    ]


class Visit:
    """A page and all that went wrong on it."""

    def __init__(self, browser, address: str, **options) -> None:
        self.address = address
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self._session = None
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.add_init_script(SHIFTS)
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("requestfailed", self._failed)
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(dialog.message))

    def go(self, path: str):
        """Open a page of the site and wait until it is loaded."""
        answer = self.page.goto(self.address + path)
        assert answer is None or answer.ok, path
        return self.page

    def sort(self, column: int) -> tuple[float, float]:
        """Milliseconds from a click on a heading to the painted table, and those of its thread.

        The second are processor time of the page's main thread: other processes do not count.
        """
        before = self._thread_s()
        wall_ms = self.page.evaluate(_SORT_MS, column)
        return wall_ms, (self._thread_s() - before) * 1000

    def _thread_s(self) -> float:
        if self._session is None:
            self._session = self.context.new_cdp_session(self.page)
            self._session.send("Performance.enable", {"timeDomain": "threadTicks"})
        found = self._session.send("Performance.getMetrics")["metrics"]
        return next(metric["value"] for metric in found if metric["name"] == "TaskDuration")

    def _failed(self, request) -> None:
        if request.failure != "net::ERR_ABORTED":  # the page was left before its icon came
            self.complaints.append(f"{request.failure}: {request.url}")

    def shifts(self) -> list:
        """Layout shifts that no input caused, after two more frames."""
        self.page.evaluate("new Promise(d => requestAnimationFrame(() => setTimeout(d, 100)))")
        return self.page.evaluate("window.shifts")
