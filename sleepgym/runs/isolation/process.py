"""The run's side of an agent's process: starting it, asking it, ending it.

On level ``process`` a nursery (:mod:`sleepgym.runs.isolation.worker`) forks every instance from
a process that has imported libraries and never held anything of the agent's. On level ``sandbox``
every instance is started by bubblewrap; the next one is started ahead of its time, so that it has
imported libraries when it is wanted.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from threading import Thread
from typing import Any

from sleepgym.core import errors, registry
from sleepgym.core.budget import Budget, Meter
from sleepgym.core.errors import AgentError, SleepGymError
from sleepgym.core.settings import plain
from sleepgym.core.types import Introduction, Question
from sleepgym.core.wake import Experience
from sleepgym.runs.archive import unpack_state
from sleepgym.runs.base_model import KEYS, is_served
from sleepgym.runs.day import Instance, Raised
from sleepgym.runs.isolation.messages import (
    MAX_LINE_BYTES,
    Line,
    Silence,
    plain_experiences,
    plain_introduction,
    plain_questions,
)
from sleepgym.runs.isolation.sandbox import (
    HUB,
    MODEL,
    SAVED,
    SCRATCH,
    STATE,
    VIEW,
    require_sandbox,
    sandboxed,
)
from sleepgym.runs.isolation.view import copy_view, import_view

_LIBRARIES = {"torch", "transformers", "peft", "numpy", "safetensors", "tokenizers", "bm25s"}
_KEPT = ("PATH", "LANG", "LC_ALL", "TZ", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "LD_LIBRARY_PATH")
_KEPT += ("CUDA_VISIBLE_DEVICES", "HF_HOME", "HF_HUB_OFFLINE", "HF_ENDPOINT", "HF_TOKEN")
_SERVER = (*KEYS, "SLEEPGYM_CONNECTIONS", "SLEEPGYM_TIMEOUT_S", "SSL_CERT_FILE", "SSL_CERT_DIR")
_SERVER += ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
_STDERR_LINES = 20
START_LIMIT_S = 600.0


@dataclass(frozen=True)
class AgentCall:
    """What a process is told of its agent: neither the stream, nor its seed, nor the run.

    Attributes:
        name: Registered name or ``module:Class``.
        settings: Its settings.
        seed: Its own, derived with a salt that it does not hold.
        model: As for a run.
        env: Environment id, whose package is left out of what can be imported.
        sandbox: Whether the process is put into one.
        limit_s: The longest that one request may take.
        upgrade: Whether settings may have names of earlier versions.
        prompt: As for a run.
    """

    name: str
    settings: Mapping[str, Any]
    seed: int
    model: str
    env: str
    sandbox: bool
    limit_s: float
    upgrade: bool = False
    prompt: str = ""


class ProcessInstance(Instance):
    """An instance in a process of its own; see :class:`sleepgym.runs.day.Instance`."""

    def __init__(self, call: AgentCall, state: Path | None, digest: str = "") -> None:
        """Start a process, and make an agent there.

        Args:
            call: Which agent.
            state: A committed state to load, None at birth.
            digest: What its digest must be.
        """
        self.call = call
        self._counts = Meter()
        self._process = _claim(call)
        try:
            if state is not None:
                unpack_state(state, digest, self._process.exchange / "state")
            self._make(state is not None)
        except BaseException:
            self.close()
            raise

    @property
    def counts(self) -> Meter:
        """What its last reply said."""
        return self._counts.copy()

    def introduce(self, introduction: Introduction) -> None:
        """Send what the task says first."""
        self._ask("introduce", plain_introduction(introduction))

    def tell(self, experiences: Sequence[Experience]) -> None:
        """Send what was read and practised."""
        if experiences:
            self._ask("tell", plain_experiences(experiences))

    def answer(self, questions: Sequence[Question]) -> tuple[str, ...]:
        """Send questions; the answers that came back."""
        answers = self._ask("answer", plain_questions(questions))
        if not isinstance(answers, list):
            raise AgentError("its answers are no list")
        return tuple(answers)

    def sleep(self, number: int, budget: Budget) -> Mapping[str, Any]:
        """Send the night's number and budget; the log that came back."""
        log = self._ask("sleep", {"number": number, "budget": plain(budget)})
        if not isinstance(log, dict):
            raise AgentError("its log is no mapping")
        return log

    def save(self, folder: Path) -> int:
        """Let it save, and take what it saved."""
        added = self._ask("save", self._process.inside("saved"))
        if type(added) is not int or added < 0:
            raise AgentError(f"added_parameters={added!r:.40}: must be a number, 0 or more")
        for path in (self._process.exchange / "saved").iterdir():
            shutil.move(path, folder)
        return added

    def close(self) -> None:
        """End the process, and all that it started."""
        self._process.end()

    def _make(self, loads: bool) -> None:
        told = {
            **_named(self.call),
            "seed": self.call.seed,
            "model": self._process.model,
            "prompt": self.call.prompt,
            "state": self._process.inside("state") if loads else None,
        }
        self._ask("make", told)

    def _ask(self, verb: str, told: Any) -> Any:
        reply = self._process.ask(verb, told)
        counts = reply.get("counts")
        if (
            not isinstance(counts, list)
            or len(counts) != len(Meter.FIELDS)
            or not all(type(n) in (int, float) and isfinite(n) and n >= 0 for n in counts)
        ):
            raise AgentError(f"its meter says {counts!r:.80}: counters are numbers, 0 or more")
        self._counts = Meter(*counts)
        return reply.get("result")


def describe_agent(call: AgentCall) -> dict[str, Any]:
    """An agent's ``settings``, whether it ``uses_model``, and what it says of a ``served`` one.

    The agent is imported in a process of its own.
    """
    process = _claim(call)
    try:
        told = {**_named(call), "model": process.model, "prompt": call.prompt}
        found = process.ask("describe", told).get("result")
    finally:
        process.end()
    if not isinstance(found, dict) or not isinstance(found.get("settings"), dict):
        raise AgentError("it did not describe its settings")
    names = [name for name in found.get("modules", ()) if isinstance(name, str)]
    _starter(call).expect([name for name in names if name.split(".")[0] in _LIBRARIES])
    return {
        "settings": found["settings"],
        "uses_model": bool(found.get("uses_model")),
        "served": found.get("served"),
    }


class _Process:
    """A started process, its connection, and the folder through which states go."""

    def __init__(self, call: AgentCall, exchange: Path, connection: socket.socket) -> None:
        self.call = call
        self.exchange = exchange
        self.line = Line(connection)
        folder = _own_folder(call.model)
        self.model = call.model if folder is None else MODEL if call.sandbox else str(folder)
        self.tail: deque[str] = deque(maxlen=_STDERR_LINES)
        self.kill: Any = None

    def inside(self, name: str) -> str:
        """Where the process finds ``state`` or ``saved``."""
        if self.call.sandbox:
            return {"state": STATE, "saved": SAVED}[name]
        return str(self.exchange / name)

    def ask(self, verb: str, told: Any) -> dict[str, Any]:
        """Send a request; the reply.

        Raises:
            AgentError: If the process ends, is too slow, says too much, or the agent raised.
            SleepGymError: If the agent raised one of ours.
        """
        limit_s = max(START_LIMIT_S, self.call.limit_s) if verb == "describe" else self.call.limit_s
        try:
            with suppress(OSError):  # it is gone: there will be no answer
                self.line.send(json.dumps([verb, told]))
            reply = self.line.receive(limit_s, MAX_LINE_BYTES)
        except Silence as error:
            self.end()
            last = f": {self.tail[-1]:.200}" if self.tail else ""
            raise AgentError(f"its process {error}{last}") from error
        if not isinstance(reply, dict):
            raise AgentError("its process answered with what is no reply")
        if "error" in reply:
            raise _raised(reply["error"])
        return reply

    def end(self) -> None:
        """Kill it and everything that it started; remove its folder."""
        if self.kill is not None:
            self.kill()
            self.kill = None
        self.line.connection.close()
        shutil.rmtree(self.exchange, ignore_errors=True)


def _raised(told: Any) -> Exception:
    if not (isinstance(told, list) and len(told) == 3 and all(isinstance(t, str) for t in told)):
        return AgentError("its process answered with what is no reply")
    kind, message, trace = told
    known = getattr(errors, kind, None)
    if isinstance(known, type) and issubclass(known, SleepGymError):
        return known(message)
    return Raised(kind[:100], message, trace)


def _named(call: AgentCall) -> dict[str, Any]:
    where = call.name if ":" in call.name else registry.agents[call.name].entry_point
    settings = {name.replace("-", "_"): value for name, value in call.settings.items()}
    return {"agent": where, "name": call.name, "settings": settings, "upgrade": call.upgrade}


class _Starter:
    """Starts processes for one agent's package and one environment's."""

    def __init__(self, call: AgentCall) -> None:
        self.modules: list[str] = []
        self.view = import_view(call.name, call.env)
        self.folder = Path(tempfile.mkdtemp(prefix="sleepgym-view-"))
        self.own = registry.agent_package(call.name)
        atexit.register(self.close)

    def expect(self, modules: list[str]) -> None:
        """Import these libraries before an instance is wanted."""
        self.modules = modules

    def close(self) -> None:
        """End what waits."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, call: AgentCall) -> _Process:
        """A process in which nothing has happened yet."""
        raise NotImplementedError

    def launch(
        self, prefix: list[str], mode: str, path: str, env: dict[str, str]
    ) -> tuple[subprocess.Popen[bytes], socket.socket, deque[str]]:
        """Start Python with an import path of its own; its connection and last words."""
        ours, theirs = socket.socketpair()
        code = (
            f"import sys; sys.path.append({path!r}); sys.argv[:] = ['agent']; "
            f"from sleepgym.runs.isolation.worker import main; "
            f"main({mode!r}, {theirs.fileno()}, {self.modules!r})"
        )
        words = [*(prefix or [sys.executable]), "-I", "-S", "-B", "-X", "utf8", "-c", code]
        process = subprocess.Popen(
            words,
            env=env,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
        theirs.close()
        tail: deque[str] = deque(maxlen=_STDERR_LINES)
        Thread(target=_drain, args=(process.stderr, tail), daemon=True).start()
        return process, ours, tail


class _Nursery(_Starter):
    """Forks instances from one process that has imported libraries."""

    def __init__(self, call: AgentCall) -> None:
        super().__init__(call)
        copy_view(self.view, self.folder, self.own)
        self.process, self.control, self.tail = self.launch(
            [], "nursery", str(self.folder), _environment(call.model)
        )

    def expect(self, modules: list[str]) -> None:
        """Let the nursery import them now."""
        fresh = [name for name in modules if name not in self.modules]
        if fresh:
            self.modules += fresh
            self.control.sendall("\n".join(fresh).encode())
            self._reply()

    def start(self, call: AgentCall) -> _Process:
        """Fork a child."""
        process, theirs = _exchange(call)
        scratch = process.exchange / "scratch"
        try:
            socket.send_fds(self.control, [str(scratch).encode()], [theirs.fileno()])
            child = self._reply()
        except OSError as error:
            raise AgentError(f"its process did not start: {error}") from error
        finally:
            theirs.close()
        process.tail = self.tail
        process.kill = lambda: self._end(child)
        return process

    def close(self) -> None:
        """End the nursery and whatever is left below it."""
        self._end(0)
        self.process.kill()
        self.process.wait()
        self.control.close()
        super().close()

    def _reply(self) -> int:
        try:
            return int(Line(self.control).receive(START_LIMIT_S, 100))
        except Silence as error:
            last = f": {self.tail[-1]:.200}" if self.tail else ""
            raise AgentError(f"its process did not start ({error}{last})") from error

    def _end(self, child: int) -> None:
        """Kill a child's group, and what left it: orphans become children of the nursery."""
        if child:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(child, signal.SIGKILL)
        for _ in range(100):
            below = _children(self.process.pid)
            for pid in below:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            if not below:
                return


class _Sandboxes(_Starter):
    """Starts every instance in a sandbox, one ahead of its time."""

    def __init__(self, call: AgentCall) -> None:
        require_sandbox()
        self.spare: _Process | None = None
        super().__init__(call)

    def expect(self, modules: list[str]) -> None:
        """Start the next one anew, with these libraries."""
        fresh = [name for name in modules if name not in self.modules]
        if fresh:
            self.modules += fresh
            if self.spare is not None:
                self.spare.end()
            self.spare = None

    def start(self, call: AgentCall) -> _Process:
        """The one that waits, or a new one; another is started to wait."""
        given = self.spare or self._launch(call)
        given.call = call
        self.spare = self._launch(call)
        return given

    def close(self) -> None:
        """End the one that waits."""
        if self.spare is not None:
            self.spare.end()
        super().close()

    def _launch(self, call: AgentCall) -> _Process:
        started, theirs = _exchange(call)
        theirs.close()
        env = {**_environment(), "HOME": SCRATCH, "HF_HOME": HUB, "HF_HUB_OFFLINE": "1"}
        folders = {MODEL: _own_folder(call.model), HUB: Path(_environment()["HF_HOME"])}
        prefix = sandboxed(self.view, started.exchange, folders)
        process, ours, started.tail = self.launch(prefix, "serve", VIEW, env)
        started.line.connection.close()
        started.line = Line(ours)

        def kill() -> None:
            process.kill()  # the sandbox dies with it, and all that is inside
            process.wait()

        started.kill = kill
        return started


_starters: dict[Any, _Starter] = {}


def _starter(call: AgentCall) -> _Starter:
    package = registry.agent_package(call.name)
    own_model = call.model if call.sandbox or is_served(call.model) else None
    key = (call.sandbox, package, registry.env_package(call.env), own_model)
    if key not in _starters:
        _starters[key] = (_Sandboxes if call.sandbox else _Nursery)(call)
    return _starters[key]


def _claim(call: AgentCall) -> _Process:
    return _starter(call).start(call)


def _exchange(call: AgentCall) -> tuple[_Process, socket.socket]:
    folder = Path(tempfile.mkdtemp(prefix="sleepgym-"))
    for name in ("state", "saved", "scratch"):
        (folder / name).mkdir()
    ours, theirs = socket.socketpair()
    return _Process(call, folder, ours), theirs


def _environment(model: str = "") -> dict[str, str]:
    """The variables an agent's process starts with: nothing that names the run or its data.

    A server's key is among them where the run's model is a server's.
    """
    names = (*_KEPT, *_SERVER) if is_served(model) else _KEPT
    kept = {name: os.environ[name] for name in names if name in os.environ}
    cache = str(Path("~/.cache/huggingface").expanduser())
    return {"PYTORCH_NVML_BASED_CUDA_CHECK": "1", "HF_HOME": cache, **kept}


def _own_folder(model: str) -> Path | None:
    """A model's folder; None for one that has a name."""
    path = Path(model).expanduser()
    named = model in ("embedded", "scratch")
    return None if named or not path.is_dir() else path.resolve()


def _children(parent: int) -> list[int]:
    """Processes whose parent is ``parent``; none where there is no /proc."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):
            words = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(words[1]) == parent and words[0] != "Z":
                found.append(int(folder.name))
    return found


def _drain(stream: Any, tail: deque[str]) -> None:
    """Keep the last words of a process; a flood goes nowhere."""
    with stream:
        while chunk := stream.read1(1 << 16):
            lines = chunk[-4000:].decode("utf-8", "replace").split("\n")
            tail.extend(text for line in lines if (text := line.strip()))
