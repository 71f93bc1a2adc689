"""Agents that look around, or break down, where they live. Imports no task family."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from board_agents import Honest
from sleepgym import derive_seed
from sleepgym.core.budget import Meter
from sleepgym.runs.models.cache import cached_model

RUN_FOLDER = "run-of-a-stranger"  # the tests run in a folder of this name
SLEEPER = "import time; time.sleep(987)"


class Seeker(Honest):
    """Looks for the stream's seed, the run, the task family and the world outside; logs finds."""

    def sleep(self, night):
        return {**super().sleep(night), **{name: float(find(self)) for name, find in FINDS.items()}}


def seed(agent):
    """The stream's seed by trying, as it could be told without a salt."""
    return any(derive_seed(guess, "agent") == agent.seed for guess in range(2000))


def run_in_words(agent):
    """The run's folder in what this process was told."""
    told = [*sys.argv, *sys.orig_argv, *os.environ.values(), os.getcwd(), *sys.path]
    return any(RUN_FOLDER in text for text in told)


def families(agent):
    """Packages of tasks and boards, also by their neighbours' folders."""
    here = [Path(sys.modules[name].__file__).parent for name in ("sleepgym", "board_agents")]
    sys.path += [str(folder / up) for folder in here for up in (".", "..", "../tasks")]
    found = 0
    for name in ("toy", "sleepgym_tasks", "sleepgym_boards", "tasks.sleepgym_tasks"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
            found += 1
    return found


def answers_of_the_run(agent):
    """The records of the run, beside the folders that it was given."""
    return len(list(Path("..").resolve().glob(f"**/{RUN_FOLDER}/*")))


def others(agent):
    """Processes that are neither this one nor the first of a sandbox."""
    known = {1, os.getpid(), os.getppid()}
    return sum(int(p.name) not in known for p in Path("/proc").glob("[0-9]*"))


def network(agent):
    """An interface beside the loopback."""
    return len([name for _, name in socket.if_nameindex() if name != "lo"])


def homes(agent):
    """Folders of people and of this checkout."""
    return sum(Path(folder).exists() for folder in ("/home", "/root/.ssh", "/work", "/etc/passwd"))


def writable(agent):
    """Folders of its code, of the libraries, of Python and of its state that it can write to."""
    code = [Path(sys.modules[name].__file__).parent for name in ("sleepgym", "numpy")]
    found = 0
    for folder in (*code, Path(sys.base_prefix), Path("/usr"), Path("/state"), Path("/model")):
        with contextlib.suppress(OSError):
            (folder / "sleepgym-test").touch()
            (folder / "sleepgym-test").unlink()
            found += 1
    return found


INSIDE = (seed, run_in_words, families, answers_of_the_run)
OUTSIDE = (others, network, homes, writable)
FINDS = {find.__name__: find for find in (*INSIDE, *OUTSIDE)}


class Passer(Honest):
    """Passes what it was asked in an exam to later instances, by files and by a class attribute."""

    heard: dict[str, str] = {}  # noqa: RUF012
    drop = Path("/tmp/sleepgym-test-passed-on")

    def answer(self, questions):
        Passer.heard |= {question.text: "x" for question in questions}
        with contextlib.suppress(OSError):
            Path("passed-on").write_text("x")
            self.drop.write_text("x")
        return super().answer(questions)

    def sleep(self, night):
        found = len(Passer.heard) + Path("passed-on").exists() + self.drop.exists()
        return {**super().sleep(night), "passed": found}


class Crasher(Honest):
    """Ends its process in the second night; a child still holds what that had open."""

    def sleep(self, night):
        if night.number == 2:
            if os.fork() == 0:
                time.sleep(600)
            print("out of memory", file=sys.stderr, flush=True)
            os._exit(9)
        return super().sleep(night)


class Hanger(Honest):
    """Never ends its second night."""

    def sleep(self, night):
        time.sleep(600 if night.number == 2 else 0)
        return super().sleep(night)


class Flooder(Honest):
    """Answers at length in its first evening, and prints more than a pipe holds."""

    def answer(self, questions):
        print("x" * 1_000_000)
        long = 8_000_000 if "Person11" in self.notes else 1
        answers = zip(questions, super().answer(questions), strict=True)
        return [answer if q.choices else answer * long for q, answer in answers]


class Parent(Honest):
    """Starts processes that leave its group, and ends the others of it."""

    def sleep(self, night):
        for _ in range(3):
            subprocess.Popen([sys.executable, "-S", "-c", SLEEPER], start_new_session=True)
        return super().sleep(night)


class Talker(Honest):
    """Answers what is no text."""

    def answer(self, questions):
        return [42 for _ in questions]


class Hoarder(Honest):
    """Takes more and more memory in its second night, in a process that it starts."""

    def sleep(self, night):
        if night.number == 2:
            code = "import time; taken = [bytearray(1 << 24) for _ in range(64)]; time.sleep(60)"
            subprocess.run([sys.executable, "-S", "-c", code], check=True)
        return super().sleep(night)


class Raiser(Honest):
    """Raises in its second night."""

    def sleep(self, night):
        if night.number == 2:
            raise ValueError("nightmare\nwith a second line")
        return super().sleep(night)


class Shouter(Honest):
    """Writes to its run past everything that would stop it, without an end."""

    def answer(self, questions):
        for handle in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(OSError):
                if handle.readlink().name.startswith("socket:"):
                    os.set_blocking(int(handle.name), True)
                    while True:
                        os.write(int(handle.name), b"x" * 1_000_000)
        return super().answer(questions)


class Parricide(Honest):
    """Ends its parent's other children and its parent, in its second night."""

    def sleep(self, night):
        if night.number == 2:
            parent = str(os.getppid())
            for folder in Path("/proc").glob("[0-9]*"):
                with contextlib.suppress(OSError):
                    is_sibling = (folder / "stat").read_text().rpartition(")")[2].split()[1]
                    if is_sibling == parent and folder.name != str(os.getpid()):
                        os.kill(int(folder.name), signal.SIGKILL)
            os.kill(int(parent), signal.SIGKILL)
            time.sleep(0.2)
        return super().sleep(night)


class Forker(Honest):
    """Forks many children that leave its group, and answers before they have ended."""

    def sleep(self, night):
        for _ in range(40):
            if os.fork() == 0:
                os.setsid()
                os.fork()
                os.execv(sys.executable, [sys.executable, "-S", "-c", SLEEPER])
        return super().sleep(night)


class Orphaner(Honest):
    """Starts a process that outlives its parents, then ends its parent, in its second night."""

    def sleep(self, night):
        if night.number == 2:
            if os.fork() == 0:
                os.setsid()
                if os.fork():
                    os._exit(0)
                os.execv(sys.executable, [sys.executable, "-S", "-c", SLEEPER])
            os.wait()
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(0.2)
        return super().sleep(night)


class Stopper(Honest):
    """Stops its parent in every night."""

    def sleep(self, night):
        os.kill(os.getppid(), signal.SIGSTOP)
        return super().sleep(night)


class Quitter(Honest):
    """Leaves in its second night, with a text that a terminal would obey."""

    def sleep(self, night):
        if night.number == 2:
            raise SystemExit("bye\x1b[2J\nsecond line")
        return super().sleep(night)


class Fetched(Honest):
    """Looks for its model, which was fetched, and for a token of whoever runs it."""

    def sleep(self, night):
        found = cached_model(self.model) is not None
        return {"model": found, "token": "HF_TOKEN" in os.environ}


class Rewinder(Honest):
    """Sets its meter back at night."""

    def sleep(self, night):
        self.meter.train_tokens = self.meter.generated_tokens = 0
        self.meter.flops = 1.0 if night.number == 2 else 2.0
        return {}

    def study(self, documents):
        super().study(documents)
        self.meter.train_tokens += 5


class Burner(Honest):
    """Works hard where it sleeps not: while it reads, while it loads, and while it saves."""

    BURNT_S = 0.15

    def study(self, documents):
        super().study(documents)
        self.burn()

    def save(self, path):
        super().save(path)
        if os.fork() == 0:  # a child that it waits for
            self.burn()
            os._exit(0)
        os.wait()

    def load(self, path):
        super().load(path)
        self.burn()

    def burn(self):
        until = time.process_time() + self.BURNT_S
        while time.process_time() < until:
            pass


class BackwardClock(Meter):
    """A meter that says how long a phase took."""

    def since(self, start):
        return {**super().since(start), "seconds": 0.0, "processor_seconds": 0.0}

    def copy(self):
        return BackwardClock(**vars(self))


class Clockmaker(Burner):
    """Measures itself."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.meter = BackwardClock()


class Trainee(Honest):
    """Trains five tokens while it reads, and twenty asleep where that is allowed."""

    def study(self, documents):
        super().study(documents)
        self.meter.train_tokens += 5

    def sleep(self, night):
        if night.allows(night_train_tokens=20):
            self.meter.train_tokens += 20
        return {}


class Threaded(Honest):
    """Uses a library that starts a thread on import."""

    def sleep(self, night):
        from thread_on_import import double

        return {**super().sleep(night), "doubled": double(night.number)}
