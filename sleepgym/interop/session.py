"""One learner's walk through one stream, as plain data: what every door stands on.

A session tells of questions and choices, never of ids, kinds, answers or the seed; of scores it
tells the mean of an exam, and every metric at the end.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sleepgym.core.budget import Meter
from sleepgym.core.env import ContinualEnv, introduction_texts
from sleepgym.core.schedule import Step
from sleepgym.core.types import Introduction, Phase
from sleepgym.interop.contract import COSTS, Audit, BadRequest, NightReport, StateHandle
from sleepgym.runs.day import MAX_ANSWER_CHARACTERS
from sleepgym.runs.records import RunRecord, answer_lines
from sleepgym.scoring.scores import Scores, score_run

Plain = dict[str, Any]


class Session:
    """A stream on its way.

    Attributes:
        audit: See :class:`sleepgym.interop.contract.Audit`.
    """

    def __init__(self, env: ContinualEnv, seed: int) -> None:
        """Begin.

        Args:
            env: The environment; the session takes it over.
            seed: Of the stream; told to nobody.
        """
        self._env = env
        self._observed, _ = env.reset(seed=seed)
        self.audit = Audit()
        self._position = 0
        self._reward = 0.0
        self._answers: list[Plain] = []
        self._nights: list[Plain] = []
        self._phases: list[Plain] = []
        self._asked_s = time.monotonic()

    @property
    def ended(self) -> bool:
        """Whether every phase has happened."""
        return self._position == len(self._env.steps)

    @property
    def step_count(self) -> int:
        """Phases that happened."""
        return self._position

    @property
    def present(self) -> Step | None:
        """The present phase; None at the end."""
        return None if self.ended else self._env.steps[self._position]

    def observation(self) -> Plain:
        """The present phase.

        Returns:
            ``phase`` (study, practice, evening, sleep, morning, ended), ``day``, ``days``,
            ``night`` (nights slept), ``closed_book``, ``documents`` (``title``, ``text``),
            ``questions`` (``text``, ``choices``), ``feedback`` (right answers to the round of
            practice just answered), ``budget`` (limits of a night; null is none), ``instruction``
            and ``exemplars`` of what answers look like, the same in every phase.
        """
        step, stream = self.present, self._env.stream
        assert stream is not None
        return {
            **_plain_introduction(stream.introduction),
            "phase": step.name if step else "ended",
            "day": step.day if step else len(stream.days),
            "days": len(stream.days),
            "night": step.night if step else len(stream.days),
            "closed_book": bool(step and step.closed_book),
            "documents": [{"title": d.title, "text": d.text} for d in step.documents]
            if step
            else [],
            "questions": [{"text": q.text, "choices": list(q.choices)} for q in step.questions]
            if step
            else [],
            "feedback": list(self._observed["feedback"]),
            "budget": asdict(self._env.budget),
        }

    def step(self, answers: Any = (), state: Any = None, night: Any = None) -> float:
        """Answer the present phase.

        Args:
            answers: One string a question; empty where nothing is asked.
            state: In a morning the handle of the state that it is answered from; in a SLEEP that
                of what is kept (:class:`StateHandle`).
            night: In a SLEEP what it cost (:class:`NightReport`).

        Returns:
            The mean score of an exam in [0, 1]; else 0.

        Raises:
            BadRequest: If it is not of that form; nothing happened then, and the phase is still
                the present one.
        """
        step = self.present
        if step is None:
            raise BadRequest("the stream has ended: reset to begin another")
        handle, report = StateHandle.parse(state), NightReport.parse(night)
        given = _checked(answers, len(step.items))
        if step.phase is not Phase.SLEEP and night is not None:
            raise BadRequest(f"night={night!r:.40}: reported in a SLEEP alone, this is {step.name}")
        seconds = round(time.monotonic() - self._asked_s, 4)
        if step.phase is Phase.SLEEP:
            self._end_night(step, handle, report, seconds)
        elif step.closed_book:
            self.audit.check_morning(step.night, handle)
        self._observed, reward, _, _, info = self._env.step(given)
        self._answers += answer_lines(self._position, step, info)
        score = float(sum(info["scores"]) / len(info["scores"])) if info else None
        line = {"step": self._position, "phase": step.name, "day": step.day, "night": step.night}
        line |= {"questions": len(step.items), "missing": info.get("missing", 0), "score": score}
        self._phases.append(line | {"seconds": seconds, **dict.fromkeys(Meter.FIELDS, 0)})
        self._position += 1
        self._asked_s = time.monotonic()
        return reward

    def summary(self) -> Plain:
        """At the end: ``scores`` (every metric by its name) and ``audit``.

        Raises:
            BadRequest: If the stream has not ended.
        """
        if not self.ended:
            raise BadRequest("the stream has not ended: no summary yet")
        return {"scores": self._scores(), "audit": self.audit.plain()}

    def _scores(self) -> Scores:
        stream = self._env.stream
        assert stream is not None
        meta = {"days": len(stream.days), "steps": len(self._env.steps), "label": "session"}
        meta["stream_hash"] = stream.content_hash
        return score_run(
            RunRecord(Path("session"), meta, self._answers, self._nights, self._phases)
        )

    def _end_night(
        self, step: Step, handle: StateHandle | None, report: NightReport, seconds: float
    ) -> None:
        exceeded = self.audit.end_night(step.day, handle, report, self._env.budget, seconds)
        self._nights.append(
            {
                "night": step.day,
                "seconds": seconds,
                **{name: report.costs.get(name, 0) for name in COSTS},
                "added_parameters": report.added_parameters,
                "state_bytes": handle.size_bytes if handle else 0,
                "exceeded": exceeded,
            }
        )


def _plain_introduction(introduction: Introduction) -> Plain:
    """As :func:`sleepgym.core.env.introduction_texts`, with lists as JSON has them."""
    texts = introduction_texts(introduction)
    shown = [{name: list(part) for name, part in one.items()} for one in texts["exemplars"]]
    return {"instruction": texts["instruction"], "exemplars": shown}


def _checked(answers: Any, wanted: int) -> tuple[str, ...]:
    if isinstance(answers, str) or not isinstance(answers, Sequence):
        raise BadRequest(f"answers={answers!r:.80}: must be a list of strings, one a question")
    stray = next((a for a in answers if not isinstance(a, str)), None)
    if stray is not None or None in answers:
        raise BadRequest(f"answers: {stray!r:.80} is no string")
    if len(answers) != wanted:
        raise BadRequest(f"answers: {len(answers)} to {wanted} questions: one a question, in order")
    longest = max(map(len, answers), default=0)
    if longest > MAX_ANSWER_CHARACTERS:
        raise BadRequest(f"answers: one of {longest} characters; {MAX_ANSWER_CHARACTERS} at most")
    return tuple(answers)
