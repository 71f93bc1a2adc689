"""Suites: the same streams and questions for every agent, resumable as a whole.

A suite is a TOML file: ``summary``, ``seeds`` (``"100-104"``), ``model``, ``[[envs]]`` and
``[[agents]]``. Adding one is adding a file to ``sleepgym/suite/catalogue/``. With ``tuned = true``
agents run with their tuned settings (:mod:`sleepgym.suite.tuned`), a suite's own laid over them.
``all_agents_of = "PACKAGE"`` stands for a row of every agent that the package registers, on every
environment that ``offers`` what it needs; rows of the file replace those of their labels. An agent
may name the environments it meets (``envs``, their labels), and an environment the
``data_files`` without which ``sleepgym suite`` leaves it out. For ``--dry-run`` a suite may say
how large the model is (``parameters``), what is fetched (``[[downloads]]``: ``what``,
``gigabytes``), and of which size the streams are (``scale`` of an environment, the fields of
:class:`sleepgym.core.cost.Scale`), where they cannot be made without their data.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sleepgym.core import registry
from sleepgym.core.cost import Scale
from sleepgym.core.errors import (
    BadSetting,
    MissingData,
    SleepGymError,
    UnknownName,
    unknown_name,
)
from sleepgym.runs.spec import Isolation, RunSpec
from sleepgym.suite.suite_file import read_suite_file
from sleepgym.suite.tuned import with_tuned

FOLDER = Path(__file__).parent / "catalogue"
MOST_SEEDS = 10_000  # of one range


@dataclass(frozen=True)
class Part:
    """An environment or an agent of a suite.

    Attributes:
        id: Environment id or agent name.
        label: Folder and table name; unique within the suite.
        settings: Its settings.
        settings_on: Of an agent: label of an environment -> settings of its runs there alone, laid
            over the others.
        scale: Of an environment: the size of its streams, for estimates without the data.
        data_files: Of an environment: files of the data folder it is left out without.
        envs: Of an agent: labels of the environments it meets; all where empty.
        offers: Of an environment: what it offers of :data:`sleepgym.core.registry.NEEDS`.
    """

    id: str
    label: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    settings_on: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    scale: Scale | None = None
    data_files: tuple[str, ...] = ()
    envs: tuple[str, ...] = ()
    offers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Suite:
    """A comparison.

    Attributes:
        name: The file's name.
        summary: One line.
        envs: Environments.
        agents: Agents; the first is the reference of paired differences.
        seeds: Seeds; every agent meets the same streams.
        model: Language model of the agents that use one.
        parameters: Of that model; None where the file does not say.
        downloads: What is fetched where it is not at hand, and its gigabytes.
        tuned: Whether agents run with their tuned settings.
        prompt: How the model is asked; see :class:`sleepgym.runs.spec.RunSpec`.
    """

    name: str
    summary: str
    envs: tuple[Part, ...]
    agents: tuple[Part, ...]
    seeds: tuple[int, ...]
    model: str = "embedded"
    parameters: float | None = None
    downloads: tuple[tuple[str, float], ...] = ()
    tuned: bool = False
    prompt: str = ""

    def runs(
        self, out: Path, data: Path | None = None, isolation: Isolation = "in-process"
    ) -> list[tuple[RunSpec, Path]]:
        """Every run of the suite and its directory, one seed after the other.

        Raises:
            SleepGymError: If tuned settings are wanted and cannot be read.
        """
        settings = {
            (env.label, agent.label): self.settings(agent, env.label)
            for env in self.envs
            for agent in self.agents
        }
        return [
            (
                RunSpec(
                    env=env.id,
                    agent=agent.id,
                    env_settings=env.settings,
                    agent_settings=settings[env.label, agent.label],
                    seed=seed,
                    model=self.model,
                    data=data,
                    isolation=isolation,
                    label=agent.label,
                    prompt=self.prompt,
                ),
                out / env.label / agent.label / f"seed-{seed}",
            )
            for env in self.envs
            for seed in self.seeds
            for agent in self.agents
            if env.label in (agent.envs or (env.label,))
        ]

    def settings(self, agent: Part, env: str = "") -> Mapping[str, Any]:
        """What an agent of the suite runs with, beside its defaults.

        Args:
            agent: The agent.
            env: Label of an environment; empty is any that has no settings of its own.
        """
        own = {**agent.settings, **agent.settings_on.get(env, {})}
        return with_tuned(agent.id, own) if self.tuned else own

    def only(self, agents: Sequence[str]) -> Suite:
        """The suite with some of its agents, by label.

        Raises:
            UnknownName: If a label is not in the suite.
        """
        labels = [agent.label for agent in self.agents]
        for name in agents:
            if name not in labels:
                raise unknown_name(f"agent of suite {self.name}", name, labels)
        return replace(self, agents=tuple(a for a in self.agents if a.label in agents))

    def at_hand(self, data: Path | None) -> tuple[Suite, list[str]]:
        """The suite without the environments whose data files are missing, and a line about each.

        An agent that meets none of the others is left out with them.

        Raises:
            MissingData: If nothing is left.
        """
        lines, kept = [], []
        for env in self.envs:
            missing = [f for f in env.data_files if data is None or not (data / f).is_file()]
            if missing:
                wanted = " and ".join(f"DIR/{file}" for file in missing)
                how = "pass --data DIR or set SLEEPGYM_DATA=DIR"
                lines.append(f"{env.label} is left out: put {wanted}, and {how}")
            else:
                kept.append(env)
        labels = {env.label for env in kept}
        agents = tuple(a for a in self.agents if labels & set(a.envs or labels))
        alone = [agent for agent in self.agents if agent not in agents]
        lines += [f"{a.label} is left out: it meets {', '.join(a.envs)} alone" for a in alone]
        if not agents:
            raise MissingData(f"suite {self.name}: nothing to run: {'; '.join(lines)}")
        return replace(self, envs=tuple(kept), agents=agents), lines


def suite_names() -> list[str]:
    """The suites that ship with the package."""
    return sorted(file.stem for file in FOLDER.glob("*.toml"))


def load_suite(name: str) -> Suite:
    """A suite by name, or from a TOML file of your own.

    Raises:
        UnknownName: If there is no such suite.
        SleepGymError: If the file is malformed, or an agent names an unknown environment.
    """
    file = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    if not file.is_file():
        if name.endswith(".toml"):
            known = ", ".join(suite_names())
            raise UnknownName(f"no suite file {name!r:.200}; suites with a name are: {known}")
        raise unknown_name("suite", name, suite_names())
    content = read_suite_file(file)
    try:
        envs = tuple(_part(row) for row in content["envs"])
        rows = [_part(row) for row in content.get("agents", ())]
        if "all_agents_of" in content:
            rows = _with_all_agents(rows, content["all_agents_of"], envs)
        suite = Suite(
            name=file.stem,
            summary=content["summary"],
            envs=envs,
            agents=tuple(rows),
            seeds=parse_seeds(str(content["seeds"])),
            model=content.get("model", "embedded"),
            parameters=content.get("parameters"),
            downloads=tuple((d["what"], d["gigabytes"]) for d in content.get("downloads", ())),
            tuned=content.get("tuned", False),
        )
    except TypeError as error:
        raise SleepGymError(f"suite file {file} is malformed: {error!r}") from error
    if not suite.agents:
        raise SleepGymError(f"suite file {file} names no agent: add [[agents]] or all_agents_of")
    labels = [env.label for env in suite.envs]
    for agent in suite.agents:
        for label in (*agent.envs, *agent.settings_on):
            if label not in labels:
                raise unknown_name(f"environment of {agent.label} in {file.name}", label, labels)
    return suite


def parse_seeds(text: str) -> tuple[int, ...]:
    """``"0-2,7"`` -> ``(0, 1, 2, 7)``.

    Raises:
        BadSetting: If the text is not of that form, or names more seeds than anybody runs.
    """
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,20})(?:-(\d{1,20}))?\s*", part)
        if not match or (match[2] and int(match[2]) < int(match[1])):
            raise BadSetting(
                f"seeds={text:.60}: must be numbers and ranges, for example 0-4 or 1,3,8"
            )
        first, last = int(match[1]), int(match[2] or match[1])
        if last - first >= MOST_SEEDS:
            raise BadSetting(f"seeds={text:.60}: must be at most {MOST_SEEDS} in a range")
        seeds.extend(range(first, last + 1))
    return tuple(dict.fromkeys(seeds))


def _part(row: Mapping[str, Any]) -> Part:
    for offer in row.get("offers", ()):
        if offer not in registry.NEEDS:
            raise unknown_name(f"offer of {row['id']}", offer, registry.NEEDS)
    return Part(
        id=row["id"],
        label=row.get("label", row["id"]),
        settings=row.get("settings", {}),
        settings_on=row.get("settings_on", {}),
        scale=Scale(**row["scale"]) if "scale" in row else None,
        data_files=tuple(row.get("data_files", ())),
        envs=tuple(row.get("envs", ())),
        offers=tuple(row.get("offers", ())),
    )


def _with_all_agents(rows: Sequence[Part], package: str, envs: Sequence[Part]) -> list[Part]:
    """A row for every agent of a package; those that are there already keep their own.

    Nothing is imported: what an agent needs stands in its register line.
    """
    packages = {registry.agent_package(name) for name in registry.agents}
    if package not in packages:
        raise unknown_name("package with agents", package, packages)
    named = {row.label: row for row in rows}
    found: dict[str, Part] = {}
    for entry in registry.agents.values():
        if registry.agent_package(entry.name) != package:
            continue
        fitting = tuple(env.label for env in envs if set(entry.needs) <= set(env.offers))
        if entry.name in named:
            found[entry.name] = named[entry.name]
        elif fitting:
            everywhere = len(fitting) == len(envs)
            found[entry.name] = Part(entry.name, entry.name, envs=() if everywhere else fitting)
    return [*found.values(), *(row for row in rows if row.label not in found)]
