"""Tasks of lm-evaluation-harness (L. Gao et al.) as questions: its data, prompts and grades.

The harness (``lm_eval``, extra ``bench``) knows hundreds of tasks by name, and any more that a
folder holds as ``NAME.yaml`` with its data beside it. Here it reads the data, words the questions
and grades the answers; whoever answers sees text and choices alone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from sleepgym.core.errors import BadSetting, MissingData
from sleepgym_tasks.data.items import shuffled

_KINDS = ("multiple_choice", "generate_until")
_INSTALL = "pip install 'sleepgym[bench]'"


@dataclass(frozen=True)
class Exercise:
    """One document of a task.

    Attributes:
        task: The task's name.
        number: The document's place in the task's test split.
        text: The question as the harness words it, with its examples.
        choices: The answers to choose from; empty where the answer is free text.
        answer: The right choice; empty where the harness alone can tell.
    """

    task: str
    number: int
    text: str
    choices: tuple[str, ...]
    answer: str


class LmEvalTasks:
    """Tasks by name.

    Args:
        names: Names that the harness knows, or of YAML files in the folder.
        folder: Folder of further tasks, if any.
        shots: Examples before a question.

    Raises:
        MissingData: If the harness is not installed, or the data of a task cannot be had.
        BadSetting: If a task does not exist, or asks for likelihoods that no answer gives.
    """

    def __init__(self, names: Sequence[str], folder: Path | None, shots: int = 0) -> None:
        self._shots = shots
        self._tasks = dict(_load(names, folder))
        for name, task in self._tasks.items():
            kind = task.config.output_type
            if kind not in _KINDS or task.multiple_input:
                what = "puts its choices into the question" if kind in _KINDS else f"is {kind}"
                raise BadSetting(
                    f"task {name!r} of lm-evaluation-harness {what}: name one whose output_type is"
                    f" {' or '.join(_KINDS)}"
                )

    def draw(self, seed: int, most: int) -> Iterator[Exercise]:
        """Up to so many exercises of each task; the seed draws which."""
        for name, task in self._tasks.items():
            documents = task.eval_docs
            for number in shuffled(range(len(documents)), seed, "lm_eval", name)[:most]:
                document = documents[number]
                text = task.fewshot_context(document, self._shots)
                choices: tuple[str, ...] = ()
                answer = ""
                if task.config.output_type == "multiple_choice":
                    choices = tuple(choice.strip() for choice in task.doc_to_choice(document))
                    answer = _right(task.doc_to_target(document), choices)
                yield Exercise(name, number, text, choices, answer)

    def score(self, name: str, number: int, answer: str) -> float:
        """The task's first metric for a free answer, through its filters, in [0, 1]."""
        from lm_eval.api.instance import Instance

        task = self._tasks[name]
        document = task.eval_docs[number]
        asked = Instance("generate_until", document, ("", {}), 0, (name, number, 1))
        asked.resps = [answer]
        filtered: Any = answer
        for ensemble in getattr(task, "_filters", ()):
            ensemble.apply([asked])
            filtered = asked.filtered_resps[ensemble.name]
            filtered = filtered[0] if isinstance(filtered, list) else filtered
            break  # the first is the one that leads the task's table
        grades: Mapping[str, Any] = task.process_results(document, [filtered])
        first = next(value for value in grades.values() if isinstance(value, int | float))
        return min(1.0, max(0.0, float(first)))


def _load(names: Sequence[str], folder: Path | None) -> Iterator[tuple[str, Any]]:
    manager = _manager(folder if folder and folder.is_dir() else None)
    for name in names:
        if name not in manager.all_tasks:
            raise BadSetting(
                f"task {name!r}: neither lm-evaluation-harness nor {folder or 'a folder lm_eval'}"
                " has one of this name"
            )
        try:
            found = manager.load([name])["tasks"]
        except Exception as error:  # whatever its loaders raise: offline, gone, gated, malformed
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise MissingData(
                f"the data of task {name!r} cannot be loaded ({reason:.150}): the harness fetches"
                " them from the Hugging Face hub, or reads them beside the task's YAML file"
            ) from error
        yield from found.items()  # of a group, all of its tasks


@cache
def _manager(folder: Path | None) -> Any:
    """The harness's index of tasks, which takes seconds to read; once a process."""
    try:
        import datasets
        from lm_eval.tasks import TaskManager
    except ImportError as error:
        raise MissingData(f"lm-evaluation-harness is not installed: {_INSTALL}") from error
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    datasets.disable_progress_bars()
    return TaskManager(include_path=None if folder is None else str(folder))


def _right(target: Any, choices: tuple[str, ...]) -> str:
    first = target[0] if isinstance(target, list) else target
    return choices[first] if isinstance(first, int) else str(first).strip()
