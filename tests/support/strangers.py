"""Agents that look around, or break down, where they live. Imports no task family."""

from __future__ import annotations

import contextlib
import importlib
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from board_agents import Honest
from sleepgym import derive_seed

RUN_FOLDER = "run-of-a-stranger"  # the tests run in a folder of this name


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


INSIDE = (seed, run_in_words, families, answers_of_the_run)
OUTSIDE = (others, network, homes)
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
    """Ends its process in the second night."""

    def sleep(self, night):
        if night.number == 2:
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
        code = "import time; time.sleep(987)"
        for _ in range(3):
            subprocess.Popen([sys.executable, "-S", "-c", code], start_new_session=True)
        return super().sleep(night)


class Talker(Honest):
    """Answers what is no text."""

    def answer(self, questions):
        return [42 for _ in questions]


class Raiser(Honest):
    """Raises in its second night."""

    def sleep(self, night):
        if night.number == 2:
            raise ValueError("nightmare\nwith a second line")
        return super().sleep(night)
