"""Boards: small TOML files that say what is compared, on which streams, within which budget.

Adding a board is adding a file to ``boards/``. A board has one environment, so that no mean over
environments hides which one was lost.
"""

from __future__ import annotations

import json
import tomllib
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sleepgym.core.errors import BadData, SleepGymError, unknown_name
from sleepgym.suite.suite import parse_seeds
from sleepgym.suite.toml_file import read_toml
from sleepgym_boards.sealed_seeds import commitment, derive_sealed_seeds

FOLDER = Path(__file__).parent / "boards"
MODELS = Path(__file__).parent / "models.toml"
LOWER_IS_BETTER = ("forgetting_", "night_", "awake_", "state_", "added_parameters", "missing_")

Limit = Annotated[float, Field(ge=0)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class BoardEnvironment(_Part):
    """The environment of a board.

    Attributes:
        id: Environment id with its version.
        settings: Every setting of the family, so that a changed default does not change a board.
        exams: ``"full"`` or ``"spaced"``.
    """

    id: str
    settings: dict[str, Any]
    exams: Literal["full", "spaced"]


class BaseModelRule(_Part):
    """The one base model of a board; ``models.toml`` holds them by name.

    Attributes:
        name: What it is called.
        spec: The ``--model`` of a run.
        digest: SHA-256 of its files (:mod:`sleepgym.runs.models.base_model`).
        parameters: How many it has.
    """

    name: str
    spec: str
    digest: str
    parameters: Annotated[int, Field(ge=1)]


class StateLimit(_Part):
    """Bytes of saved state a day, by kind; None is no limit.

    A run's largest state of any night, divided by the days of its stream.

    Attributes:
        weights: In tensors.
        keys: In tensors of files named ``keys*.safetensors``.
        text: In everything else.
    """

    weights: Limit | None = None
    keys: Limit | None = None
    text: Limit | None = None


class BudgetClass(_Part):
    """A budget; None is no limit. Methods are ranked within their class.

    Attributes:
        name: Lower-case words joined by hyphens.
        summary: One line.
        night_seconds: Wall-clock seconds of any night, on ``hardware``.
        hardware: What ``night_seconds`` were measured on.
        night_flops: Estimated operations of any night.
        added_parameters: Parameters beyond the base model, a day.
        state_bytes: Saved state a day by kind.
    """

    name: str
    summary: str
    night_seconds: Limit | None = None
    hardware: str | None = None
    night_flops: Limit | None = None
    added_parameters: Limit | None = None
    state_bytes: StateLimit = StateLimit()


class Seal(_Part):
    """A commitment to seeds that only the maintainer knows (:mod:`sleepgym_boards.sealed_seeds`).

    Attributes:
        commitment: Hash of the round's terms under the salt, published before the round.
        count: How many seeds.
        codes: The commits that take part, whole; published before the streams are drawn.
        salt: The salt, hexadecimal, published after the round; None until then.
        submissions: SHA-256 of the files that the maintainer made, published with the salt. From
            then on everybody knows the streams, and no other file is of the round.
    """

    commitment: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    count: Annotated[int, Field(ge=5)]
    codes: tuple[Annotated[str, Field(pattern=r"^([0-9a-f]{40}|[0-9a-f]{64})$")], ...] = ()
    salt: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    submissions: tuple[Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")], ...] = ()

    def holds(self, sha256: str) -> bool:
        """Whether a file is of the round: made while the salt was a secret, by its bytes."""
        return self.salt is None or sha256 in self.submissions


class Board(_Part):
    """A board.

    Attributes:
        name: The file's name.
        version: Raised by every change that makes old submissions incomparable.
        superseded_by: The board that took its place; it stays readable and can be verified.
        title: For headings.
        summary: One line.
        environment: What is run.
        seeds: Seeds that every submission must hold, no more and no fewer, as ``"100-104"``;
            None where they are sealed.
        seal: The commitment of a sealed board.
        base_model: The model that every agent with a model must use; None: any, named on the card.
        headline: The metric that ranks.
        tie_breaks: Metrics that order methods whose headline does not differ.
        unseen_ceiling: Highest believable accuracy on days not yet taught; None: not checked.
        budgets: Budget classes, the strictest first; a method belongs to the first it keeps to,
            and one that keeps to none is refused.
        roles: Role on the page of the ablation -> SHA-256 of the submission that plays it.
        rules: What else holds, for people; shown on the board's page.
    """

    name: str
    version: Annotated[int, Field(ge=1)]
    superseded_by: str | None = None
    title: str
    summary: str
    environment: BoardEnvironment
    seeds: str | None = None
    seal: Seal | None = None
    base_model: BaseModelRule | None = None
    headline: str
    tie_breaks: tuple[str, ...]
    unseen_ceiling: Annotated[float, Field(ge=0, le=1)] | None = None
    budgets: Annotated[tuple[BudgetClass, ...], Field(min_length=1)]
    roles: dict[str, Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]] = {}
    rules: tuple[str, ...]

    def public_seeds(self) -> tuple[int, ...] | None:
        """The seeds as far as the file tells: None for a sealed board before its salt is out."""
        if self.seeds is not None:
            return parse_seeds(self.seeds)
        assert self.seal is not None
        return None if self.seal.salt is None else self.sealed_seeds(self.seal.salt)

    def sealed_seeds(self, salt: str) -> tuple[int, ...]:
        """The seeds of a sealed board, in ascending order.

        Args:
            salt: Its salt, hexadecimal.

        Raises:
            SleepGymError: If the board has no seal, or the salt is not the one that it commits to.
        """
        if self.seal is None:
            raise SleepGymError(f"board {self.name} has no seal: its seeds are {self.seeds}")
        if commitment(self.terms(self.seal.count), salt) != self.seal.commitment:
            raise SleepGymError(
                f"this salt is not the one that board {self.name} commits to, or its version, "
                "environment or number of streams was changed since"
            )
        if not self.seal.codes:
            raise SleepGymError(
                f"board {self.name} names no code yet: publish `codes` in [seal], then draw seeds"
            )
        return derive_sealed_seeds(
            self.terms(self.seal.count), self.seal.codes, self.seal.count, salt
        )

    def terms(self, count: int) -> str:
        """What a commitment binds: board, version, environment and the number of streams."""
        terms = {
            "board": self.name,
            "version": self.version,
            "environment": self.environment.model_dump(mode="json"),
            "base_model": self.base_model.digest if self.base_model else None,
            "streams": count,
        }
        return json.dumps(terms, sort_keys=True)


def higher_is_better(metric: str) -> bool:
    """Whether more of a metric is better; costs and forgetting are better low."""
    return not metric.startswith(LOWER_IS_BETTER)


def board_names() -> list[str]:
    """The boards that ship with the package."""
    return sorted(file.stem for file in FOLDER.glob("*.toml"))


def board_file(name: str) -> Path:
    """The file of a board by name; a name that ends in ``.toml`` is a file of your own."""
    return Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"


def load_board(name: str) -> Board:
    """A board by name, or from a TOML file of your own.

    Raises:
        UnknownName: If there is no such board.
        SleepGymError: If the file is malformed; names the field.
    """
    file = board_file(name)
    if (not name.endswith(".toml") and name not in board_names()) or not file.is_file():
        raise unknown_name("board", name, board_names())
    try:
        content = read_toml(file)
        if "base_model" in content:
            content["base_model"] = _base_model(content["base_model"])
        board = Board.model_validate({"name": file.stem, **content})
    except BadData as error:
        raise SleepGymError(f"board file {file} is malformed: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise SleepGymError(f"board file {file}: {where}: {first['msg']}") from error
    if (board.seeds is None) == (board.seal is None):
        raise SleepGymError(f"board file {file}: give either seeds or [seal]")
    return board


def model_parameters(spec: str) -> int | None:
    """The parameters of a base model by its ``--model``; None where ``models.toml`` has none."""
    return next((m["parameters"] for m in _models().values() if m["spec"] == spec), None)


@cache
def _models() -> dict[str, dict[str, Any]]:
    return tomllib.loads(MODELS.read_text("utf-8"))


def _base_model(name: str) -> dict[str, Any]:
    models = _models()
    if name not in models:
        raise unknown_name("base model", str(name), models)
    return {"name": name, **models[name]}


def load_boards() -> list[Board]:
    """Every board that ships with the package."""
    return [load_board(name) for name in board_names()]
