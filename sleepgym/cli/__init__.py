"""The command line: ``sleepgym --help``."""

from __future__ import annotations

import logging
import sys
import warnings
from functools import cache

import typer
from typer.exceptions import TyperException

from sleepgym.cli import inspect, reading, running, skills
from sleepgym.core import registry
from sleepgym.core.errors import SleepGymError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "Does this model really learn, or did it only read?\n\n"
        "Stream days of new material through an agent, close its context every night, and ask "
        "again in the morning."
    ),
    epilog=(
        "Start with: [bold]sleepgym list[/bold], then "
        "[bold]sleepgym run --env sleepgym/ClassIncremental-v0 --env-set dataset=invented "
        "--agent nearest --out runs/first[/bold]"
    ),
)
for module in (running, reading, inspect, skills):
    module.add_commands(app)


def main() -> None:
    """Entry point: 0 on success, 1 on a failed check, 2 on bad input, 130 on Ctrl-C."""
    warnings.formatwarning = lambda message, *_, **__: f"sleepgym: {message}\n"
    _report_models()
    sys.exit(run_command(sys.argv[1:]))


def run_command(arguments: list[str]) -> int:
    """Run one command line and return its exit code; errors are one line on stderr."""
    _complete()
    try:
        code = app(arguments, standalone_mode=False)
    except TyperException as error:  # a wrong option or argument
        message = " ".join(error.format_message().split())  # empty where only help was shown
        code = _fail(f"{message} (see sleepgym --help)", 2) if message else 2
    except SleepGymError as error:
        code = _fail(str(error), 2)
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
    """Say on stderr which model was loaded, and on what it computes."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("sleepgym: %(message)s"))
    logger = logging.getLogger("sleepgym_agents")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)


def _fail(message: str, code: int) -> int:
    print(f"sleepgym: {message}", file=sys.stderr)
    return code
