"""Runs that are struck at drawn instants: what is left, and whether they end as they should.

    python benchmarks/crash.py                              # 20 instants a fault, every level
    python benchmarks/crash.py --instants 3 --levels in-process

Four faults: the run is killed (SIGKILL); its disk is full (a small tmpfs where this user may mount
one, else a limit on the size of a file); its disk takes no more writes from some write on (EROFS,
raised by an audit hook); the agent's process is killed. Each time the run must end in one line of
error or be killed, keep every phase that it had finished, leave no process behind, and be resumed
to the record of an undisturbed run, byte for byte (times aside). An instant that comes too late for
a run that has ended is drawn again. Exits with 1 where one is not as it should be.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import io
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from sleepgym.cli import run_command
from sleepgym.runs.isolation import starters
from sleepgym.runs.isolation.process_tree import children, descendants
from sleepgym.runs.isolation.sandbox import strictest_isolation
from sleepgym.runs.records import TIMES, read_run

ENV = ["--env", "sleepgym/Almanac-v1", "--env-set", "days=3", "--env-set", "questions=4"]
AGENT = ["--agent", "nearest", "--seed", "3", "--salt", "0123456789abcdef" * 2]
WRITES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate"}
LIMIT_S = 300.0

Prepare = Callable[[], None]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--instants", type=int, default=20)
    parser.add_argument("--levels", default="", help="only these, comma-separated")
    parser.add_argument("--faults", default=",".join(FAULTS), help="only these, comma-separated")
    parser.add_argument("--seed", type=int, default=0, help="of the instants")
    options = parser.parse_args()
    levels = options.levels.split(",") if options.levels else ["in-process", "process"]
    if not options.levels and strictest_isolation() == "sandbox":
        levels.append("sandbox")
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        run_command(["run", *ENV, *AGENT, "--out", f"{folder}/run"])  # imports what a run needs
    print(
        f"{'level':<12}{'fault':<16}{'struck':>8}{'too late':>10}{'one line':>10}{'same':>6}  what"
    )
    failed = False
    for level in levels:
        with tempfile.TemporaryDirectory() as folder:
            reference = Reference(level, Path(folder) / "reference")
            for fault in options.faults.split(","):
                if fault == "agent killed" and level == "in-process":
                    continue
                rng = random.Random(f"{options.seed} {level} {fault}")
                found: Counter[str] = Counter()
                while found["struck"] < options.instants and found["late"] < 5 * options.instants:
                    place = Path(folder) / f"{found['struck'] + found['late']}"
                    place.mkdir()
                    strike(FAULTS[fault], reference, place, rng, found)
                    shutil.rmtree(place, ignore_errors=True)
                if found["struck"] < options.instants:
                    found["!not struck as often"] += 1
                wrong = {k: n for k, n in found.items() if k.startswith("!")}
                failed |= bool(wrong)
                row = "".join(
                    f"{found[name]:>{width}}"
                    for name, width in (("struck", 8), ("late", 10), ("line", 10), ("same", 6))
                )
                print(f"{level:<12}{fault:<16}{row}  {wrong or 'ok'}", flush=True)
    return int(failed)


class Reference:
    """An undisturbed run at one level: its record, duration and size, and how often it writes."""

    def __init__(self, level: str, out: Path) -> None:
        self.level = level
        self.command = ["run", *ENV, *AGENT, "--isolation", level, "--out"]
        started_s = time.monotonic()
        hook, count = WriteHook(out, lambda _: False), out.parent / "count"
        code, said = finish(
            start(
                [*self.command, str(out)],
                out.parent / "said",
                lambda: sys.addaudithook(hook),
                lambda: count.write_text(str(hook.count)),
            )
        )
        assert code == 0, said
        self.writes = int(count.read_text())
        self.seconds = time.monotonic() - started_s
        self.record = contents(out)
        self.bytes = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())


class Running:
    """A command in a process forked from this one, which has imported everything."""

    def __init__(self, pid: int, said: Path) -> None:
        self.pid, self.said = pid, said


def start(
    words: list[str], said: Path, prepare: Prepare | None = None, conclude: Prepare | None = None
) -> Running:
    """Start a command between two calls; what it says on standard error goes to a file."""
    pid = os.fork()
    if pid:
        return Running(pid, said)
    code = 70
    try:
        os.setsid()
        os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if prepare:
            prepare()
        code = run_command(words)
        for starter in starters._starters.values():  # as at the end of a command
            starter.close()
        if conclude:
            conclude()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def finish(running: Running) -> tuple[int, str]:
    """Wait for a command: its exit code (negative: a signal), and what it said."""
    until_s = time.monotonic() + LIMIT_S
    while time.monotonic() < until_s:
        pid, status = os.waitpid(running.pid, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status), running.said.read_text()
        time.sleep(0.005)
    os.kill(running.pid, signal.SIGKILL)
    os.waitpid(running.pid, 0)
    return 124, "it hangs"


def contents(out: Path) -> tuple:
    """What must be the same after a resume."""
    record = read_run(out)
    assert record.finished
    assert not record.altered
    timeless = [
        [{k: v for k, v in row.items() if k not in TIMES} for row in rows]
        for rows in (record.nights, record.phases)
    ]
    return (out / "answers.jsonl").read_bytes(), timeless


def strike(
    fault: Callable[[Reference, Path, random.Random], tuple[int, str, Path]],
    reference: Reference,
    place: Path,
    rng: random.Random,
    found: Counter[str],
) -> None:
    """One run, struck once, and resumed."""
    code, said, out = fault(reference, place, rng)
    found["late" if code == 0 else "struck"] += 1
    if code == 2:
        found["line" if said.count("\n") == 1 else "!several lines"] += 1
    elif code not in (0, -signal.SIGKILL):
        found[f"!exit {code}: {said[-200:]}"] += 1
    before = phases_of(out)
    code, said = finish(start([*reference.command, str(out)], place / "said"))
    if code:
        found[f"!resume exits with {code}: {said[-200:]}"] += 1
        return
    lost = read_run(out).phases[: len(before)] != before
    same = contents(out) == reference.record and not lost
    found["same" if same else "!another record"] += 1
    unmount(out.parent)


def phases_of(out: Path) -> list:
    """The phases that a struck run has finished, with their times: none of them is lived again."""
    return read_run(out).phases if (out / "run.json").exists() else []


def killed(reference: Reference, place: Path, rng: random.Random) -> tuple[int, str, Path]:
    """SIGKILL at any instant; nothing that it started outlives it."""
    out = place / "run"
    running = start([*reference.command, str(out)], place / "said")
    time.sleep(rng.uniform(0, reference.seconds))
    below = list(descendants(running.pid))
    with contextlib.suppress(ProcessLookupError):
        os.kill(running.pid, signal.SIGKILL)
    code, said = finish(running)
    until_s = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in below):
        if time.monotonic() > until_s:
            return 71, "a process outlives it", out
        time.sleep(0.01)
    return code, said, out


def full(reference: Reference, place: Path, rng: random.Random) -> tuple[int, str, Path]:
    """No byte more, at any size of the run; then there is room again."""
    disk = place / "disk"
    disk.mkdir()
    pages = max(1, reference.bytes // 4096 + 4)
    size = 4096 * rng.randint(1, pages)
    mounted = mount(disk, f"size={size}")

    def limit() -> None:
        if not mounted:
            most = rng.randint(1, 30_000)
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    code, said = finish(start([*reference.command, str(disk / "run")], place / "said", limit))
    if mounted:
        subprocess.run(["mount", "-o", "remount,size=100m", str(disk)], check=True)
    return code, said, disk / "run"


def read_only(reference: Reference, place: Path, rng: random.Random) -> tuple[int, str, Path]:
    """Every write to the disk of the run fails from some write on."""
    out, left = place / "run", rng.randrange(reference.writes)
    refuse = WriteHook(out, lambda number: number > left)
    code, said = finish(
        start([*reference.command, str(out)], place / "said", lambda: sys.addaudithook(refuse))
    )
    return code, said, out


class WriteHook:
    """Counts what would write below a folder, and refuses some of it as a read-only disk does."""

    def __init__(self, folder: Path, refuses: Callable[[int], bool]) -> None:
        self.folder, self.refuses, self.count = str(folder), refuses, 0

    def __call__(self, event: str, details: tuple) -> None:
        opens = event == "open" and isinstance(details[2], int)
        if not (event in WRITES or (opens and details[2] & (os.O_WRONLY | os.O_RDWR))):
            return
        if any(self.folder in str(part) for part in details):
            self.count += 1
            if self.refuses(self.count):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(details[0]))


def agent_killed(reference: Reference, place: Path, rng: random.Random) -> tuple[int, str, Path]:
    """SIGKILL for the process in which the agent lives."""
    out = place / "run"
    running = start([*reference.command, str(out)], place / "said")
    wait_s = time.monotonic() + rng.uniform(0, reference.seconds)
    while Path(f"/proc/{running.pid}/fd").exists():
        # in the nursery's child, or in the last process of a sandbox
        agents = [pid for pid in descendants(running.pid) if not children(pid)]
        agents = [pid for pid in agents if pid not in children(running.pid)]
        if time.monotonic() > wait_s and agents and os.path.exists(f"/proc/{running.pid}/exe"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(rng.choice(agents), signal.SIGKILL)
            break
        if ended(running.pid):
            break
        time.sleep(0.001)
    return *finish(running), out


def ended(pid: int) -> bool:
    """Whether a child has ended and was not waited for."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def mount(folder: Path, how: str) -> bool:
    """Mount a small disk in memory; False where this user may not."""
    words = ["mount", "-t", "tmpfs", "-o", how, "tmpfs", str(folder)]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def unmount(folder: Path) -> None:
    """Unmount a disk, if it is one."""
    if folder.is_mount():
        subprocess.run(["umount", str(folder)], check=True)


FAULTS = {
    "killed": killed,
    "full disk": full,
    "read-only disk": read_only,
    "agent killed": agent_killed,
}

if __name__ == "__main__":
    sys.exit(main())
