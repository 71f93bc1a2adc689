"""Mathematical reasoning beside continual learning: does a night of consolidation harm it?

Problems with a checkable answer, from JSONL as MATH, GSM8K or AIME are handed around, or invented
arithmetic. Some are practised by day; others are never taught and asked every morning.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

from annotated_types import Ge, Interval

from sleepgym import Day, Item, Settings, Stream, TaskFamily
from sleepgym.core.errors import BadSetting, MissingData
from sleepgym.core.settings import plain
from sleepgym_tasks.data.items import ItemFactory, shuffled
from sleepgym_tasks.data.parsing import as_text, bad, parse_object, read_lines
from sleepgym_tasks.data.sources import data_folder
from sleepgym_tasks.worlds.arithmetic import Problem, invent
from sleepgym_tasks.worlds.language.seeds import derive

Kind = Literal["sum", "difference", "product", "mixed", "story"]
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:/\d+)?")
_TIMEOUT_S = 5


@dataclass(frozen=True)
class MathReasoningConfig(Settings):
    """Settings of :class:`MathReasoning`.

    Attributes:
        dataset: ``invented`` (arithmetic, no files) or ``file``.
        file: A JSONL file under the data folder, an object a line with ``problem`` and ``answer``
            (text or a number), optionally ``subject``, which becomes the kind.
        kinds: Kinds of invented problems, taken in turn.
        digits: Most digits of a number in an invented problem.
        days: Days of the stream.
        practice_per_day: Problems a day with the answer shown afterwards.
        problems_per_day: Problems of a day's exam.
        base_problems: Problems that no day practises, asked before day 1 and on every morning.
        samples: How often every exam asks a problem: the mean over them is average@n.
        metric: ``number`` (the last number in the answer is the target, as a fraction) or
            ``expression`` (equal by math-verify; extra ``math``).
    """

    dataset: Literal["invented", "file"] = "invented"
    file: str = "math/problems.jsonl"
    kinds: tuple[Kind, ...] = get_args(Kind)
    digits: Annotated[int, Interval(ge=1, le=12)] = 2
    days: Annotated[int, Ge(1)] = 4
    practice_per_day: Annotated[int, Ge(0)] = 8
    problems_per_day: Annotated[int, Ge(1)] = 8
    base_problems: Annotated[int, Ge(0)] = 16
    samples: Annotated[int, Interval(ge=1, le=64)] = 1
    metric: Literal["number", "expression"] = "number"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.kinds:
            raise ValueError(f"kinds is empty: name some of {', '.join(get_args(Kind))}")
        if self.digits == 1 and set(self.kinds) <= {"sum", "difference", "product"}:
            raise ValueError("digits=1 has too few sums, differences and products: name story too")


class MathReasoning(TaskFamily):
    """Practise problems by day; solve others, and ones that were never practised, ever after.

    Kinds are those of invented problems, or the ``subject`` of a file (``problem`` where it has
    none). Problems of the base exam keep their kind and count to day 0: ``base_retention`` tells
    whether consolidation harmed what the model could do at birth. The seed draws the problems; no
    problem occurs twice.

    With ``samples`` above 1 every exam asks a problem that often, which tells something of agents
    that sample their answers; those that decode greedily answer alike.
    """

    Config = MathReasoningConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {},
        "file": {"dataset": "file"},
        "expression": {"dataset": "file", "metric": "expression"},
        "average@8": {"samples": 8},
    }

    config: MathReasoningConfig

    def stream(self, seed: int) -> Stream:
        """The stream of this configuration and seed.

        Raises:
            MissingData: If the file, or the library of ``metric=expression``, is not at hand.
            BadData: If a record is malformed, occurs twice, or its answer cannot be graded.
            BadSetting: If there are not enough problems.
        """
        config, items = self.config, ItemFactory()
        a_day = config.practice_per_day + config.problems_per_day
        wanted = config.base_problems + config.days * a_day
        problems = self._problems(seed, wanted)
        if len(problems) < wanted:
            raise BadSetting(
                f"days={config.days} of MathReasoning: needs {wanted} problems, and"
                f" {config.file if config.dataset == 'file' else 'arithmetic'} has {len(problems)}"
            )
        left = iter(problems)

        def take(count: int, what: str, day: int, samples: int) -> tuple[Item, ...]:
            drawn = [next(left) for _ in range(count)]
            return tuple(
                items.make(f"{what}-{n}/{s}", p.text, (p.answer,), p.kind, day)
                for n, p in enumerate(drawn)
                for s in range(samples)
            )

        base = take(config.base_problems, "base", 0, config.samples)
        days = []
        for number in range(1, config.days + 1):
            practice = take(config.practice_per_day, f"d{number}/practice", number, 1)
            exam = take(config.problems_per_day, f"d{number}/exam", number, config.samples)
            days.append(Day(number, practice=(practice,) if practice else (), exam=exam))
        return Stream("MathReasoning", plain(config), seed, tuple(days), base, items.key())

    def score(self, answer: str, target: str) -> float:
        """1.0 for an equal number or expression."""
        if self.config.metric == "number":
            return float(last_number(answer) == last_number(target) is not None)
        return float(equal_expressions(answer, target))

    def _problems(self, seed: int, wanted: int) -> list[Problem]:
        config = self.config
        if config.dataset == "file":
            path = data_folder(self.data, config.file) / config.file
            if not path.is_file():
                raise MissingData(f"no file {config.file!r} under --data DIR: put it there")
            return shuffled(self._read(path), seed, "problems")
        rng = derive(seed, "arithmetic")
        found: dict[str, Problem] = {}
        for attempt in range(wanted * 20):
            if len(found) == wanted:
                break
            kind = config.kinds[attempt % len(config.kinds)]
            problem = invent(rng, kind, config.digits)
            found.setdefault(problem.text, problem)
        return list(found.values())

    def _read(self, path: Path) -> list[Problem]:
        problems = []
        seen: dict[str, str] = {}
        for record, line in read_lines(path):
            fields = parse_object(line, path, record)
            text = as_text(fields.get("problem"), path, record, "problem").strip()
            answer = fields.get("answer")
            if isinstance(answer, int | float) and not isinstance(answer, bool):
                answer = str(answer)
            answer = as_text(answer, path, record, "answer").strip()
            kind = as_text(fields.get("subject") or "problem", path, record, "subject")
            if text in seen:
                raise bad(path, f"the same problem occurs before, on {seen[text]}", record)
            seen[text] = record
            if self.config.metric == "number" and last_number(answer) is None:
                raise bad(
                    path, f"the answer {answer!r:.40} is no number: use metric=expression", record
                )
            problems.append(Problem(text, answer, kind))
        return problems


def last_number(text: str) -> Fraction | None:
    """The last number in a text (``1,234``, ``-0.5``, ``3/4``), exactly; None without one."""
    for found in reversed(_NUMBER.findall(text)):
        try:
            return Fraction(found.replace(",", ""))
        except (ValueError, ZeroDivisionError):
            continue
    return None


def equal_expressions(answer: str, target: str) -> bool:
    """Whether two mathematical expressions in LaTeX or plain text are equal, by math-verify.

    Raises:
        MissingData: If math-verify is not installed.
    """
    if "".join(answer.split()) == "".join(target.split()):
        return True
    try:
        from math_verify import parse, verify
    except ImportError as error:
        raise MissingData(
            "metric=expression needs math-verify: pip install 'sleepgym[math]'"
        ) from error
    main = threading.current_thread() is threading.main_thread()
    limit: Any = _TIMEOUT_S if main else None  # its time limit is a signal, of the main thread
    wanted = parse(_in_math(target), parsing_timeout=limit)
    return any(
        verify(wanted, parse(text, parsing_timeout=limit), timeout_seconds=limit)
        for text in {answer, _in_math(answer)}
    )


def _in_math(text: str) -> str:
    return text if "$" in text or "\\boxed" in text else f"${text}$"
