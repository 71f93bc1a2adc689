"""What MkDocs is told beyond mkdocs.yml: ``make docs-site``.

The pages are read in the repository as well, so their links are relative to it. Here links to
pages of the top folder lead to their copies, and those to other files outside of ``docs`` become
plain text; a link to a file that does not exist stops the build. The pages of the Python API name
every module of the four packages, one page a folder.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

import sleepgym

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
TOP = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
PACKAGES = {
    "sleepgym": (ROOT / "sleepgym", "The framework. These names come with `import sleepgym`:"),
    "sleepgym_agents": (ROOT / "agents" / "sleepgym_agents", "Reference agents and their parts."),
    "sleepgym_tasks": (ROOT / "tasks" / "sleepgym_tasks", "Environments and readers of data."),
    "sleepgym_boards": (
        ROOT / "leaderboards" / "sleepgym_boards",
        "Boards, submissions, verification and the site.",
    ),
}
_FENCE = re.compile(r"^(```.*?^```)", re.M | re.S)
_LINK = re.compile(r"\[([^\[\]]*(?:\[[^\[\]]*\][^\[\]]*)*)\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)")
_SEARCH = 'data-md-component="search" role="dialog" aria-label="Search"'
_ROLE = re.compile(r":(?:class|func|meth|mod|data|attr):<code>~?([^<]+)</code>")


def on_config(config: Any) -> Any:
    """Put the pages of a folder in the place of a navigation entry that ends with a slash."""
    config.nav = list(_expanded(config.nav))
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that lie elsewhere or nowhere."""
    for name, address in TOP.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, address, content=text))
    for address, text in api_pages().items():
        files.append(File.generated(config, address, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Let links lead where the site has what they name."""
    address = page.file.src_uri
    if address.startswith("api/"):
        return markdown
    top = {made: ROOT / name for name, made in TOP.items()}
    source = top.get(address, DOCS / address)

    def replace(match: re.Match[str]) -> str:
        text, target, anchor = match[1], match[2], match[3] or ""
        place = _address(source.parent / target)
        if place is None:
            return text
        relative = posixpath.relpath(place, posixpath.dirname(address) or ".")
        return f"[{text}]({relative}{anchor})"

    parts = _FENCE.split(markdown)
    return "".join(p if p.startswith("```") else _LINK.sub(replace, p) for p in parts)


def on_page_content(html: str, page: Any, config: Any, files: Any) -> str:
    """Show the roles of docstrings as code."""
    return _ROLE.sub(r"<code>\1</code>", html) if page.file.src_uri.startswith("api/") else html


def on_post_page(output: str, page: Any, config: Any) -> str:
    """Name the theme's search dialog for those who hear the page."""
    return output.replace('data-md-component="search" role="dialog"', _SEARCH)


def api_pages() -> dict[str, str]:
    """Address -> text of the pages of the Python API, one a folder with modules."""
    index = ["# Python API", "", "Every public class and function, by folder.", ""]
    pages: dict[str, str] = {}
    for package, (base, about) in PACKAGES.items():
        index += [f"## `{package}`", "", about, ""]
        index += _exported() if package == "sleepgym" else []
        for folder in sorted({file.parent for file in base.rglob("*.py")}):
            name = ".".join([package, *folder.relative_to(base).parts])
            modules = [_module(name, file) for file in sorted(folder.glob("*.py"))]
            modules = [module for module in modules if module]
            if modules:
                text = [f"# {name}", "", *(f"::: {module}\n" for module in modules)]
                pages[f"api/{name}.md"] = "\n".join(text)
                index.append(f"- [`{name}`]({name}.md)")
        index.append("")
    return {"api/README.md": "\n".join(index), **pages}


def _exported() -> list[str]:
    """A table of what ``import sleepgym`` gives."""
    lines = ["| name | what it is |", "|---|---|"]
    for name in sleepgym.__all__:
        thing = getattr(sleepgym, name)
        summary = (thing.__doc__ or "").strip().splitlines()[0].replace("``", "`")
        summary = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", summary)
        lines.append(f"| [`{name}`][{thing.__module__}.{name}] | {summary} |")
    return [*lines, ""]


def _module(folder: str, file: Path) -> str | None:
    """Name of a module that defines something public; None of others."""
    text = file.read_text(encoding="utf-8")
    if not re.search(r"^(def|class) [a-zA-Z]|^[A-Z]\w* ?[:=]", text, re.M) or file.stem[0] == "_":
        return None
    return folder if file.name == "__init__.py" else f"{folder}.{file.stem}"


def _address(target: Path) -> str | None:
    """Where the site has a file of the repository; None where it has not.

    Raises:
        PluginError: If there is no such file.
    """
    path = target.resolve()
    if not path.exists():
        raise PluginError(f"a link leads to {path.relative_to(ROOT)}, which does not exist")
    if path.parent == ROOT and path.name in TOP:
        return TOP[path.name]
    if path == ROOT / "README.md":
        return "README.md"
    if path.is_file() and DOCS in path.parents and DOCS / "tools" not in path.parents:
        return path.relative_to(DOCS).as_posix()
    return None


def _expanded(entries: list[Any]) -> Iterator[Any]:
    for entry in entries:
        if isinstance(entry, str) and entry.endswith("/"):
            yield from _pages_of(entry)
        elif isinstance(entry, dict):
            [(title, inside)] = entry.items()
            yield {title: list(_expanded(inside)) if isinstance(inside, list) else inside}
        else:
            yield entry


def _pages_of(folder: str) -> list[str]:
    """Addresses of the pages in a folder, its index first."""
    made = [address for address in api_pages() if address.startswith(folder)]
    found = [path.relative_to(DOCS).as_posix() for path in (DOCS / folder).glob("*.md")]
    return sorted([*made, *found], key=lambda address: (not address.endswith("README.md"), address))
