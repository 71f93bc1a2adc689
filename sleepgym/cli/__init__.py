"""The command line: ``sleepgym --help``."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from contextlib import suppress
from functools import cache
from typing import Annotated

import typer
from typer.exceptions import TyperException

import sleepgym
from sleepgym.cli import inspect, look, reading, running, serving, skills
from sleepgym.cli.console import accept_any_text, choose_width
from sleepgym.core import registry
from sleepgym.core.errors import SleepGymError, one_line

app = typer.Typer(
    no_args_is_help=True,
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "Measure what a language model still knows after its context is gone.\n\n"
        "Days of new material stream through an agent; its context is wiped every night; exams "
        "before and after the night tell learning, consolidation and forgetting apart."
    ),
    epilog=(
        "Examples:\n\nsleepgym list\n\n"
        "sleepgym run --env sleepgym/Almanac-v1 --env-set days=2 --agent naive --out runs/one\n\n"
        "sleepgym suite demo"
    ),
)


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)
    ] = False,
) -> None:
    if version:
        print(f"sleepgym {sleepgym.__version__}")
        raise typer.Exit


for module in (running, reading, look, inspect, skills, serving):
    module.add_commands(app)


def main() -> None:
    """Entry point: 0 on success, 1 on a failed check, 2 on bad input, 130 on Ctrl-C."""
    accept_any_text()
    warnings.formatwarning = lambda message, *_, **__: f"sleepgym: {message}\n"
    _report_models()
    with suppress(OSError):  # own agents lie where the command is given, as `python -m` has it
        sys.path.append(os.getcwd())
    sys.exit(run_command(sys.argv[1:]))


def run_command(arguments: list[str]) -> int:
    """Run one command line and return its exit code; errors are one line on stderr."""
    choose_width()
    _complete()
    try:
        code = app(arguments, standalone_mode=False)
    except TyperException as error:  # a wrong option or argument
        said = " ".join(error.format_message().split())  # empty where only help was shown
        message = said.removesuffix(".")
        words = ["--help"]
        at = getattr(error, "ctx", None)
        while at is not None and at.parent is not None:  # the command that was meant
            words.insert(0, at.info_name)
            at = at.parent
        code = _fail(f"{message} (see sleepgym {' '.join(words)})", 2) if message else 2
    except SleepGymError as error:
        code = _fail(str(error), 2)
    except OSError as error:  # a full or read-only disk, a path that cannot be, a dangling link
        where = f"{str(error.filename)!r:.200}: " if error.filename else ""
        code = _fail(f"{where}{error.strerror or error}", 2)
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    if code == 130:
        _fail("interrupted; what was finished is kept, the same command goes on from there", 130)
    return code if isinstance(code, int) else 0


@cache
def _complete() -> None:
    """Add the commands of boards, agents and third parties, which import this package in turn."""
    registry.add_commands(app)


def _report_models() -> None:
    """Say on stderr which model was loaded, on what it computes, and what was not graded again."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("sleepgym: %(message)s"))
    for name in ("sleepgym", "sleepgym_agents"):
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)


def _fail(message: str, code: int) -> int:
    print(f"sleepgym: {one_line(message, 10_000)}", file=sys.stderr)
    return code
