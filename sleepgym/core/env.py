"""The environment: a stream of days behind Gymnasium's interface."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any, get_args

import gymnasium
import numpy as np

from sleepgym.core import registry
from sleepgym.core.budget import BUDGET_NAMES, Budget
from sleepgym.core.errors import BadSetting, SleepGymError, unknown_name
from sleepgym.core.family import TaskFamily
from sleepgym.core.schedule import Exams, Step, experience_of, schedule
from sleepgym.core.settings import build_config
from sleepgym.core.spaces import action_space, observation_space
from sleepgym.core.types import Introduction, Phase, Stream, plain_text

Observation = dict[str, Any]
SHOWN_LINES, SHOWN_WIDTH = 8, 100  # of render()


class ContinualEnv(gymnasium.Env[Observation, tuple[str, ...]]):
    """Days of study, practice, exams and sleep; one step is one phase.

    The observation is a dictionary (:func:`sleepgym.core.spaces.observation_space`): ``phase`` (0
    STUDY, 1 PRACTICE, 2 EXAM, 3 SLEEP), ``day``, ``closed_book``, ``documents`` and ``titles`` to
    read, ``questions`` with their ``choices``, ``feedback`` (the right answers to the round of
    practice just answered), ``budget``, and at first ``instruction`` and ``exemplars`` of what
    answers look like (:class:`sleepgym.core.types.Introduction`). The action is one answer a
    question, else empty.

    The reward of an EXAM step is the mean score in [0, 1]; other phases give 0. ``info`` of a step
    that asked questions holds ``ids``, ``kinds``, ``days``, ``answers`` and ``scores`` (lists, one
    entry a question: a vector environment stacks arrays, which would have to be of one length),
    ``missing`` (answers not given; they score 0) and ``extra``.

    With ``render_mode="ansi"``, :meth:`render` shows the present phase as text.

    Attributes:
        family: The task family.
        exams: ``"full"``, ``"spaced"`` or ``"sampled"`` (:class:`sleepgym.core.schedule.Schedule`).
        budget: Limits of each night.
        stream: The stream of the last ``reset``.
        steps: Its phases.
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi"], "render_fps": 1}  # noqa: RUF012

    def __init__(
        self,
        family: TaskFamily,
        exams: Exams = "full",
        budget: Budget | None = None,
        render_mode: str | None = None,
    ) -> None:
        if exams not in get_args(Exams):
            raise BadSetting(f"exams={exams}: must be one of {', '.join(get_args(Exams))}")
        if render_mode not in (None, "ansi"):
            raise BadSetting(f"render_mode={render_mode}: must be ansi")
        self.family = family
        self.exams: Exams = exams
        self.budget = budget or Budget()
        self.observation_space = observation_space()
        self.action_space = action_space()
        self.stream: Stream | None = None
        self.steps: Sequence[Step] = ()
        self.render_mode = render_mode
        self._position = 0
        self._last = ""  # how the last exam went, in words

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Make the stream of ``seed`` and return its first observation (the baseline exam).

        Args:
            seed: Seed of the stream; drawn from the environment's own generator where None.
            options: ``{"start_step": n}`` starts at phase n, to resume a run.
        """
        super().reset(seed=seed)
        stream_seed = seed if seed is not None else int(self.np_random.integers(2**31))
        if self.stream is None or self.stream.seed != stream_seed:
            self.stream = self.family.stream(stream_seed)
            self.steps = schedule(self.stream, self.exams)
        self._position = (options or {}).get("start_step", 0)
        self._last = ""
        introduction = introduction_texts(self.stream.introduction)
        return self._observe() | introduction, {"stream_hash": self.stream.content_hash}

    def step(self, action: Sequence[str]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Grade the answers to the current observation and move to the next phase.

        Raises:
            SleepGymError: If the action is not a sequence of strings, or the stream has ended.
        """
        if self._position >= len(self.steps):
            raise SleepGymError("the stream has ended: call reset() before step()")
        current = self.steps[self._position]
        info = self.grade(current, action)
        reward = float(np.mean(info["scores"])) if current.phase is Phase.EXAM and info else 0.0
        if current.phase is Phase.EXAM:
            self._last = f"{current.where}: {reward:.3f} over {len(current.items)} questions"
        feedback = ()
        if current.phase is Phase.PRACTICE:
            assert self.stream is not None
            feedback = experience_of(current, self.stream.key).answers
        self._position += 1
        ended = self._position == len(self.steps)
        return self._observe(feedback), reward, ended, False, info

    def grade(self, step: Step, action: Sequence[str]) -> dict[str, Any]:
        """Grade the answers to a phase of this stream: the ``info`` of its step.

        Args:
            step: One of ``steps``.
            action: One answer a question.

        Raises:
            SleepGymError: If the action is not a sequence of strings.
        """
        if (
            isinstance(action, str)
            or not isinstance(action, Sequence)
            or not all(isinstance(answer, str) for answer in action)
        ):
            raise SleepGymError(f"an action is a sequence of strings, not {action!r:.80}")
        if not step.items:
            return {}
        assert self.stream is not None
        given = [plain_text(answer) for answer in action[: len(step.items)]]
        missing = len(step.items) - len(given)
        given += [""] * missing
        scores = [
            max(
                self.family.score_item(item.id, answer, target)
                for target in self.stream.key[item.id]
            )
            for answer, item in zip(given, step.items, strict=True)
        ]
        if missing:
            scores[-missing:] = [0.0] * missing
        return {
            "ids": [item.id for item in step.items],
            "kinds": [item.kind for item in step.items],
            "days": [item.day for item in step.items],
            "answers": given,
            "scores": [np.float64(score) for score in scores],
            "missing": missing,
            "extra": max(0, len(action) - len(step.items)),
        }

    def render(self) -> str | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The present phase as text: what is read or asked, and how the last exam went.

        Returns:
            At most ``SHOWN_LINES`` documents or questions, a line each, without an answer; None
            where ``render_mode`` is not ``"ansi"``.
        """
        if self.render_mode != "ansi":
            return None
        if self._position >= len(self.steps):
            lines = ["the stream has ended" if self.steps else "call reset() to begin"]
        else:
            step = self.steps[self._position]
            shown = [f"{document.title}: {document.text}" for document in step.documents]
            shown += [
                question.text + (f" [{', '.join(question.choices)}]" if question.choices else "")
                for question in step.questions
            ]
            book = " (context wiped)" if step.closed_book else ""
            lines = [f"{step.where}{book}, {len(shown)} to read or answer"]
            lines += [f"  {' '.join(text.split()):.{SHOWN_WIDTH}}" for text in shown[:SHOWN_LINES]]
            if len(shown) > SHOWN_LINES:
                lines.append(f"  ... and {len(shown) - SHOWN_LINES} more")
        return "\n".join([*lines, *([f"last exam: {self._last}"] if self._last else [])])

    def _observe(self, feedback: tuple[str, ...] = ()) -> Observation:
        ended = self._position >= len(self.steps)
        step = Step(Phase.EXAM, 0, 0) if ended else self.steps[self._position]
        limits = [-1.0 if limit is None else float(limit) for limit in astuple(self.budget)]
        return {
            **introduction_texts(Introduction()),
            "phase": np.int64(step.phase),
            "day": np.int64(step.day),
            "closed_book": np.int64(step.closed_book),
            "documents": tuple(document.text for document in step.documents),
            "titles": tuple(document.title for document in step.documents),
            "questions": tuple(question.text for question in step.questions),
            "choices": tuple(question.choices for question in step.questions),
            "feedback": feedback,
            "budget": np.asarray(limits),
        }


def introduction_texts(introduction: Introduction) -> dict[str, Any]:
    """An introduction as the two entries of an observation."""
    return {
        "instruction": introduction.instruction,
        "exemplars": tuple(
            {
                "documents": tuple(document.text for document in shown.documents),
                "titles": tuple(document.title for document in shown.documents),
                "questions": tuple(question.text for question in shown.questions),
                "answers": shown.answers,
            }
            for shown in introduction.exemplars
        ),
    }


def make_env(
    env_id: str,
    preset: str | None = None,
    data: str | Path | None = None,
    render_mode: str | None = None,
    **settings: Any,
) -> ContinualEnv:
    """Build a registered environment; what ``gymnasium.make`` calls.

    Args:
        env_id: A registered id, or ``module:Class`` of a task family of your own.
        preset: One of the family's named protocols; further settings override it.
        data: Folder of original data files.
        render_mode: ``"ansi"`` for :meth:`ContinualEnv.render`.
        **settings: Fields of the family's ``Config``, ``exams``, or fields of ``Budget``.

    Raises:
        UnknownName: If the id, the preset or a setting does not exist.
        BadSetting: If a value breaks its type or range.
    """
    cls = registry.family_class(env_id)
    if preset is not None:
        if preset not in cls.presets:
            raise unknown_name(f"preset of {env_id}", preset, cls.presets)
        settings = {**cls.presets[preset], **settings}
    return assemble(cls, env_id, settings, None if data is None else Path(data), render_mode)


make_env.metadata = ContinualEnv.metadata  # pyright: ignore[reportFunctionMemberAccess]  (read by gymnasium.make)


def assemble(
    cls: type,
    env_id: str,
    settings: Mapping[str, Any],
    data: Path | None,
    render_mode: str | None = None,
) -> ContinualEnv:
    """The environment of a family class with checked settings; see :func:`make_env`."""
    allowed = [f.name for f in fields(cls.Config)] + ["exams", *BUDGET_NAMES]
    for name in settings:
        if name not in allowed:
            raise unknown_name(f"setting of {env_id}", name, allowed)
    limits = {k: v for k, v in settings.items() if k in BUDGET_NAMES}
    own = {k: v for k, v in settings.items() if k not in BUDGET_NAMES and k != "exams"}
    return ContinualEnv(
        cls(build_config(cls.Config, own, env_id), data=data),
        exams=settings.get("exams", "full"),
        budget=build_config(Budget, limits, env_id),
        render_mode=render_mode,
    )


@contextmanager
def offline() -> Iterator[None]:
    """Within it data that is not on this machine is missing, not downloaded."""
    before = os.environ.get("SLEEPGYM_OFFLINE")
    os.environ["SLEEPGYM_OFFLINE"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["SLEEPGYM_OFFLINE"]
        else:
            os.environ["SLEEPGYM_OFFLINE"] = before
