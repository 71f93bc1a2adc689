"""What a run is: environment, agent, model and seed, resolved to the last setting."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from sleepgym.core import registry
from sleepgym.core.agent import Agent
from sleepgym.core.env import ContinualEnv, make_env
from sleepgym.core.errors import BadSetting
from sleepgym.core.rng import derive_seed
from sleepgym.core.settings import build_config, plain, upgrade_settings
from sleepgym.runs.models.base_model import is_served, model_digest
from sleepgym.runs.models.prompt import use_prompt
from sleepgym.runs.records import SCHEMA

if TYPE_CHECKING:
    from sleepgym.runs.isolation.process import AgentCall

Isolation = Literal["in-process", "process", "sandbox"]
DAY_S = 86_400.0
_PACKAGES = ("gymnasium", "numpy", "torch", "transformers", "trl", "peft", "bm25s")


@dataclass(frozen=True)
class RunSpec:
    """One run.

    Attributes:
        env: Environment id.
        agent: Registered name or ``module:Class``.
        env_settings: ``preset``, family settings, ``exams`` and budgets, as text or values.
        agent_settings: Fields of the agent's ``Config``.
        seed: Seed of the stream. The agent's is derived from it and does not give it away.
        model: ``"embedded"``, a path, a hub id, ``openai:URL#NAME`` or ``"scratch"``; ignored by
            agents without one.
        data: Folder of original data files.
        isolation: Where the agent lives: in this process (``"in-process"``), in one of its own
            that neither holds nor is told the stream's seed (``"process"``), or in one that sees
            nothing of this machine but what it needs (``"sandbox"``, by bubblewrap).
        label: Name in tables and figures; the agent's name where empty.
        salt: At least 32 hexadecimal digits from which, with the stream's seed, the agent's is
            derived. Drawn where it is empty and the agent does not live in this process.
        phase_limit_s: Longest phase, where the agent does not live in this process.
        prompt: How the model is asked, where not as it suits it best: ``plain``, ``template`` (its
            own chat template) or the JSON text of a ``prompt.json``.
    """

    env: str
    agent: str
    env_settings: Mapping[str, Any] = field(default_factory=dict)
    agent_settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    model: str = "embedded"
    data: Path | None = None
    isolation: Isolation = "in-process"
    label: str = ""
    salt: str = ""
    phase_limit_s: float = DAY_S
    prompt: str = ""

    def __post_init__(self) -> None:
        if self.isolation not in get_args(Isolation):
            levels = ", ".join(get_args(Isolation))
            raise BadSetting(f"isolation={self.isolation}: must be one of {levels}")
        if self.salt and not re.fullmatch(r"[0-9a-f]{32,128}", self.salt):
            raise BadSetting(f"salt={self.salt:.40}: must be 32 to 128 hexadecimal digits")
        if not self.phase_limit_s > 0:
            raise BadSetting(f"phase_limit_s={self.phase_limit_s}: must be more than 0")
        if self.seed < 0:
            raise BadSetting(f"seed={self.seed}: must be 0 or more")

    def upgraded(self) -> RunSpec:
        """The same with the names that the agent's settings have today."""
        agent = registry.agent_class(self.agent).Config
        return replace(self, agent_settings=upgrade_settings(agent, self.agent_settings))

    def make_env(self) -> ContinualEnv:
        """The environment, not yet reset."""
        settings = {name.replace("-", "_"): value for name, value in self.env_settings.items()}
        return make_env(self.env, data=self.data, **settings)

    def make_agent(self) -> Agent:
        """A fresh agent, as it is at birth."""
        use_prompt(self.prompt)
        cls = registry.agent_class(self.agent)
        return cls(self.agent_config(), seed=self.agent_seed, model=self.model)

    @property
    def agent_seed(self) -> int:
        """The agent's seed. With a salt, nobody who lacks it can find the stream's from it."""
        return derive_seed(self.seed, "agent", *([self.salt] if self.salt else []))

    def agent_call(self) -> AgentCall:
        """What a process of the agent's own is told."""
        from sleepgym.runs.isolation.process import AgentCall

        sandbox, limit_s = self.isolation == "sandbox", self.phase_limit_s
        return AgentCall(
            self.agent,
            self.agent_settings,
            self.agent_seed,
            self.model,
            self.env,
            sandbox,
            limit_s,
            prompt=self.prompt,
        )

    def describe_agent(self) -> dict[str, Any]:
        """``settings`` of the agent, ``uses_model``, and what is known of a ``served`` model.

        Raises:
            BadSetting: If the agent needs a server where there is no network.
        """
        if self.isolation == "in-process":
            use_prompt(self.prompt)
            cls = registry.agent_class(self.agent)
            return {
                "settings": plain(self.agent_config()),
                "uses_model": cls.uses_model,
                "served": cls.served_model(self.model),
            }
        if self.isolation == "sandbox" and is_served(self.model):
            raise BadSetting(
                f"isolation=sandbox has no network for model {self.model!r:.200}: "
                "use --isolation process, or in-process"
            )
        from sleepgym.runs.isolation.process import describe_agent

        return describe_agent(self.agent_call())

    def agent_config(self) -> Any:
        """The agent's configuration with every default filled in."""
        cls = registry.agent_class(self.agent)
        settings = {name.replace("-", "_"): value for name, value in self.agent_settings.items()}
        return build_config(cls.Config, settings, f"agent {self.agent}")


def describe(spec: RunSpec, env: ContinualEnv) -> dict[str, Any]:
    """The contents of ``run.json``: ``spec`` identifies the run, the rest says where it ran."""
    assert env.stream is not None
    agent = spec.describe_agent()
    uses_model = agent["uses_model"]
    return {
        "schema": SCHEMA,
        "spec": {
            "env": spec.env,
            "env_settings": plain(env.family.config),
            "exams": env.exams,
            "budget": plain(env.budget),
            "agent": spec.agent,
            "agent_settings": agent["settings"],
            "seed": spec.seed,
            "model": spec.model if uses_model else None,
            "isolation": spec.isolation,
            **({"prompt": spec.prompt} if uses_model and spec.prompt else {}),
        },
        "salt": spec.salt or None,
        "model_digest": model_digest(spec.model) if uses_model else None,
        "served_model": agent["served"],
        "label": spec.label or spec.agent,
        "stream_hash": env.stream.content_hash,
        "days": len(env.stream.days),
        "steps": len(env.steps),
        "data": None if spec.data is None else str(spec.data),
        "platform": {
            "python": platform.python_version(),
            "system": platform.system(),
            "machine": platform.machine(),
        },
        "packages": _versions(),
        "commit": _commit(),
    }


def spec_from_meta(meta: Mapping[str, Any], data: Path | None = None) -> RunSpec:
    """The specification that ``run.json`` describes, to resume or repeat it."""
    saved = meta["spec"]
    budget = {k: v for k, v in saved["budget"].items() if v is not None}
    return RunSpec(
        env=saved["env"],
        agent=saved["agent"],
        env_settings={**saved["env_settings"], "exams": saved["exams"], **budget},
        agent_settings=saved["agent_settings"],
        seed=saved["seed"],
        model=saved["model"] or "embedded",
        data=data or (Path(meta["data"]) if meta.get("data") else None),
        isolation=saved["isolation"],
        label=meta.get("label", ""),
        salt=meta.get("salt") or "",
        prompt=saved.get("prompt") or "",
    )


def _versions() -> dict[str, str]:
    versions = {}
    for name in ("sleepgym", *_PACKAGES):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _commit() -> str | None:
    """The commit of the checkout this package is imported from, if it is one.

    A wheel does not know its commit: where it is installed, ``SLEEPGYM_COMMIT`` says it.
    """
    here = Path(__file__).parents[1]
    if not (here.parent / ".git").exists():
        return os.environ.get("SLEEPGYM_COMMIT") or None
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=40"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.stdout.strip() or None
