"""What verification says of a submission: a verdict a rule, and every number recomputed.

A verdict is a function of the submission, the board and the data alone (no clock, no machine), so
that anyone who verifies the same file gets the same bytes. It is what the site is made from.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sleepgym_boards.submission.schema import Isolation, MethodCard

# The marks, strongest first: on streams that were drawn after the code was fixed; some nights were
# executed again and came out alike; every answer was graded and every number computed again.
MARKS = ("sealed", "re-run", "recomputed")

Metrics = dict[str, float | None]
Row = list[float | None]


class RuleVerdict(BaseModel):
    """A rule and what it found.

    Attributes:
        rule: Its name (:data:`sleepgym_boards.verification.rules.RULES`).
        ok: Whether it holds; None where it was not reached because an earlier one failed.
        problems: What is wrong, a line each, at most ten.
        note: What was checked, where that is a matter of chance.
    """

    rule: str
    ok: bool | None
    problems: list[str] = []
    note: str = ""


class SeedResult(BaseModel):
    """The scores of one stream.

    Attributes:
        seed: The stream's seed.
        metrics: Every metric by its full name (:func:`sleepgym.scoring.scores.score_run`).
        matrix: Accuracy matrix, ``matrix[k][j]`` after night k on day j (column 0: base); None
            where nothing was asked.
    """

    seed: int
    metrics: Metrics
    matrix: list[Row]


class NightResult(BaseModel):
    """What a night did and cost, mean over seeds.

    Attributes:
        night: From 1.
        evening: Accuracy on the day's questions, the context still open.
        morning: Accuracy on the same questions after the night.
        seconds: Wall-clock seconds.
        train_tokens: Tokens trained on.
        generated_tokens: Tokens sampled.
        flops: Estimated operations.
        added_parameters: Parameters beyond the base model, so far.
        state_bytes: Size of the saved state; the three others are its parts.
        state_weights_bytes: In tensors.
        state_keys_bytes: In keys.
        state_text_bytes: The rest.
    """

    night: int
    evening: float | None
    morning: float | None
    seconds: float
    train_tokens: float
    generated_tokens: float
    flops: float
    added_parameters: float
    state_bytes: float
    state_weights_bytes: float
    state_keys_bytes: float
    state_text_bytes: float


class Results(BaseModel):
    """Every number of a submission, recomputed from its answers.

    Attributes:
        budget_class: Name of the first budget class of the board that it keeps to.
        seeds: By seed, ascending.
        mean: Metric -> mean over seeds; None where undefined in all.
        iqm: Metric -> interquartile mean.
        interval: Metric -> 95% interval of the mean over seeds, ``[low, high]``.
        n: Metric -> seeds in which it is defined.
        matrix: Mean of the seeds' matrices.
        retention_curve: Share left of a day's first accuracy at ages 0, 1, ...; mean over seeds.
        accuracy_by_age: Accuracy at ages 0, 1, ...; mean over seeds.
        nights: By night.
    """

    budget_class: str
    seeds: list[SeedResult]
    mean: Metrics
    iqm: Metrics
    interval: dict[str, tuple[float, float] | None]
    n: dict[str, int]
    matrix: list[Row]
    retention_curve: Row
    accuracy_by_age: Row
    nights: list[NightResult]


class Header(BaseModel):
    """The parts of a submission that a page about it shows.

    Attributes:
        board: The board's name.
        board_version: Its version.
        date: Day of submission.
        card: The method card: written by the submitter; show it as text.
        agent: Agent.
        settings: Its settings.
        model: Its model.
        isolation: Where the agent lived, as its maker says; left out where it is ``in-process``.
        platform: Where the first run was made.
        packages: Versions there.
        commands: The command that repeats each run, by seed.
    """

    board: str
    board_version: int
    date: str
    card: MethodCard
    agent: str
    settings: dict
    model: str | None
    isolation: Isolation = Field(
        default="in-process", exclude_if=lambda level: level == "in-process"
    )
    platform: dict[str, str]
    packages: dict[str, str]
    commands: dict[int, str]


class Reruns(BaseModel):
    """Nights of a submission that were executed again.

    Attributes:
        pairs: How many (seed, night) pairs, drawn at random.
        of: Of how many that there are.
        isolation: Where: ``"process"`` or ``"sandbox"``.
    """

    pairs: Annotated[int, Field(ge=1)]
    of: Annotated[int, Field(ge=1)]
    isolation: Literal["process", "sandbox"]


class Mark(BaseModel):
    """How much is known of a submission that keeps every rule; derived, never claimed.

    Attributes:
        name: One of :data:`MARKS`.
        reruns: The nights that were executed again; None where there were none.
    """

    name: Literal["sealed", "re-run", "recomputed"]
    reruns: Reruns | None = None

    @property
    def words(self) -> str:
        """The mark with what it rests on."""
        if self.reruns is None:
            return self.name
        found = self.reruns
        nights = f"{found.pairs} of {found.of} nights re-run"
        return f"{self.name}: {nights}, {found.isolation}"


class Verdict(BaseModel):
    """The outcome of verifying one file.

    Attributes:
        schema_version: 1.
        sha256: Hash of the file, as it is on disk.
        rules: Every rule in order.
        mark: How much is known; None where a rule is broken.
        header: None where the file could not be read.
        results: None where a rule that they rest on failed.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    schema_version: Literal[1] = 1
    sha256: str
    rules: list[RuleVerdict]
    mark: Mark | None = None
    header: Header | None = None
    results: Results | None = None

    @model_validator(mode="after")
    def _marked_by_its_rules(self) -> Self:
        rerun = any(rule.rule == "rerun" for rule in self.rules)
        if self.mark and (not self.ok or rerun != (self.mark.reruns is not None)):
            raise ValueError("its mark is not the one that its rules give")
        if self.mark and self.mark.name == "re-run" and not rerun:
            raise ValueError("nothing was re-run")
        return self

    @property
    def ok(self) -> bool:
        """Whether every rule holds."""
        return all(rule.ok for rule in self.rules)

    def to_text(self) -> str:
        """The verdict as JSON: a rule, a fact about the method, a metric table or a stream a line.

        Small enough to be read and compared by eye; the values are those of ``model_dump``.
        """
        return _layout(self.model_dump(mode="json"), "", levels=2) + "\n"


def _layout(value: Any, indent: str, levels: int) -> str:
    """JSON whose first ``levels`` of objects, and all lists of objects, are one item a line."""
    tabular = isinstance(value, list) and value and isinstance(value[0], dict)
    if not tabular and not (isinstance(value, dict) and value and levels > 0):
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    inner = indent + " "
    if tabular:
        items = [_layout(item, inner, levels=0) for item in value]
    else:
        items = [f"{json.dumps(k)}: {_layout(v, inner, levels - 1)}" for k, v in value.items()]
    opening, closing = "[]" if tabular else "{}"
    return f"{opening}\n{inner}" + f",\n{inner}".join(items) + f"\n{indent}{closing}"
