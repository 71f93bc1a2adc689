"""The agent's side: a process that holds one instance of an agent and answers a run's requests."""

from __future__ import annotations

import importlib
import json
import os
import socket
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from sleepgym.core.budget import Budget, Meter
from sleepgym.core.errors import AgentError
from sleepgym.core.registry import load_object
from sleepgym.core.settings import build_config, plain, upgrade_settings
from sleepgym.runs.day import MAX_ANSWER_CHARACTERS, LocalInstance, too_long
from sleepgym.runs.isolation.messages import (
    Line,
    read_experiences,
    read_introduction,
    read_questions,
)
from sleepgym.runs.models.prompt import use_prompt

_TABLES = {"transformers.conversion_mapping": "get_checkpoint_conversion_mapping"}


class Host:
    """Holds one instance and does what it is asked.

    Args:
        receive: Reads what follows a request.
    """

    def __init__(self, receive: Callable[[], Any]) -> None:
        self.receive = receive
        self.instance: LocalInstance | None = None

    def do(self, verb: str, told: Any) -> Any:
        """Carry out one request."""
        if verb == "describe":
            cls = load_object(told["agent"])
            use_prompt(told["prompt"])
            return {
                "settings": plain(_config(cls, told)),
                "uses_model": bool(cls.uses_model),
                "served": cls.served_model(told["model"]),
                "modules": _modules(),
            }
        if verb == "modules":
            return _modules()
        if verb == "make":
            self.instance = LocalInstance(lambda: _make(told), _path(told["state"]))
            return None
        assert self.instance is not None
        if verb == "introduce":
            return self.instance.introduce(read_introduction(told))
        if verb == "tell":
            return self.instance.tell(read_experiences(told, self.receive))
        if verb == "answer":
            answers = self.instance.answer(read_questions(told))
            longest = max((len(answer) for answer in answers if isinstance(answer, str)), default=0)
            if longest > MAX_ANSWER_CHARACTERS:
                raise AgentError(too_long(longest))
            return [_text(answer) for answer in answers]
        if verb == "sleep":
            log = self.instance.sleep(told["number"], Budget(**told["budget"]))
            return {str(name): _number(value) for name, value in log.items()}
        if verb == "save":
            return self.instance.save(Path(told))
        raise ValueError(f"unknown request {verb!r}")


def serve(connection: socket.socket) -> None:
    """Answer requests until the other side is gone."""
    line = Line(connection)
    host = Host(line.receive)
    while True:
        verb, told = line.receive()
        try:
            result = host.do(verb, told)
            counts = host.instance.counts if host.instance else Meter()
            reply = {"result": result, "counts": [getattr(counts, n) for n in Meter.FIELDS]}
            text = json.dumps(reply)
        except BaseException as error:  # an agent may raise anything, SystemExit too
            message = (str(error).strip().splitlines() or [""])[0]
            trace = traceback.format_exc()[-10_000:]
            text = json.dumps({"error": [type(error).__name__, message[:1000], trace]})
        line.send(text)


def start_words(module: str, path: str, *told: Any) -> list[str]:
    """The arguments with which Python runs ``main(*told)`` of a module beside this one.

    Args:
        module: Its name.
        path: Folder of what may be imported.
        told: Plain values.
    """
    code = (
        f"import sys; sys.path.append({path!r}); sys.argv[:] = ['agent']; "
        f"from sleepgym.runs.isolation.{module} import main; "
        f"main({', '.join(map(repr, told))})"
    )
    return ["-I", "-S", "-B", "-X", "utf8", "-c", code]


def preload(modules: Iterable[str]) -> Iterator[str]:
    """Import libraries ahead of time, and let them build what they build once.

    Those that cannot be imported alone are left out.

    Yields:
        Each name when that was tried.
    """
    for name in modules:
        with suppress(Exception):
            module = importlib.import_module(name)
            if name in _TABLES:  # takes a third of the time in which a small model is loaded
                getattr(module, _TABLES[name])("none")
        yield name


def main(handle: int, modules: list[str]) -> None:
    """Entry point of a process of its own, on an inherited socket."""
    connection = socket.socket(fileno=handle)
    for _ in preload(modules):
        pass
    serve_alone(connection)


def serve_alone(connection: socket.socket) -> None:
    """Serve, with nothing else open; what the agent prints goes to standard error."""
    code = 1
    connection.set_inheritable(False)
    try:
        quiet = os.open(os.devnull, os.O_RDONLY)
        os.dup2(quiet, 0)
        os.dup2(2, 1)
        serve(connection)
    except BaseException as error:
        code = 0 if type(error).__name__ == "Silence" else 1
    os._exit(code)


def _modules() -> list[str]:
    return sorted(name for name in sys.modules if name.isascii())


def _make(told: dict[str, Any]) -> Any:
    use_prompt(told["prompt"])
    cls = load_object(told["agent"])
    return cls(_config(cls, told), seed=told["seed"], model=told["model"])


def _config(cls: Any, told: dict[str, Any]) -> Any:
    settings = told["settings"]
    if told["upgrade"]:
        settings = upgrade_settings(cls.Config, settings)
    return build_config(cls.Config, settings, f"agent {told['name']}")


def _path(told: str | None) -> Path | None:
    return None if told is None else Path(told)


def _shown(value: Any) -> str:
    """The beginning of a value, also of a number whose digits Python does not write."""
    try:
        return repr(value)[:40]
    except ValueError:
        return type(value).__name__


def _text(answer: Any) -> Any:
    """An answer as it is; what is no text goes as its description, in a list."""
    return str.__str__(answer) if isinstance(answer, str) else [repr(answer)[:40]]


def _number(value: Any) -> Any:
    """A logged value as a number, or in words, in a list, where it is none."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return [_shown(value)]
