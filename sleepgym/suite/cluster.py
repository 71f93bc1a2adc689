"""Runs of a suite as tasks of a Ray cluster: one machine or many, GPUs shared out by Ray.

A worker that sees the suite's folder writes into it; one that does not works in a folder of its
own and sends it after every night, so that what was finished is here and can be resumed. A worker
that dies (out of memory, a node that is gone) is replaced, and its run goes on from its last phase.
"""

from __future__ import annotations

import importlib
import io
import os
import secrets
import shutil
import socket
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sleepgym.core.errors import BadSetting, MissingData, SleepGymError
from sleepgym.suite.launchers import TICK_S, Ended, Job, Launcher, LostWorker

TRIES = 3  # a run whose workers die is given up after that many
ANSWER_S = 10.0  # within which a cluster answers
_ENVIRONMENT = ("SLEEPGYM_", "HF_", "WANDB_", "MLFLOW_", "TRACKIO_")


@dataclass(frozen=True)
class Place:
    """What a worker is told of where the suite was started.

    Attributes:
        marker: A file that the worker finds where it sees the suite's folder.
        folder: The working directory, which relative paths begin at.
        path: Where modules are found.
        environment: Variables that the runs depend on.
    """

    marker: Path
    folder: str
    path: tuple[str, ...]
    environment: Mapping[str, str]


class RayLauncher(Launcher):
    """Tasks of a Ray cluster, each with one CPU and a share of a GPU."""

    def __init__(self, address: str | None = None, gpus_per_run: float = 0.0, cpus: int = 1):
        """Check what can be checked before anything runs.

        Args:
            address: Of a cluster: ``HOST:PORT``, ``ray://HOST:PORT`` or ``auto``; None starts one
                on this machine, for this command.
            gpus_per_run: GPUs of each run; .5 puts two runs on one GPU.
            cpus: Runs side by side where the cluster is started here.

        Raises:
            MissingData: If Ray is not installed.
            BadSetting: If the address does not answer, or no node has the GPUs.
        """
        self._ray = _import_ray()
        if not gpus_per_run >= 0 or (gpus_per_run > 1 and gpus_per_run % 1):
            raise BadSetting(f"gpus-per-run={gpus_per_run}: must be from 0 to 1, or a whole number")
        if address and address != "auto":
            _require_answer(address)
        self.address, self.gpus_per_run, self.cpus = address, gpus_per_run, cpus

    def launch(self, jobs: Sequence[Job]) -> Iterator[Ended | str | None]:
        """See :meth:`Launcher.launch`."""
        with self._connected():
            yield from self._run_all(list(jobs))

    @contextmanager
    def _connected(self) -> Iterator[None]:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        where: dict[str, Any] = {"address": self.address}
        if self.address is None:
            where = {"address": "local", "num_cpus": self.cpus, "include_dashboard": False}
        try:
            self._ray.init(**where, log_to_driver=False, logging_level="ERROR")
        except Exception as error:  # ConnectionError, RuntimeError, ValueError of Ray's own
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise BadSetting(
                f"address={self.address}: no Ray cluster there ({reason:.200}): start one with "
                "`ray start --head`"
                if self.address
                else f"launcher=ray: Ray did not start on this machine ({reason:.200}): try again "
                "when it is less busy, or --launcher local"
            ) from error
        try:
            most = max((n["Resources"].get("GPU", 0) for n in self._ray.nodes()), default=0)
            if self.gpus_per_run > most:
                raise BadSetting(
                    f"gpus-per-run={self.gpus_per_run}: no node of the cluster has more than "
                    f"{most:g} GPUs"
                )
            yield
        finally:
            self._ray.shutdown()

    def _run_all(self, jobs: list[Job]) -> Iterator[Ended | str | None]:
        ray = self._ray
        task = ray.remote(max_retries=0, num_cpus=1, num_gpus=self.gpus_per_run)(run_on_worker)
        strategies = importlib.import_module("ray.util.scheduling_strategies")
        here = strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=False
        )  # where this command is: it cannot be lost without it
        mailbox = ray.remote(num_cpus=0, scheduling_strategy=here)(Mailbox).remote()
        root = Path(os.path.commonpath([job.out.resolve().parent for job in jobs]))
        with _marked(root) as marker:
            place = _here(marker)
            waiting: dict[Any, tuple[int, int]] = {}

            def submit(number: int, attempt: int, send: bool = False) -> None:
                job = replace(jobs[number], out=jobs[number].out.resolve())
                packed = b"" if not job.out.is_dir() else pack_run(job.out) if send else None
                ref = task.remote(job, place, packed, mailbox, number)
                waiting[ref] = (number, attempt)

            for number in range(len(jobs)):
                submit(number, 1)
            while waiting:
                ready, _ = ray.wait(list(waiting), num_returns=1, timeout=TICK_S)
                for number, content in ray.get(mailbox.take.remote()).items():
                    adopt_run(content, jobs[number].out)
                for ref in ready:
                    number, attempt = waiting.pop(ref)
                    try:
                        error, content = ray.get(ref)
                    except ray.exceptions.RayTaskError as fault:  # ours: it would come again
                        yield Ended(jobs[number], SleepGymError(_last_line(fault)))
                        continue
                    except ray.exceptions.RayError as death:
                        why = f"its worker died ({type(death).__name__})"
                        if attempt < TRIES:
                            yield f"{jobs[number].name}: {why}; it goes on, try {attempt + 1}"
                            submit(number, attempt + 1)
                        else:
                            lost = f"{jobs[number].name}: {why}, {TRIES} times: {jobs[number].out}"
                            yield Ended(jobs[number], LostWorker(f"{lost} can be resumed"))
                        continue
                    if content is None:
                        submit(number, attempt, send=True)
                        continue
                    if content:
                        adopt_run(content, jobs[number].out)
                    yield Ended(jobs[number], error)
                yield None


class Mailbox:
    """Where workers that do not see the suite's folder leave theirs; an actor of Ray."""

    def __init__(self) -> None:
        self._latest: dict[int, bytes] = {}

    def put(self, number: int, content: bytes) -> None:
        """The folder of a run, after a night."""
        self._latest[number] = content

    def take(self) -> dict[int, bytes]:
        """What has come since."""
        latest, self._latest = self._latest, {}
        return latest


def run_on_worker(
    job: Job, place: Place, packed: bytes | None, mailbox: Any, number: int
) -> tuple[Exception | None, bytes | None]:
    """Execute a job on a worker.

    Args:
        job: The job; its directory is the suite's.
        place: See :class:`Place`.
        packed: The run so far, by :func:`pack_run`; empty where there is none, None where there is
            one that was not sent.
        mailbox: The actor that takes the run so far.
        number: Of the job.

    Returns:
        The error that the run ended with, and the run's folder where the worker could not write
        into the suite's; empty where it could, None where it needs the run so far.
    """
    os.environ.update(place.environment)
    sys.path += [entry for entry in place.path if entry not in sys.path]
    with suppress(OSError):
        os.chdir(place.folder)
    if place.marker.is_file():
        return _executed(job), b""
    if packed is None:
        return None, None
    folder = Path(tempfile.mkdtemp(prefix="sleepgym-"))
    try:
        away = replace(job, out=folder / "run", follow=_Sent(job, mailbox, number))
        if packed:
            adopt_run(packed, away.out)
        error = _executed(away)
        return error, pack_run(away.out) if away.out.is_dir() else b""
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _executed(job: Job) -> Exception | None:
    try:
        job.execute()
    except SleepGymError as error:
        return error
    except Exception as error:  # a fault of ours: told in one line, as the cluster has the rest
        return SleepGymError(f"{job.name}: {type(error).__name__}: {error}")
    return None


@dataclass(frozen=True)
class _Sent:
    """A ``follow`` that sends the run's folder after every morning, beside the job's own."""

    job: Job
    mailbox: Any
    number: int

    @contextmanager
    def __call__(self, out: Path) -> Iterator[Any]:
        ray = _import_ray()

        def tell(done: int, total: int, what: str, score: float | None) -> None:
            if also:
                also(done, total, what, score)
            if what.startswith("morning") and done < total:
                ray.get(self.mailbox.put.remote(self.number, pack_run(out)))

        with self.job.follow(out) if self.job.follow else nullcontext() as also:
            yield tell


def pack_run(out: Path) -> bytes:
    """The files of a run directory as one archive."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", strict_timestamps=False) as archive:
        for file in sorted(out.rglob("*")):
            if file.is_file() and file.name != ".lock":
                archive.write(file, file.relative_to(out))
    return content.getvalue()


def adopt_run(content: bytes, out: Path) -> None:
    """Bring a run directory to the state of an archive, so that a crash loses nothing.

    The journal is replaced after what it speaks of is there, and states that it no longer speaks
    of go last (:mod:`sleepgym.runs.journal`).
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = sorted(archive.namelist(), key=lambda name: name == "phases.jsonl")
        for name in names:
            file = out / name
            if not file.resolve().is_relative_to(out.resolve()):
                raise SleepGymError(f"a worker sent a file out of its folder: {name!r:.200}")
            file.parent.mkdir(parents=True, exist_ok=True)
            draft = file.with_name(f"{file.name}.tmp")
            draft.write_bytes(archive.read(name))
            os.replace(draft, file)
    kept = {Path(name).parts[1] for name in names if name.startswith("state/")}
    for state in (out / "state").glob("*"):
        if state.name not in kept:
            shutil.rmtree(state, ignore_errors=True)


@contextmanager
def _marked(root: Path) -> Iterator[Path]:
    """A file in the suite's folder by which a worker knows that it sees it."""
    root.mkdir(parents=True, exist_ok=True)
    marker = root / f".cluster-{secrets.token_hex(8)}"
    marker.touch()
    try:
        yield marker
    finally:
        marker.unlink(missing_ok=True)


def _here(marker: Path) -> Place:
    environment = {k: v for k, v in os.environ.items() if k.startswith(_ENVIRONMENT)}
    path = tuple(str(Path(entry or ".").resolve()) for entry in sys.path)
    return Place(marker, os.getcwd(), path, environment)


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1][:300]


def _import_ray() -> Any:
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise MissingData(
            "launcher=ray: ray is not installed: pip install 'sleepgym[ray]'"
        ) from error


def _require_answer(address: str) -> None:
    """Knock, as Ray itself waits for minutes and then ends the process.

    Ray's nodes speak gRPC, thus HTTP/2: whoever greets first is answered with SETTINGS (RFC 9113,
    section 3.4).
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        raise BadSetting(f"address={address}: must be HOST:PORT, ray://HOST:PORT or auto")
    try:
        with socket.create_connection((host, int(port)), timeout=ANSWER_S) as knock:
            knock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
            if knock.recv(9)[3:4] != b"\x04":
                raise OSError("what listens there is no Ray cluster")
    except (OSError, OverflowError) as error:
        raise BadSetting(
            f"address={address}: does not answer ({error}): start a cluster with "
            f"`ray start --head --port {port}`"
        ) from error
