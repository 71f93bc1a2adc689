"""What a submission file holds: the runs of one method on one board, and who made them how.

Nothing that the submitter computed is in it but the score of each answer, which is graded again:
metrics, intervals and ranks come from :mod:`sleepgym_boards.verification.verifier`. A file is this
schema as JSON in UTF-8, compressed by gzip or xz; :mod:`sleepgym_boards.submission.files` reads and
writes it.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    FailFast,
    Field,
    Strict,
    StringConstraints,
    model_validator,
)
from pydantic.dataclasses import dataclass

from sleepgym_boards.submission.fields import (
    Address,
    Checkout,
    Commit,
    Count,
    Day,
    Hex64,
    Id,
    Line,
    Name,
    Operations,
    Real,
    Salt,
    Seconds,
    Seeds,
    Settings,
    SharedAnswer,
    SharedName,
    Whole,
    Words,
)

SCHEMA = 2
# 1: `audit` in the place of `isolation`, no salt, less is measured. Fields of one schema alone are
# left out of the files, and so of the digests, of the other.
READABLE = (1, 2)
MAX_ANSWER_CHARACTERS = 2_000
MAX_RUNS = 1_000

Limits = dict[
    Literal[
        "night_seconds",
        "night_train_tokens",
        "night_generated_tokens",
        "night_flops",
        "added_parameters",
        "state_bytes",
    ],
    Whole | Real | None,
]
Isolation = Literal["in-process", "process", "sandbox"]
STRICT = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Model(BaseModel):
    """Strict types, no unknown field, no NaN, nothing assigned later."""

    model_config = STRICT


def _optional() -> Any:
    """A field of some schemas: where there is none, it is not written either."""
    return Field(default=None, exclude_if=lambda value: value is None)


class MethodCard(Model):
    """What a reader must know of a method; written by its authors, checked by nobody.

    Attributes:
        name: Its name on the board.
        summary: What it does, in a sentence or two.
        authors: Who made it.
        code: https address of the code.
        commit: The commit of that code that made the runs, hexadecimal.
        data: Data used beyond the streams; "none".
        pretraining: Training beyond the base model, before day 1; "none".
        tuning_seeds: Seeds on which settings were chosen, for example ``"0-99"``; "none".
        departures: Known departures from the method's source; "none".
    """

    name: Name
    summary: Words
    authors: Annotated[list[Line], Field(min_length=1, max_length=100), FailFast()]
    code: Address
    commit: Commit
    data: Words
    pretraining: Words
    tuning_seeds: Seeds
    departures: Words


class Method(Model):
    """What was run: the same in every run of a submission.

    Attributes:
        agent: Registered name or ``module:Class``.
        settings: Every setting of the agent.
        model: ``"embedded"``, a hub id or a folder; None for agents without one.
        model_digest: SHA-256 of the model's files (:mod:`sleepgym.runs.models.base_model`) when the
            run began; None where there is no model or its files were not at hand.
        audit: Schema 1: ``"instance"``, ``"process"`` or ``"off"``.
        isolation: Where the agent lived (:class:`sleepgym.runs.spec.RunSpec`), its maker says.
    """

    agent: Id
    settings: Settings
    model: Line | None
    model_digest: Hex64 | None
    audit: Literal["instance", "process", "off"] | None = _optional()
    isolation: Isolation | None = _optional()

    @property
    def level(self) -> Isolation:
        """Where the agent lived; runs of schema 1 lived in the process that graded them."""
        return self.isolation or "in-process"


class Environment(Model):
    """What it was run on: an environment id with its version, every setting, and the exams."""

    id: Id
    settings: Settings
    exams: Literal["full", "spaced"]


@dataclass(config=STRICT | {"strict": False}, slots=True)  # its fields are strict
class Answer:
    """An answer to a question: a small object, because a submission may hold half a million.

    Attributes:
        id: The item.
        prompt: Hash of the text and choices that were shown
            (:func:`sleepgym.core.types.question_hash`).
        text: The answer; of an answer longer than ``MAX_ANSWER_CHARACTERS`` that many, which are
            what is graded.
        score: The grade of ``text`` by the submitter; graded again when verified.
        sha256: Hash of the whole answer where ``text`` is only its beginning.
    """

    id: Annotated[Id, Strict(), SharedName]
    prompt: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$", strict=True), SharedName]
    text: Annotated[
        str, StringConstraints(max_length=MAX_ANSWER_CHARACTERS, strict=True), SharedAnswer
    ]
    score: Annotated[float, Field(ge=0, le=1, strict=True)]
    sha256: Annotated[Hex64, Strict()] | None = None


class Ledger(Model):
    """What the agent had kept after a night.

    Attributes:
        added_parameters: Parameters beyond those of the base model.
        state_bytes: Size of the saved state.
        state_weights_bytes: Of these in tensors.
        state_keys_bytes: Of these in tensors of files named ``keys*.safetensors``.
        state_text_bytes: All the others.
        state_digest: SHA-256 over names and bytes of the saved state.
        log: What the agent logged.
        declared_parameters: What the agent said it added; ``added_parameters`` is this or the
            floating-point numbers in the state, whichever is more.
        saving_seconds: Wall-clock seconds of saving.
        setup_read_tokens: What the night's instance read before and after it slept: being made,
            loading, being told the day, saving. The three others likewise.
        setup_generated_tokens: Sampled.
        setup_train_tokens: Trained on.
        setup_flops: Estimated operations.
    """

    added_parameters: Count
    state_bytes: Count
    state_weights_bytes: Count
    state_keys_bytes: Count
    state_text_bytes: Count
    state_digest: Hex64
    log: Annotated[dict[Line, Real | None], Field(max_length=200)]
    declared_parameters: Count | None = _optional()
    saving_seconds: Seconds | None = _optional()
    setup_read_tokens: Count | None = _optional()
    setup_generated_tokens: Count | None = _optional()
    setup_train_tokens: Count | None = _optional()
    setup_flops: Operations | None = _optional()


class PhaseRecord(Model):
    """A phase of a run, in order.

    Attributes:
        phase: Which.
        day: Day it belongs to; 0 for the exam at birth.
        night: Nights slept before it.
        seconds: Wall-clock seconds.
        read_tokens: Prompt tokens processed without gradient.
        generated_tokens: Tokens sampled.
        train_tokens: Tokens trained on.
        flops: Estimated operations.
        answers: One a question, in the order asked.
        ledger: Of a night, what was kept; None elsewhere.
        setup_seconds: Wall-clock seconds of making the instance, loading, and telling it the day.
        processor_seconds: Measured, of the phase and its setup; None where nobody told.
        gpu_seconds: The same on GPUs.
    """

    phase: Literal["study", "practice", "evening", "sleep", "morning"]
    day: Count
    night: Count
    seconds: Seconds
    read_tokens: Count
    generated_tokens: Count
    train_tokens: Count
    flops: Operations
    answers: Annotated[list[Answer], Field(max_length=1_000_000), FailFast()]
    ledger: Ledger | None = None
    setup_seconds: Seconds | None = _optional()
    processor_seconds: Seconds | None = _optional()
    gpu_seconds: Seconds | None = _optional()

    @model_validator(mode="after")
    def _is_of_one_schema(self) -> Self:
        if self.ledger and (self.ledger.declared_parameters is None) != (self.schema_version == 1):
            raise ValueError("its ledger is of another schema")
        return self

    @property
    def schema_version(self) -> int:
        """The schema whose fields it has."""
        return 1 if self.setup_seconds is None else 2


class Run(Model):
    """One finished run.

    Attributes:
        seed: Seed of the stream.
        stream_hash: Hash of the stream's content.
        environment: What it ran on.
        limits: Budget that the run itself set; the board's limits are checked whatever these are.
        method: What ran.
        salt: With ``seed`` it gives the agent's own seed; None where that follows from ``seed``
            alone, which is so in a run in one process.
        platform: Python, system and machine.
        packages: Package -> version.
        commit: Commit of SleepGym, where it ran from a checkout.
        phases: Every phase.
        digest: SHA-256 of the others (:func:`run_digest`).
    """

    seed: Count
    stream_hash: Hex64
    environment: Environment
    limits: Limits
    method: Method
    salt: Salt | None = _optional()
    platform: Annotated[dict[Id, Line], Field(max_length=20)]
    packages: Annotated[dict[Id, Line], Field(max_length=100)]
    commit: Checkout | None
    phases: Annotated[list[PhaseRecord], Field(max_length=100_000), FailFast()]
    digest: Hex64

    @model_validator(mode="after")
    def _is_of_one_schema(self) -> Self:
        method = self.method
        if (method.audit is None) == (method.isolation is None):
            raise ValueError("its method has either an isolation (schema 2) or an audit (schema 1)")
        if method.audit is not None and self.salt is not None:
            raise ValueError("a run of schema 1 has no salt")
        if method.level != "in-process" and self.salt is None:
            raise ValueError(f"a run at level {method.level} has a salt")
        return self

    @property
    def schema_version(self) -> int:
        """The schema whose fields it has."""
        return 1 if self.method.isolation is None else 2


class Heading(Model):
    """What stands before the runs.

    Attributes:
        format: Always ``"sleepgym-submission"``.
        schema_version: 2; 1 in files of before 0.2, which stay valid.
        board: Name of the board.
        board_version: Its version.
        date: Day of submission, ``YYYY-MM-DD``.
        card: The method card.
    """

    format: Literal["sleepgym-submission"]
    schema_version: Literal[1, 2]
    board: Annotated[str, StringConstraints(max_length=80, pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
    board_version: Count
    date: Day
    card: MethodCard


class Submission(Heading):
    """One file.

    Attributes:
        runs: One a seed, in ascending order.
    """

    runs: Annotated[list[Run], Field(min_length=1, max_length=MAX_RUNS), FailFast()]


def run_digest(run: Run) -> str:
    """SHA-256 (hex) of a run without its own ``digest``."""
    return hashlib.sha256(run.model_dump_json(exclude={"digest"}).encode()).hexdigest()


def kept_text(answer: str) -> str:
    """The part of an answer that a submission holds, and that is graded."""
    return answer.encode("utf-8", "replace").decode()[:MAX_ANSWER_CHARACTERS]
