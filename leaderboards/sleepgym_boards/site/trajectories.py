"""What a run answered and when it forgot: its questions, from the submission and its stream."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sleepgym.core.env import ContinualEnv, offline
from sleepgym.core.errors import SleepGymError
from sleepgym.runs.records import answer_lines
from sleepgym.runs.samples import sample_lines
from sleepgym.scoring.failures import FATES, Trace, by_turns, trace_answers
from sleepgym_boards.board import Board
from sleepgym_boards.site.methods import Method
from sleepgym_boards.submission.files import parse, read_bytes
from sleepgym_boards.submission.schema import Run
from sleepgym_boards.verification.regrading import rebuild

MOST_ROWS = 260  # of a page; the files hold all


@dataclass(frozen=True)
class Trajectory:
    """A run as a page shows it.

    Attributes:
        seed: Of its stream.
        traces: Every question, by day and id.
    """

    seed: int
    traces: Sequence[Trace]

    @property
    def counts(self) -> dict[int, Mapping[str, int]]:
        """Day that teaches -> what became of its questions -> how many."""
        found = Counter((trace.day, trace.fate) for trace in self.traces)
        return {day: {fate: found[day, fate] for fate in FATES} for day in self._days}

    @property
    def shown(self) -> dict[int, list[Trace]]:
        """Day that teaches -> its questions, as many as a page holds: first what was wrong."""
        each = max(1, MOST_ROWS // max(1, len(self._days)))
        days = {day: [trace for trace in self.traces if trace.day == day] for day in self._days}
        return {
            day: sorted(by_turns(traces), key=lambda trace: not trace.failed)[:each]
            for day, traces in days.items()
        }

    @property
    def _days(self) -> list[int]:
        """The days in order, base knowledge last."""
        return sorted({trace.day for trace in self.traces}, key=lambda day: (day == 0, day))


@dataclass
class Streams:
    """Streams of boards, made again once each; None where their data is not at hand.

    Attributes:
        data: Folder of original data files.
    """

    data: Path | None = None
    _known: dict[tuple[str, int], ContinualEnv | None] = field(default_factory=dict)

    def get(self, board: Board, seed: int) -> ContinualEnv | None:
        """The environment with the stream of a seed."""
        key = board.name, seed
        if key not in self._known:
            try:
                with offline():
                    self._known[key] = rebuild(board, seed, self.data)
            except SleepGymError:
                self._known[key] = None
        return self._known[key]


def read_trajectory(board: Board, method: Method, streams: Streams) -> Trajectory | None:
    """The first run of a verified submission; None where its stream cannot be made here."""
    if method.results is None:
        return None
    seed = min(seed.seed for seed in method.results.seeds)
    env = streams.get(board, seed)
    if env is None:
        return None
    try:
        runs = parse(read_bytes(method.file)).runs
    except SleepGymError:
        return None
    traces = [_trace(run, env) for run in runs if run.seed == seed]
    return Trajectory(seed, traces[0]) if traces else None


def _trace(run: Run, env: ContinualEnv) -> list[Trace]:
    """The questions of a run; its grades are those of the file, as the verdict holds."""
    assert env.stream is not None
    answers, samples = [], {}
    for index, (step, phase) in enumerate(zip(env.steps, run.phases, strict=True)):
        lines = sample_lines(index, step, env.stream.key, [])
        samples |= {(index, line["id"]): line for line in lines}
        texts, scores = [a.text for a in phase.answers], [a.score for a in phase.answers]
        answers += answer_lines(index, step, {"answers": texts, "scores": scores})
    return trace_answers(answers, samples)
