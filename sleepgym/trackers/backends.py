"""The trackers: each takes settings at first, numbers after every night, and metrics at last."""

from __future__ import annotations

import importlib
import json
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from sleepgym.core.errors import MissingData, unknown_name

PROJECT = "sleepgym"


@dataclass(frozen=True)
class Described:
    """What a tracker is told of a run before its first night.

    Attributes:
        id: 16 hexadecimal digits; the same when the run is resumed.
        name: Of this run among those of its folder: label and seed.
        group: The environment's id.
        settings: The ``spec`` of ``run.json``, and the stream's hash.
        path: The run directory.
    """

    id: str
    name: str
    group: str
    settings: Mapping[str, Any]
    path: Path


class Tracker(ABC):
    """One run in one tracker.

    Attributes:
        requires: The package that it stands on.
        repeats: Whether a resumed run is told from its first night, or from where it goes on.
    """

    requires: ClassVar[str]
    repeats: ClassVar[bool] = False

    @classmethod
    def check(cls) -> None:
        """Raise whatever this tracker refuses with, before anything has run."""

    @abstractmethod
    def __init__(self, run: Described) -> None:
        """Begin, or go on with, a run."""

    @abstractmethod
    def log(self, night: int, values: Mapping[str, float]) -> None:
        """Numbers of a night; night 0 is the exam at birth."""

    @abstractmethod
    def finish(self, metrics: Mapping[str, float]) -> None:
        """The metrics of the whole stream; empty where it did not end. Nothing follows."""


class TensorBoard(Tracker):
    """Event files in the run's folder ``tensorboard``; ``tensorboard --logdir OUT`` shows them."""

    requires = "tensorboard"
    repeats = True  # its files are derived from the record, and written anew

    def __init__(self, run: Described) -> None:
        from tensorboard.summary import Writer  # pyright: ignore[reportMissingImports]

        folder = run.path / "tensorboard"
        shutil.rmtree(folder, ignore_errors=True)
        self._writer = Writer(str(folder))
        (folder / "settings.json").write_text(json.dumps(run.settings, indent=1) + "\n")
        self._night = 0

    def log(self, night: int, values: Mapping[str, float]) -> None:
        """A scalar a number; the step is the night."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, night)
        self._writer.flush()
        self._night = night

    def finish(self, metrics: Mapping[str, float]) -> None:
        """A scalar a metric, under ``final/``."""
        for name, value in metrics.items():
            self._writer.add_scalar(f"final/{name}", value, self._night)
        self._writer.close()


class Wandb(Tracker):
    """Weights & Biases; its own variables (``WANDB_PROJECT``, ``WANDB_MODE``) are obeyed."""

    requires = "wandb"

    @classmethod
    def check(cls) -> None:
        """Log in, as ``wandb login`` does; not where nothing is sent."""
        wandb = importlib.import_module("wandb")
        if os.environ.get("WANDB_MODE") not in ("offline", "dryrun", "disabled"):
            wandb.login()

    def __init__(self, run: Described) -> None:
        wandb = importlib.import_module("wandb")
        project = os.environ.get("WANDB_PROJECT", PROJECT)
        self._run = wandb.init(
            project=project,
            name=run.name,
            group=run.group,
            id=run.id,
            resume="allow",
            config=dict(run.settings),
            settings={"silent": True},
        )

    def log(self, night: int, values: Mapping[str, float]) -> None:
        """One step a night."""
        self._run.log(dict(values), step=night)

    def finish(self, metrics: Mapping[str, float]) -> None:
        """The run's summary."""
        self._run.summary.update(dict(metrics))
        self._run.finish()


class Trackio(Tracker):
    """Trackio: a local database, or a Space where ``TRACKIO_SPACE_ID`` names one."""

    requires = "trackio"

    def __init__(self, run: Described) -> None:
        trackio = importlib.import_module("trackio")
        project = os.environ.get("TRACKIO_PROJECT", PROJECT)
        self._run = trackio.init(
            project=project,
            name=f"{run.name}-{run.id[:6]}",
            group=run.group,
            resume="allow",
            config=dict(run.settings),
            embed=False,
            auto_log_cpu=False,
        )
        self._night = 0

    def log(self, night: int, values: Mapping[str, float]) -> None:
        """One step a night."""
        self._run.log(dict(values), step=night)
        self._night = night

    def finish(self, metrics: Mapping[str, float]) -> None:
        """The metrics under ``final/``, at the last night."""
        if metrics:
            final = {f"final/{name}": value for name, value in metrics.items()}
            self._run.log(final, step=self._night)
        self._run.finish()


class MLflow(Tracker):
    """MLflow at ``MLFLOW_TRACKING_URI``; the experiment is ``MLFLOW_EXPERIMENT_NAME``."""

    requires = "mlflow"

    @classmethod
    def check(cls) -> None:
        """Ask the tracking server for its experiments; minutes of retries are not waited for."""
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
        importlib.import_module("mlflow").MlflowClient().search_experiments(max_results=1)

    def __init__(self, run: Described) -> None:
        self._client = importlib.import_module("mlflow").MlflowClient()
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        found = self._client.get_experiment_by_name(name)
        place = found.experiment_id if found else self._client.create_experiment(name)
        same = self._client.search_runs([place], f"tags.sleepgym = '{run.id}'", max_results=1)
        if same:
            self._id = same[0].info.run_id
            return
        tags = {"sleepgym": run.id, "group": run.group}
        self._id = self._client.create_run(place, run_name=run.name, tags=tags).info.run_id
        for key, value in _flat(run.settings).items():
            self._client.log_param(self._id, key, str(value)[:500])

    def log(self, night: int, values: Mapping[str, float]) -> None:
        """A metric a number; the step is the night."""
        for name, value in values.items():
            self._client.log_metric(self._id, name, value, step=night)

    def finish(self, metrics: Mapping[str, float]) -> None:
        """The metrics under ``final/``."""
        for name, value in metrics.items():
            self._client.log_metric(self._id, f"final/{name}", value)
        self._client.set_terminated(self._id, "FINISHED" if metrics else "KILLED")


TRACKERS: dict[str, type[Tracker]] = {
    "tensorboard": TensorBoard,
    "wandb": Wandb,
    "trackio": Trackio,
    "mlflow": MLflow,
}


def check_tracker(name: str) -> None:
    """Make sure that a tracker can be used, before anything has run.

    Raises:
        UnknownName: If there is no such tracker.
        MissingData: If it is not installed, or refuses.
    """
    if name not in TRACKERS:
        raise unknown_name("tracker", name, TRACKERS)
    try:
        importlib.import_module(TRACKERS[name].requires)
        TRACKERS[name].check()
    except ImportError as error:
        raise MissingData(
            f"track={name}: {error.name or name} is not installed: pip install 'sleepgym[{name}]'"
        ) from error
    except Exception as error:  # whatever a third party's tracker refuses with
        raise MissingData(f"track={name}: it refuses: {one_line(error)}") from error


def one_line(error: BaseException) -> str:
    """The first line of an error, or its kind."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
