"""Which runs lie in some folders, and which may stand beside each other."""

from __future__ import annotations

import json
import shlex
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from sleepgym.core import registry
from sleepgym.core.errors import BadRun, UnknownName
from sleepgym.core.html import html_table
from sleepgym.runs.records import RunRecord, read_run
from sleepgym.scoring.regrading import regraded

_ENVIRONMENT = ("env", "env_settings", "exams", "budget")
STATELESS = "frozen"
_DEPTH = 3


@dataclass(frozen=True)
class Configuration:
    """Runs that differ in their seed alone.

    Attributes:
        label: Name in tables and figures, unique within a comparison.
        records: By seed.
    """

    label: str
    records: tuple[RunRecord, ...]


@dataclass(frozen=True)
class Comparison:
    """Configurations on one environment: the same settings, exams and budget.

    Attributes:
        environment: These, as in ``run.json``.
        configurations: By label.
    """

    environment: dict[str, Any]
    configurations: tuple[Configuration, ...]

    @property
    def settings(self) -> str:
        """Every setting and limit in one line."""
        limits = {k: v for k, v in self.environment["budget"].items() if v is not None}
        settings = self.environment["env_settings"] | {"exams": self.environment["exams"]} | limits
        return ", ".join(f"{name}={_text(value)}" for name, value in settings.items())

    @property
    def changed(self) -> str:
        """The settings and limits that are not the defaults in one line, and the metric."""
        given = {**self.environment["env_settings"], "exams": self.environment["exams"]}
        usual = {**_defaults(self.environment["env"]), "exams": "full"}
        limits = {k: v for k, v in self.environment["budget"].items() if v is not None}
        usual.pop("metric", None)
        changed = {k: v for k, v in given.items() if k not in usual or usual[k] != v}
        return ", ".join(f"{name}={_text(value)}" for name, value in (changed | limits).items())

    @property
    def records(self) -> list[RunRecord]:
        """Every run."""
        return [record for c in self.configurations for record in c.records]

    def _repr_html_(self) -> str:
        """A row an agent, the best average accuracy first, in a notebook."""
        from sleepgym.scoring.scores import aggregate, score_run  # which stands on this module

        names = ("average_accuracy", "evening_accuracy", "morning_accuracy", "base_retention")
        rows = []
        for c in self.configurations:
            mean = aggregate([score_run(r, find_stateless(r, self.records)) for r in c.records])
            seeds = seed_ranges(r.meta["spec"]["seed"] for r in c.records)
            rows.append((c.label, seeds, *(mean["mean"].get(name) for name in names)))
        rows.sort(key=lambda row: -(row[2] or 0.0))
        caption = f"{self.environment['env']} {self.changed}".strip()
        return html_table(caption, ("agent", "seeds", *(n.replace("_", " ") for n in names)), rows)


def read_runs(*paths: str | Path) -> tuple[list[RunRecord], dict[Path, str]]:
    """The runs under some folders, in order of their paths, finished or not.

    Args:
        *paths: Run directories, or folders that hold some up to three levels down.

    Returns:
        The runs, and for every run directory that cannot be read the reason.

    Raises:
        BadRun: If a path is no folder, or no run directory lies under it.
    """
    records, unreadable = [], {}
    for folder in dict.fromkeys(
        found for path in paths for found in find_run_directories(Path(path))
    ):
        try:
            records.append(read_run(folder))
        except (BadRun, OSError) as error:
            unreadable[folder] = str(error)
        except (KeyError, TypeError) as error:
            unreadable[folder] = f"its records lack a field: {error!r}"
    return records, unreadable


def read_finished(*paths: str | Path) -> list[RunRecord]:
    """The finished runs under some folders, graded again; each other is left out with a warning.

    Raises:
        BadRun: As :func:`read_runs`, and if no run has finished.
    """
    records, unreadable = read_runs(*paths)
    reasons = unreadable | {r.path: unfinished(r) for r in records if not r.finished}
    finished = [record for record in records if record.finished]
    if not finished:
        raise BadRun("; ".join(reasons.values()))
    for folder, reason in reasons.items():
        warnings.warn(f"left out {folder}: {reason}", stacklevel=2)
    return regraded(finished)


def unfinished(record: RunRecord) -> str:
    """What to say of a run that has not finished."""
    done, steps = len(record.phases), record.meta["steps"]
    return (
        f"{record.path} is not finished ({done} of {steps} phases): sleepgym resume {record.path}"
    )


def compare(records: Sequence[RunRecord]) -> list[Comparison]:
    """Group runs by environment, and these by configuration.

    Raises:
        BadRun: If two runs are of the same configuration and seed: they would count twice.
    """
    environments: dict[str, list[RunRecord]] = {}
    for record in records:
        part = {name: record.meta["spec"][name] for name in _ENVIRONMENT}
        environments.setdefault(_key(part), []).append(record)
    return [
        Comparison(json.loads(key), tuple(_configurations(runs)))
        for key, runs in sorted(environments.items())
    ]


def stream_name(record: RunRecord) -> str:
    """What two runs must share to be paired: the seed and the stream it made."""
    return f"seed {record.meta['spec']['seed']} (stream {record.meta['stream_hash'][:12]})"


def seed_ranges(seeds: Iterable[int]) -> str:
    """``[100, 101, 102, 7]`` -> ``"7, 100-102"``."""
    ranges: list[list[int]] = []
    for seed in sorted(set(seeds)):
        if ranges and ranges[-1][-1] == seed - 1:
            ranges[-1][1:] = [seed]
        else:
            ranges.append([seed])
    return ", ".join("-".join(map(str, ends)) for ends in ranges)


def find_stateless(record: RunRecord, records: Sequence[RunRecord]) -> RunRecord | None:
    """The one finished run of ``frozen`` with the same model, environment and stream, if any."""
    same = ("model", *_ENVIRONMENT)
    spec = record.meta["spec"]
    found = [
        other
        for other in records
        if other.meta["spec"]["agent"] == STATELESS
        and other.finished
        and other.meta["stream_hash"] == record.meta["stream_hash"]
        and all(other.meta["spec"][name] == spec[name] for name in same)
    ]
    return found[0] if len(found) == 1 else None


def command(record: RunRecord) -> str:
    """The command line that repeats a run, every setting written out."""
    spec = record.meta["spec"]
    limits = {name: value for name, value in spec["budget"].items() if value is not None}
    env_settings = {**spec["env_settings"], "exams": spec["exams"], **limits}
    words = ["sleepgym", "run", "--env", spec["env"], "--agent", spec["agent"]]
    words += [w for k, v in env_settings.items() for w in ("--env-set", f"{k}={_text(v)}")]
    words += [
        w for k, v in spec["agent_settings"].items() for w in ("--agent-set", f"{k}={_text(v)}")
    ]
    words += ["--seed", str(spec["seed"])]
    words += ["--model", spec["model"]] if spec["model"] else []
    words += ["--prompt", spec["prompt"]] if spec.get("prompt") else []
    words += ["--data", record.meta["data"]] if record.meta.get("data") else []
    words += ["--isolation", str(spec["isolation"])]
    words += ["--salt", record.meta["salt"]] if record.meta.get("salt") else []
    words += ["--out", str(record.path)]
    return shlex.join(words)


def _configurations(records: list[RunRecord]) -> list[Configuration]:
    groups: dict[str, dict[int, RunRecord]] = {}
    for record in records:
        spec = dict(record.meta["spec"])
        seed = spec.pop("seed")
        seeds = groups.setdefault(_key(spec), {})
        if seed in seeds:
            raise BadRun(
                f"{seeds[seed].path} and {record.path} are the same configuration and seed {seed}: "
                "give one of them"
            )
        seeds[seed] = record
    runs = [tuple(seeds[seed] for seed in sorted(seeds)) for seeds in groups.values()]
    labels = _labels([group[0] for group in runs])
    made = [Configuration(label, group) for label, group in zip(labels, runs, strict=True)]
    return sorted(made, key=lambda c: c.label)


def _labels(records: list[RunRecord]) -> list[str]:
    """Each run's own label; where several share it, with the settings in which they differ."""
    names = [str(record.meta.get("label") or record.meta["spec"]["agent"]) for record in records]
    labels = []
    for name, record in zip(names, records, strict=True):
        mine = _details(record)
        rivals = [_details(r) for n, r in zip(names, records, strict=True) if n == name]
        apart = [k for k in mine if any(other.get(k, mine) != mine[k] for other in rivals)]
        inside = ", ".join(f"{key}={mine[key]}" for key in apart)
        labels.append(f"{name} ({inside})" if inside else name)
    return labels


def _details(record: RunRecord) -> dict[str, Any]:
    spec = record.meta["spec"]
    own = {k: spec.get(k) for k in ("agent", "model", "isolation", "prompt")}
    return {**own, **spec["agent_settings"]}


def _defaults(env: str) -> dict[str, Any]:
    """The default settings of an environment; none where its package is not installed here."""
    try:
        config = registry.family_class(env).Config
    except UnknownName:
        return {}
    values = {f.name: f.default for f in fields(config) if f.default is not MISSING}
    return json.loads(json.dumps(values))


def _key(part: dict[str, Any]) -> str:
    return json.dumps(part, sort_keys=True)


def find_run_directories(path: Path) -> list[Path]:
    """The run directories under a folder, itself included, in order of their paths.

    Raises:
        BadRun: If it is no folder, or there are none.
    """
    if not path.is_dir():
        raise BadRun(f"{path} is not a folder: give run directories, or folders that hold some")
    found = _search(path, _DEPTH)
    if not found:
        raise BadRun(f"no run directory (one with a run.json) under {path}")
    return found


def _search(path: Path, depth: int) -> list[Path]:
    if (path / "run.json").exists():
        return [path]
    if depth == 0:
        return []
    folders = sorted(child for child in path.iterdir() if child.is_dir())
    return [found for folder in folders for found in _search(folder, depth - 1)]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value).replace("null", "none")
