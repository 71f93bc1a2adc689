"""Starting agents' processes: forked from one that waits, or each in a sandbox of its own.

On level ``process`` a nursery (:mod:`sleepgym.runs.isolation.nursery`) forks every instance: a
process that has imported libraries and never held anything of the agent's. On level ``sandbox``
every instance is started by bubblewrap; the next one is started ahead of its time, so that it has
imported libraries when it is wanted.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections import deque
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

from sleepgym.core import registry
from sleepgym.core.errors import AgentError, one_line
from sleepgym.runs.isolation.call import AgentCall
from sleepgym.runs.isolation.connection import (
    START_LIMIT_S,
    STDERR_LINES,
    AgentProcess,
    open_exchange,
)
from sleepgym.runs.isolation.memory import taken_below_bytes
from sleepgym.runs.isolation.messages import Line, Silence
from sleepgym.runs.isolation.process_tree import (
    adopt_orphans,
    children,
    end_strangers,
    kill_below,
    ticks_below,
    ticks_with,
)
from sleepgym.runs.isolation.sandbox import (
    FETCHED,
    HUB,
    SCRATCH,
    VIEW,
    require_sandbox,
    sandboxed,
)
from sleepgym.runs.isolation.view import copy_view, import_view
from sleepgym.runs.isolation.worker import start_words
from sleepgym.runs.models.base_model import KEYS, is_served
from sleepgym.runs.models.cache import cache_folder, cached_model

_KEPT = ("PATH", "LANG", "LC_ALL", "TZ", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "LD_LIBRARY_PATH")
_KEPT += ("SLEEPGYM_DEVICE", "SLEEPGYM_DTYPE", "SLEEPGYM_ATTN")
_KEPT += ("CUDA_VISIBLE_DEVICES", "HF_HOME", "HF_HUB_OFFLINE", "HF_ENDPOINT", "HF_TOKEN")
_ONLINE = ("HF_ENDPOINT", "HF_TOKEN")  # of no use without a network
_SERVER = (*KEYS, "SLEEPGYM_CONNECTIONS", "SLEEPGYM_TIMEOUT_S", "SSL_CERT_FILE", "SSL_CERT_DIR")
_SERVER += ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")


class _Starter:
    """Starts processes for one agent's package and one environment's.

    Attributes:
        modules: Libraries that are imported before an instance is wanted.
        watched: Instances of which was asked what they imported.
    """

    def __init__(self, call: AgentCall) -> None:
        self.modules: list[str] = []
        self.watched = 0
        self.view = import_view(call.name, call.env)
        # dill, which `datasets` hashes functions with, tells installed modules by such a path
        self.folder = Path(tempfile.mkdtemp("-site-packages", prefix="sleepgym-view-"))
        self.own = registry.agent_package(call.name)
        atexit.register(self.close)

    def expect(self, modules: list[str]) -> None:
        """Import these libraries before an instance is wanted."""
        raise NotImplementedError

    def close(self) -> None:
        """End what waits."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, call: AgentCall) -> AgentProcess:
        """A process in which nothing has happened yet."""
        raise NotImplementedError

    @property
    def works(self) -> bool:
        """Whether it can start processes."""
        return True

    def launch(
        self, python: list[str], module: str, path: str, env: dict[str, str], *told: Any
    ) -> tuple[subprocess.Popen[bytes], socket.socket, deque[str]]:
        """Start Python with an import path of its own; its connection and last words."""
        ours, theirs = socket.socketpair()
        process = subprocess.Popen(
            [*python, *start_words(module, path, theirs.fileno(), self.modules, *told)],
            env=env,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
        theirs.close()
        tail: deque[str] = deque(maxlen=STDERR_LINES)
        Thread(target=_drain, args=(process.stderr, tail), daemon=True).start()
        return process, ours, tail


class _Nursery(_Starter):
    """Forks instances from one process that has imported libraries."""

    def __init__(self, call: AgentCall) -> None:
        super().__init__(call)
        self.others: list[int] = []
        copy_view(self.view, self.folder, self.own)
        self.process, self.control, self.tail = self.launch(
            [sys.executable], "nursery", str(self.folder), _environment(call.model), []
        )

    def expect(self, modules: list[str]) -> None:
        """Let the nursery import them now."""
        fresh = [name for name in modules if name not in self.modules]
        if fresh:
            self.modules += fresh
            self.control.sendall("\n".join(fresh).encode())
            self._reply()

    def start(self, call: AgentCall) -> AgentProcess:
        """Fork a child."""
        process, theirs = open_exchange(call)
        self.others = children(os.getpid())
        adopt_orphans()  # where the agent ends the nursery, which takes them in else
        scratch = process.exchange / "scratch"
        try:
            socket.send_fds(self.control, [str(scratch).encode()], [theirs.fileno()])
            child = self._reply()
        except OSError as error:
            raise AgentError(f"its process did not start: {error}") from error
        finally:
            theirs.close()
        self.tail.clear()  # the last words of the one before it
        process.tail = self.tail
        process.kill = lambda: self._end(child)
        process.watch(child)
        process.ticks = lambda: ticks_below(self.process.pid)
        process.taken_bytes = lambda: taken_below_bytes(self.process.pid)
        return process.begin(call)

    @property
    def works(self) -> bool:
        """Whether it lives: an agent can end its parent."""
        return self.process.poll() is None

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
            last = f": {one_line(self.tail[-1], 200)}" if self.tail else ""
            raise AgentError(f"its process did not start ({error}{last})") from error

    def _end(self, child: int) -> None:
        """Kill a child's group, and what left it: orphans become children of the nursery.

        Where that was ended, they are children of this process, which had others when it began.
        """
        if child:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(child, signal.SIGKILL)
        kill_below(self.process.pid)
        if self.works:
            self.process.send_signal(signal.SIGCONT)  # an agent can stop its parent
        else:
            end_strangers(self.others)
        adopt_orphans(False)


class _Sandboxes(_Starter):
    """Starts every instance in a sandbox, one ahead of its time."""

    def __init__(self, call: AgentCall) -> None:
        require_sandbox()
        self.spare: AgentProcess | None = None
        super().__init__(call)

    def expect(self, modules: list[str]) -> None:
        """Let the next ones import them while they wait."""
        self.modules += [name for name in modules if name not in self.modules]

    def start(self, call: AgentCall) -> AgentProcess:
        """The one that waits, or a new one; another is started to wait."""
        given = self.spare or self._launch(call)
        self.spare = self._launch(call)
        return given.begin(call)

    def close(self) -> None:
        """End the one that waits."""
        if self.spare is not None:
            self.spare.end()
        super().close()

    def _launch(self, call: AgentCall) -> AgentProcess:
        started, theirs = open_exchange(call)
        theirs.close()
        env = {n: v for n, v in _environment().items() if n not in _ONLINE}
        env |= {"HOME": SCRATCH, "SLEEPGYM_CACHE": FETCHED, "HF_HOME": HUB, "HF_HUB_OFFLINE": "1"}
        env["USER"] = "agent"  # no user has a name in there, and torch asks for it
        prefix = sandboxed(self.view, started.exchange, _models(call))
        process, ours, started.tail = self.launch(prefix, "worker", VIEW, env)
        started.line.connection.close()
        started.line = Line(ours)

        def kill() -> None:
            process.kill()  # the sandbox dies with it, and all that is inside
            process.wait()

        started.kill = kill
        started.watch(process.pid)
        started.ticks = lambda: ticks_with(process.pid)
        started.taken_bytes = lambda: taken_below_bytes(process.pid)
        return started


_starters: dict[Any, _Starter] = {}


def starter_of(call: AgentCall) -> _Starter:
    """What starts the processes of a call; made at the first one."""
    package = registry.agent_package(call.name)
    own_model = call.model if call.sandbox or is_served(call.model) else None
    key = (call.sandbox, package, registry.env_package(call.env), own_model)
    if key in _starters and not _starters[key].works:
        _starters.pop(key).close()
    if key not in _starters:
        _starters[key] = (_Sandboxes if call.sandbox else _Nursery)(call)
    return _starters[key]


def _models(call: AgentCall) -> dict[str, Path]:
    """Where a sandbox has the model that was given as a path or fetched, and those of the hub."""
    cached = (Path(_environment()["HF_HOME"]) / "hub").glob("models--*")
    found = {f"{HUB}/hub/{folder.name}": folder for folder in cached if folder.is_dir()}
    if path := call.model_path():
        found[call.mounted_model()] = path
    elif fetched := cached_model(call.model):
        found[f"{FETCHED}/models/{call.model}"] = fetched.resolve()
    return found


def _environment(model: str = "") -> dict[str, str]:
    """The variables an agent's process starts with: nothing that names the run or its data.

    A server's key is among them where the run's model is a server's.
    """
    names = (*_KEPT, *_SERVER) if is_served(model) else _KEPT
    kept = {name: os.environ[name] for name in names if name in os.environ}
    cache = str(Path("~/.cache/huggingface").expanduser())
    fetched = str(cache_folder().absolute())
    places = {"HF_HOME": cache, "SLEEPGYM_CACHE": fetched}
    return {"PYTORCH_NVML_BASED_CUDA_CHECK": "1", **places, **kept}


def _drain(stream: Any, tail: deque[str]) -> None:
    """Keep the last words of a process; a flood goes nowhere."""
    with stream:
        while chunk := stream.read1(1 << 16):
            lines = chunk[-4000:].decode("utf-8", "replace").split("\n")
            tail.extend(text for line in lines if (text := line.strip()))
